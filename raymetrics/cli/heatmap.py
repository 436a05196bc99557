"""`raymetrics heatmap`: which parts of images a Frechet distance looks at."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from raymetrics.cli.console import progress_printer
from raymetrics.cli.options_and_errors import (
    any_size_option,
    exit_with_code,
    require_writable_results,
    run_code_option,
    split_commas_nonempty,
)
from raymetrics.cli.terminal import print_lines
from raymetrics.errors import RaymetricsError, SampleRangeError
from raymetrics.files import require_writable_folder

if TYPE_CHECKING:
    import numpy as np

    from raymetrics.distributed.cluster_resources import Resources
    from raymetrics.reports.heatmap_page import HeatmapPicture, MeanPicture
    from raymetrics.results import Result
    from raymetrics.studies.heatmap.compute import MeanHeatmaps
    from raymetrics.studies.heatmap.request import HeatmapRequest

_DEFAULT_ADDED = 16  # images of another source, if not told how many
_MAX_ADDED = 10_000


@click.command()
@click.option("--real", required=True, metavar="URI", help="Shards of the real samples.")
@click.option("--generated", required=True, metavar="URI", help="Shards of the generated ones.")
@click.option("--to", required=True, metavar="DIR", help="Where pictures and index.html go.")
@click.option(
    "--samples", metavar="FIRST-LAST", help="Which samples are shown. [default: 16, evenly spaced]"
)
@click.option(
    "--images", metavar="SOURCE",
    help="Show samples of this source, as if each were added to the generated set.",
)  # fmt: skip
@click.option("--column", metavar="NAME", help="Whose distance. [default: the only mean of a map]")
@click.option("--exact", is_flag=True, help="Of --images: the optimal map with each one included.")
@click.option("--columns-of-grid", default=8, show_default=True, type=click.IntRange(min=1))
@click.option("--mean", is_flag=True, help="Means over all generated samples, and by class.")
@click.option(
    "--classes", callback=split_commas_nonempty, metavar="NAME[,NAME]",
    help="Classes with means of their own. [default: the 3 commonest real ones]",
)  # fmt: skip
@click.option(
    "--noise", "scales", metavar="SCALE[,SCALE]",
    help="Check: distances with noise where the maps are large, or small; e.g. 0.02,0.05,0.1.",
)  # fmt: skip
@click.option("--actors", type=int, help="Workers, of --mean and --noise.")
@click.option("--gpus", type=int, help="GPUs to count on, of a cluster that grows to them.")
@run_code_option
@any_size_option
@exit_with_code
def heatmap(
    real: str, generated: str, to: str, samples: str | None, images: str | None,
    column: str | None, exact: bool, columns_of_grid: int, mean: bool,
    classes: list[str] | None, scales: str | None, actors: int | None, gpus: int | None,
    run_code: bool, any_size: bool,
) -> None:  # fmt: skip
    """Show which parts of generated images move the Frechet distance most.

    The sensitivity heatmaps of Kynkaanniemi et al. (2023), section 2, from one forward pass: for
    networks whose features are the mean of a map (inception, inception-torchvision, swav-resnet50,
    efficientnet-lite0). Images are made again from their ids.

    \b
    index.html     all of it on one page
    overlays.png   the shown samples with their heatmaps and Top-1 classes
    heatmaps.npz   sample_ids, maps, norms of the gradient, Top-3 classes, probabilities
    means.png      with --mean: mean image, mean heatmap, one over the other; means.npz
    maps.npz       with --mean: heatmaps.npz of all samples
    results.jsonl  with --noise: the distances

    Run the same command again after anything that stopped it: what is there is not made twice.

    \b
    Examples:
      raymetrics heatmap --real shards/real --generated shards/generated --to heatmaps
      raymetrics heatmap --real shards/real --generated shards/generated --to heatmaps \\
          --mean --classes "bow tie,seat belt" --noise 0.02,0.05,0.1
    """
    from raymetrics.distributed.cluster_resources import Resources
    from raymetrics.distributed.session import session
    from raymetrics.reports.heatmap_page import HeatmapPage, write_heatmap_page
    from raymetrics.studies.heatmap.compute import mean_heatmaps
    from raymetrics.studies.heatmap.noise_check import require_one_range
    from raymetrics.studies.heatmap.request import make_heatmap_request

    if exact and images is None:
        raise RaymetricsError("--exact is of --images; samples of the set are always exact")
    require_writable_folder(to)
    require_writable_results(to, None)
    noise_scales = _parse_noise_scales(scales)
    needs_all_samples = mean or classes is not None or bool(noise_scales)
    resources = Resources(actors=actors, gpus=gpus)
    request = make_heatmap_request(
        real=real, generated=generated, column=column, run_code=run_code, any_size=any_size
    )
    chosen_classes = request.class_numbers(classes or ())
    if noise_scales:
        require_one_range(request.generated)  # before the means take their time
    source, ids = _samples_to_show(request, samples, images)
    with session() if needs_all_samples else nullcontext():
        if needs_all_samples and classes is None:
            chosen_classes = request.most_common_classes()
        pictures = _make_pictures(request, to, source, ids, exact)
        means: list[MeanPicture] = []
        if needs_all_samples:
            progress = progress_printer()
            set_means = mean_heatmaps(
                request, to, chosen_classes, resources=resources, progress=progress
            )
            means = _make_means(request, to, set_means)
        noise_results = _check_noise(request, to, noise_scales, resources) if noise_scales else []
    page = HeatmapPage(
        _describe_comparison(request, images), pictures, means, noise_results, columns_of_grid
    )
    print_lines(f"page    {write_heatmap_page(page, to)}")


def _samples_to_show(
    request: HeatmapRequest, samples: str | None, images: str | None
) -> tuple[tuple[str, str] | None, np.ndarray]:
    """Find what is shown: another source with its listing, or None, and sample ids, int64 [n].
    RangeError for samples that are not there, or for more than a picture has."""
    import numpy as np

    from raymetrics import sample_ranges
    from raymetrics.distributed.extraction.dataset_request import max_samples, requested_samples
    from raymetrics.studies.heatmap.request import open_added_source

    if images is None:
        return None, request.require_samples(
            None if samples is None else sample_ranges.parse_range(samples)
        )
    source, generator = open_added_source(images)
    ids = requested_samples(
        generator, samples or range(min(_DEFAULT_ADDED, max_samples(generator)))
    )
    if len(ids) > _MAX_ADDED:
        raise SampleRangeError(
            f"{len(ids)} samples of {images} are asked for; a page shows {_MAX_ADDED} at most"
        )
    return source, np.array(ids)


def _make_pictures(
    request: HeatmapRequest, to: str, source: tuple[str, str] | None, ids: np.ndarray, exact: bool
) -> list[HeatmapPicture]:
    """Heatmaps of single samples, kept as heatmaps.npz, as pictures."""
    from raymetrics.reports.heatmap_page import heatmap_pictures
    from raymetrics.studies.heatmap.compute import heatmaps, heatmaps_if_added, write_heatmap_arrays

    if source is None:
        shown_images, shown_heatmaps = heatmaps(request, ids)
    else:
        shown_images, shown_heatmaps = heatmaps_if_added(request, source, ids, exact)
    write_heatmap_arrays(to, "heatmaps.npz", shown_heatmaps)
    return heatmap_pictures(shown_images, shown_heatmaps, request.class_names)


def _make_means(request: HeatmapRequest, to: str, set_means: MeanHeatmaps) -> list[MeanPicture]:
    """Means over all samples, kept as maps.npz and means.npz, as pictures."""
    from raymetrics.reports.heatmap_page import mean_pictures
    from raymetrics.studies.heatmap.compute import write_heatmap_arrays

    print_lines(
        f"means   of {set_means.averages.counts[0]} samples; {set_means.ranges_made} ranges made"
    )
    write_heatmap_arrays(to, "maps.npz", set_means.heatmaps)
    write_heatmap_arrays(to, "means.npz", set_means.averages, classes=set_means.classes)
    titles = ["all classes", *(request.class_names[number] for number in set_means.classes)]
    return mean_pictures(set_means.averages, titles)


def _check_noise(
    request: HeatmapRequest, to: str, scales: Sequence[float], resources: Resources
) -> list[Result]:
    """Distances with noise, added to results.jsonl."""
    from raymetrics import results
    from raymetrics.reports.heatmap_page import noise_points, noise_sentences
    from raymetrics.studies.heatmap.noise_check import noise_distances

    folder = Path(to).resolve()
    noise_results = noise_distances(
        request, folder / "maps.npz", folder, scales,
        resources=resources, progress=progress_printer(),
    )  # fmt: skip
    print_lines(*noise_sentences(noise_points(noise_results)))
    results.append_results(noise_results, f"{to}/results.jsonl")
    return noise_results


def _describe_comparison(request: HeatmapRequest, images: str | None) -> dict[str, object]:
    """What was compared, in words."""
    sides = {"real": request.real, "generated": request.generated}
    descriptions: dict[str, object] = {
        name: f"{view.shards.spec.source}, {len(view):,} samples; {view.shards.uri}"
        for name, view in sides.items()
    }
    if images is not None:
        descriptions["images"] = f"{images}, each as if it were added to the generated set"
    return {
        **descriptions,
        "distance": f"Frechet distance of {request.column.name}, covariances by count - 1",
        "weights (sha256)": request.extractor[1]["weights_sha256"],
        "overlay": "half image, half colours (viridis) of the map, upsampled by Lanczos's filter",
    }


def _parse_noise_scales(text: str | None) -> list[float]:
    """ "0.02,0.05" -> [0.02, 0.05]. RaymetricsError for anything that is no positive numbers."""
    try:
        scales = [] if text is None else [float(number) for number in text.split(",")]
    except ValueError:
        scales = [0.0]
    if any(not 0 < number < 10 for number in scales):
        raise RaymetricsError(f"--noise is {text!r}; write numbers above 0, e.g. 0.02,0.05,0.1")
    return sorted(set(scales))
