"""Check that heatmaps show where a distance looks: noise there must cost more than elsewhere.

Kynkaanniemi et al. 2023, appendix C and Fig. 10: Gaussian noise in the important half of the pixels
of every generated image, in the other half, or everywhere, which is an upper bound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from raymetrics import option_strings
from raymetrics.distributed.extraction.extract import ExtractRequest, extract_many
from raymetrics.distributed.extraction.progress import Progress
from raymetrics.distributed.resources import Resources
from raymetrics.errors import SampleRangeError
from raymetrics.heatmaps.noisy_source import NOISE_REGIONS, require_noise_scale
from raymetrics.results import Result
from raymetrics.shards.view import Selection, View
from raymetrics.studies.evaluate import evaluate
from raymetrics.studies.heatmap.request import HeatmapRequest

_NOISY_SOURCE = "raymetrics.heatmaps.noisy_source:NoisySource"
_NOISE_FOLDER = "noise"


def noise_distances(
    request: HeatmapRequest,
    maps: str | Path,
    to: str | Path,
    scales: Sequence[float],
    *,
    resources: Resources | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> list[Result]:
    """Compute the distance of the generated set, and with noise of every scale in every region.

    maps: the maps.npz of all samples of the generated set. Each noisy set is a shard set below
    `to`/noise, of which a rerun makes only the missing shards. Raises SampleRangeError unless the
    generated samples are one range.
    """
    samples = require_one_range(request.generated)
    for scale in scales:
        require_noise_scale(str(scale))
    requests = [
        ExtractRequest(
            f"{to}/{_NOISE_FOLDER}/{where}-{scale:g}",
            _noisy_source_text(request, maps, where, scale),
            samples,
        )
        for where in NOISE_REGIONS
        for scale in scales
    ]
    extractions = extract_many(
        requests,
        [request.extractor[0]],
        shard_rows=request.generated.shards.spec.shard_rows,
        resources=resources,
        progress=progress,
    )
    noisy = [frechet_result(request, extraction.shards.uri) for extraction in extractions]
    return [frechet_result(request, request.generated.shards.uri), *noisy]


def _noisy_source_text(request: HeatmapRequest, maps: str | Path, where: str, scale: float) -> str:
    """Return the text of a source: the generated set's source with noise."""
    options = {"of": request.source[0], "maps": str(maps), "where": where, "scale": f"{scale:g}"}
    return option_strings.format_options(_NOISY_SOURCE, options)


def frechet_result(request: HeatmapRequest, generated: str) -> Result:
    """Compute the Frechet distance of a set to the real one in the column of the heatmaps."""
    (result,) = evaluate(
        real=_view_uri(request.real),
        generated=generated,
        metrics=["fid"],
        columns=[request.column.name],
        any_size=True,  # as the heatmaps that are checked, of which sizes were compared
    )
    return result


def _view_uri(view: View) -> str:
    """Return the text that opens this view."""
    if isinstance(view.samples, Selection):
        return f"{view.shards.uri}?ids={view.samples.file}"
    return view.shards.uri


def require_one_range(view: View) -> range:
    """Return the samples of a view. Raises SampleRangeError unless they are one range."""
    if isinstance(view.samples, Selection) or len(view.samples) != 1:
        raise SampleRangeError(
            f"noise is put on all samples of a set that are one range; {view.shards.uri} has "
            f"{', '.join(view.describe_samples())}; extract them to a set of their own"
        )
    return view.samples[0]
