"""Whether heatmaps show where a distance looks: noise there must cost more than elsewhere.

Kynkaanniemi et al. 2023, appendix C and Fig. 10: Gaussian noise in the important half of the pixels
of every generated image, in the other half, or everywhere, which is an upper bound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from raymetrics import option_strings
from raymetrics.distributed.cluster_resources import Resources
from raymetrics.distributed.extraction.extract import extract_all
from raymetrics.distributed.extraction.progress import Progress
from raymetrics.errors import RangeError
from raymetrics.heatmaps.noisy_source import WHERE, positive
from raymetrics.results import Result
from raymetrics.shards.view import Selection, View
from raymetrics.studies.evaluate import evaluate
from raymetrics.studies.heatmap.request import HeatRequest

SOURCE = "raymetrics.heatmaps.noisy_source:Noisy"
FOLDER = "noise"


def noise_distances(
    asked: HeatRequest,
    maps: str | Path,
    to: str | Path,
    scales: Sequence[float],
    *,
    resources: Resources | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> list[Result]:
    """The distance of the generated set, and then with noise of every scale in every region.

    maps: the maps.npz of all samples of the generated set. Each noisy set is a shard set below
    `to`/noise, of which a rerun makes only what is missing.
    RangeError unless the generated samples are one range.
    """
    samples = one_range(asked.generated)
    for scale in scales:
        positive(str(scale))
    sources = {
        f"{to}/{FOLDER}/{where}-{scale:g}": noisy_source(asked, maps, where, scale)
        for where in WHERE
        for scale in scales
    }
    made = extract_all(
        sources, [asked.extractor[0]], samples, resources=resources, progress=progress,
        shard_rows=asked.generated.shards.spec.shard_rows,
    )  # fmt: skip
    noisy = [distance(asked, done.shards.uri) for done in made]
    return [distance(asked, asked.generated.shards.uri), *noisy]


def noisy_source(asked: HeatRequest, maps: str | Path, where: str, scale: float) -> str:
    """The generated set's source with noise, as a source."""
    options = {"of": asked.source[0], "maps": str(maps), "where": where, "scale": f"{scale:g}"}
    return option_strings.join(SOURCE, options)


def distance(asked: HeatRequest, generated: str) -> Result:
    """The Frechet distance of a set to the real one in the column of the heatmaps."""
    (found,) = evaluate(
        real=uri_of(asked.real),
        generated=generated,
        metrics=["fid"],
        columns=[asked.column.name],
        any_size=True,  # as the heatmaps that are checked, of which sizes were compared
    )
    return found


def uri_of(view: View) -> str:
    """The text that opens this view."""
    if isinstance(view.samples, Selection):
        return f"{view.shards.uri}?ids={view.samples.file}"
    return view.shards.uri


def one_range(view: View) -> range:
    """The samples of a view. RangeError if they are not one range."""
    if isinstance(view.samples, Selection) or len(view.samples) != 1:
        raise RangeError(
            f"noise is put on all samples of a set that are one range; {view.shards.uri} has "
            f"{', '.join(view.described())}; extract them to a set of their own"
        )
    return view.samples[0]
