"""`raymetrics heatmap`: which parts of images a Frechet distance looks at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from raymetrics.cli.console import progress_printer
from raymetrics.cli.options_and_errors import (
    any_size_option,
    exit_with_code,
    require_writable_results,
    run_code_option,
    split_commas_nonempty,
)
from raymetrics.cli.resource_options import with_local_option
from raymetrics.cli.terminal import print_lines
from raymetrics.errors import RaymetricsError

if TYPE_CHECKING:
    from raymetrics.heatmaps import OverlayStyle
    from raymetrics.results import Result
    from raymetrics.studies.heatmap.compute import MeanHeatmaps
    from raymetrics.studies.heatmap.study import HeatmapResult

# The words of `OverlayStyle`, whose module loads torch.
_COLORS, _BLENDS = ("viridis", "parula"), ("half", "sum")


@click.command()
@click.option("--real", required=True, metavar="URI", help="Shards of the real samples.")
@click.option("--generated", required=True, metavar="URI", help="Shards of the generated ones.")
@click.option("--to", required=True, metavar="DIR", help="Where pictures and index.html go.")
@click.option(
    "--samples",
    metavar="IDS",
    help="Which samples are shown, in this order: 0-15, or 107,540,386. [default: 16, evenly "
    "spaced]",
)
@click.option(
    "--images",
    metavar="SOURCE",
    help="Show samples of this source, as if each were added to the generated set.",
)
@click.option("--column", metavar="NAME", help="Whose distance. [default: the only mean of a map]")
@click.option("--exact", is_flag=True, help="Of --images: the optimal map with each one included.")
@click.option(
    "--colors",
    type=click.Choice(_COLORS),
    default=_COLORS[0],
    show_default=True,
    help="Of the maps; parula is like the paper's.",
)
@click.option(
    "--blend",
    type=click.Choice(_BLENDS),
    default=_BLENDS[0],
    show_default=True,
    help="Half image and half colors; or image + 2 colors, stretched, as the authors' program has "
    "it.",
)
@click.option(
    "--save-images",
    is_flag=True,
    help="Save the shown images, and their heatmaps over them, as PNG files of full size.",
)
@click.option(
    "--save-classifications",
    is_flag=True,
    help="Save the 10 most probable classes of every shown image.",
)
@click.option("--columns-of-grid", default=8, show_default=True, type=click.IntRange(min=1))
@click.option("--mean", is_flag=True, help="Means over all generated samples, and by class.")
@click.option(
    "--classes",
    callback=split_commas_nonempty,
    metavar="NAME[,NAME]",
    help="Classes with means of their own. [default: the 3 commonest real ones]",
)
@click.option(
    "--noise",
    "scales",
    metavar="SCALE[,SCALE]",
    help="Check: distances with noise where the maps are large, or small; e.g. 0.02,0.05,0.1.",
)
@click.option("--actors", type=int, help="Workers, of --mean and --noise.")
@click.option("--gpus", type=int, help="GPUs to count on, of a cluster that grows to them.")
@run_code_option
@any_size_option
@exit_with_code
@with_local_option
def heatmap(
    to: str,
    colors: str,
    blend: str,
    save_images: bool,
    columns_of_grid: int,
    scales: str | None,
    actors: int | None,
    gpus: int | None,
    **request: Any,
) -> None:
    """Show which parts of generated images move the Frechet distance most.

    The sensitivity heatmaps of Kynkaanniemi et al. (2023), section 2, from one forward pass: for
    networks whose features are the mean of a map (inception, inception-torchvision, swav-resnet50,
    efficientnet-lite0). Images are made again from their ids.

    \b
    index.html     all of it on one page
    overlays.png   the shown samples with their heatmaps and Top-1 classes
    heatmaps.npz   sample_ids, maps, norms of the gradient, Top-3 classes, probabilities
    images         with --save-images: id-000107.png and id-000107-heatmap.png
    classifications.parquet  with --save-classifications: sample_id, rank, class, name, probability
    means.png      with --mean: mean image, mean heatmap, one over the other; means.npz
    maps.npz       with --mean: heatmaps.npz of all samples
    results.jsonl  with --noise: the distances

    Run the same command again after anything that stopped it: what is there is not made twice.

    \b
    Examples:
      raymetrics heatmap --real shards/real --generated shards/generated --to heatmaps
      raymetrics heatmap --real shards/real --generated shards/generated --to heatmaps \\
          --mean --classes "bow tie,seat belt" --noise 0.02,0.05,0.1
      raymetrics heatmap --real shards/real --generated shards/generated --to heatmaps \\
          --samples 107,540,386,780,544,879 --colors parula --blend sum --save-images
    """
    from raymetrics.distributed.resources import Resources
    from raymetrics.heatmaps import OverlayStyle
    from raymetrics.studies.heatmap.study import heatmap as run

    require_writable_results(to, None)
    style = OverlayStyle(colors, blend)
    result = run(
        to=to,
        noise=_parse_noise_scales(scales),
        resources=Resources(actors=actors, gpus=gpus),
        progress=progress_printer(),
        on_means=_print_means,
        tell=_print_noise,
        **request,
    )
    print_lines(f"page    {_write_page(result, to, columns_of_grid, style)}")
    if save_images:
        print_lines(f"images  {_save_images(result, to, style)}")


def _print_means(means: MeanHeatmaps) -> None:
    print_lines(f"means   of {means.averages.counts[0]} samples; {means.ranges_made} ranges made")


def _print_noise(noise_results: Sequence[Result]) -> None:
    from raymetrics.reports.heatmap_page import noise_points, noise_sentences

    print_lines(*noise_sentences(noise_points(noise_results)))


def _save_images(result: HeatmapResult, to: str, style: OverlayStyle) -> str:
    """Save the shown images with their heatmaps; say how many there are, and where."""
    from raymetrics.reports.heatmap_page import save_heatmap_images
    from raymetrics.reports.sample_images import IMAGES_FOLDER

    count = save_heatmap_images(result.images, result.heatmaps, to, style)
    return f"{count} in {Path(to, IMAGES_FOLDER)}"


def _write_page(result: HeatmapResult, to: str, columns: int, style: OverlayStyle) -> Path:
    """Write the page with its pictures; its path."""
    from raymetrics.reports.heatmap_page import (
        HeatmapPage,
        heatmap_pictures,
        mean_pictures,
        write_heatmap_page,
    )

    class_names = result.request.class_names
    pictures = heatmap_pictures(result.images, result.heatmaps, class_names, style)
    means = mean_pictures(result.means.averages, result.mean_titles, style) if result.means else []
    page = HeatmapPage(result.facts, pictures, means, result.noise_results, columns, style)
    return write_heatmap_page(page, to)


def _parse_noise_scales(text: str | None) -> list[float]:
    """Take "0.02,0.05" apart into [0.02, 0.05]. Raise RaymetricsError for other texts."""
    try:
        scales = [] if text is None else [float(number) for number in text.split(",")]
    except ValueError:
        scales = [0.0]
    if any(not 0 < number < 10 for number in scales):
        raise RaymetricsError(f"--noise is {text!r}; write numbers above 0, e.g. 0.02,0.05,0.1")
    return sorted(set(scales))
