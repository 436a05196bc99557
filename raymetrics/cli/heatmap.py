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
    reported,
    require_writable_results,
    run_code_option,
    some_names,
)
from raymetrics.cli.terminal import print_lines
from raymetrics.errors import RangeError, RaymetricsError
from raymetrics.files import require_writable_folder

if TYPE_CHECKING:
    import numpy as np

    from raymetrics.distributed.cluster_resources import Resources
    from raymetrics.reports.heatmap_page import Mean, Picture
    from raymetrics.results import Result
    from raymetrics.studies.heatmap.compute import Means
    from raymetrics.studies.heatmap.request import HeatRequest

ADDED = 16  # images of another source, if not told how many
MOST_ADDED = 10_000


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
    "--classes", callback=some_names, metavar="NAME[,NAME]",
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
@reported
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
    from raymetrics.reports.heatmap_page import HeatPage, heat_report
    from raymetrics.studies.heatmap.compute import mean_heatmaps
    from raymetrics.studies.heatmap.noise_check import one_range
    from raymetrics.studies.heatmap.request import requested

    if exact and images is None:
        raise RaymetricsError("--exact is of --images; samples of the set are always exact")
    require_writable_folder(to)
    require_writable_results(to, None)
    noise = numbers(scales)
    whole = mean or classes is not None or bool(noise)
    resources = Resources(actors=actors, gpus=gpus)
    asked = requested(
        real=real, generated=generated, column=column, run_code=run_code, any_size=any_size
    )
    chosen = asked.classes_named(classes or ())
    if noise:
        one_range(asked.generated)  # before the means take their time
    source, ids = shown_samples(asked, samples, images)
    with session() if whole else nullcontext():
        if whole and classes is None:
            chosen = asked.commonest()
        shown = show(asked, to, source, ids, exact)
        means: list[Mean] = []
        if whole:
            tell = progress_printer()
            of_all = mean_heatmaps(asked, to, chosen, resources=resources, progress=tell)
            means = average(asked, to, of_all)
        checked = check(asked, to, noise, resources) if noise else []
    page = HeatPage(facts(asked, images), shown, means, checked, columns_of_grid)
    print_lines(f"page    {heat_report(page, to)}")


def shown_samples(
    asked: HeatRequest, samples: str | None, images: str | None
) -> tuple[tuple[str, str] | None, np.ndarray]:
    """Find what is shown: another source with its listing, or None, and sample ids, int64 [n].
    RangeError for samples that are not there, or for more than a picture has."""
    import numpy as np

    from raymetrics import sample_ranges
    from raymetrics.distributed.extraction.dataset_request import most_samples, wanted_samples
    from raymetrics.studies.heatmap.request import other_source

    if images is None:
        return None, asked.require_samples(
            None if samples is None else sample_ranges.parse(samples)
        )
    source, generator = other_source(images)
    ids = wanted_samples(generator, samples or range(min(ADDED, most_samples(generator))))
    if len(ids) > MOST_ADDED:
        raise RangeError(
            f"{len(ids)} samples of {images} are asked for; a page shows {MOST_ADDED} at most"
        )
    return source, np.array(ids)


def show(
    asked: HeatRequest, to: str, source: tuple[str, str] | None, ids: np.ndarray, exact: bool
) -> list[Picture]:
    """Heatmaps of single samples, kept as heatmaps.npz, as pictures."""
    from raymetrics.reports.heatmap_page import pictures
    from raymetrics.studies.heatmap.compute import heatmaps, heatmaps_added, write_arrays

    if source is None:
        found, seen = heatmaps(asked, ids)
    else:
        found, seen = heatmaps_added(asked, source, ids, exact)
    write_arrays(to, "heatmaps.npz", seen)
    return pictures(found, seen, asked.class_names)


def average(asked: HeatRequest, to: str, found: Means) -> list[Mean]:
    """Means over all samples, kept as maps.npz and means.npz, as pictures."""
    from raymetrics.reports.heatmap_page import means
    from raymetrics.studies.heatmap.compute import write_arrays

    print_lines(f"means   of {found.averages.counts[0]} samples; {found.made} ranges made")
    write_arrays(to, "maps.npz", found.seen)
    write_arrays(to, "means.npz", found.averages, classes=found.classes)
    titles = ["all classes", *(asked.class_names[number] for number in found.classes)]
    return means(found.averages, titles)


def check(
    asked: HeatRequest, to: str, scales: Sequence[float], resources: Resources
) -> list[Result]:
    """Distances with noise, added to results.jsonl."""
    from raymetrics import results
    from raymetrics.reports.noise import in_words, noise_points
    from raymetrics.studies.heatmap.noise_check import noise_distances

    folder = Path(to).resolve()
    found = noise_distances(
        asked, folder / "maps.npz", folder, scales,
        resources=resources, progress=progress_printer(),
    )  # fmt: skip
    print_lines(*in_words(noise_points(found)))
    results.write(found, f"{to}/results.jsonl")
    return found


def facts(asked: HeatRequest, images: str | None) -> dict[str, object]:
    """What was compared, in words."""
    sides = {"real": asked.real, "generated": asked.generated}
    said: dict[str, object] = {
        name: f"{view.shards.spec.source}, {len(view):,} samples; {view.shards.uri}"
        for name, view in sides.items()
    }
    if images is not None:
        said["images"] = f"{images}, each as if it were added to the generated set"
    return {
        **said,
        "distance": f"Frechet distance of {asked.column.name}, covariances by count - 1",
        "weights (sha256)": asked.extractor[1]["weights_sha256"],
        "overlay": "half image, half colours (viridis) of the map, upsampled by Lanczos's filter",
    }


def numbers(text: str | None) -> list[float]:
    """ "0.02,0.05" -> [0.02, 0.05]. RaymetricsError for anything that is no positive numbers."""
    try:
        found = [] if text is None else [float(number) for number in text.split(",")]
    except ValueError:
        found = [0.0]
    if any(not 0 < number < 10 for number in found):
        raise RaymetricsError(f"--noise is {text!r}; write numbers above 0, e.g. 0.02,0.05,0.1")
    return sorted(set(found))
