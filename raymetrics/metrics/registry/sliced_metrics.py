"""The distances of projections onto random directions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raymetrics import metrics
from raymetrics.metrics import Convention
from raymetrics.metrics.metric import Metric, MetricValue
from raymetrics.metrics.required_statistics import (
    FeatureMoments,
    SampleIds,
    StatisticFunction,
    projected_rows,
)

_SETTINGS: Mapping[str, int] = {"projections": 1000, "seed": 2020}  # torch-fidelity's
_BY_PROJECTIONS, _BY_MOMENTS = "projections", "moments"  # methods of sliced-wasserstein


def projection_needs(
    samples: SampleIds, side: str, convention: Convention, *, projections: int, seed: int
) -> Mapping[str, StatisticFunction]:
    """Name the projections of one side."""
    return {"projections": projected_rows(samples, side, projections, seed)}


def mind_values(
    real: Any,
    generated: Any,
    samples: SampleIds,
    convention: Convention,
    *,
    projections: int,
    seed: int,
) -> list[MetricValue]:
    """Compute MIND from the projections."""
    of_real, of_generated = real["projections"], generated["projections"]
    value = metrics.mind_of_projections(
        of_real.projections, of_generated.projections, of_real.dimension
    )
    fields = {"scale": "3 d", **_projection_fields(samples, projections, seed)}
    return [MetricValue("mind", "MIND", value, "lower", fields)]


def sliced_wasserstein_needs(
    samples: SampleIds,
    side: str,
    convention: Convention,
    *,
    method: str,
    projections: int,
    seed: int,
) -> Mapping[str, StatisticFunction]:
    """Name the projections of one side, or its moments."""
    if method == _BY_MOMENTS:
        return {"moments": FeatureMoments()}
    return projection_needs(samples, side, convention, projections=projections, seed=seed)


def sliced_wasserstein_values(
    real: Any,
    generated: Any,
    samples: SampleIds,
    convention: Convention,
    *,
    method: str,
    projections: int,
    seed: int,
) -> list[MetricValue]:
    """Compute the sliced Wasserstein distance from the projections or the moments."""
    if method == _BY_MOMENTS:
        value = metrics.approximate_sliced_wasserstein(
            real=real["moments"], generated=generated["moments"]
        )
        fields = {"method": _BY_MOMENTS}
        return [MetricValue("sliced_wasserstein", "SW2 (moments)", value, "lower", fields)]
    value = metrics.sliced_wasserstein_of_projections(
        real["projections"].projections, generated["projections"].projections
    )
    fields = _projection_fields(samples, projections, seed)
    return [MetricValue("sliced_wasserstein", "SW2", value, "lower", fields)]


def _projection_fields(samples: SampleIds, projections: int, seed: int) -> dict[str, Any]:
    """Return what a result says about its projections."""
    count = min(len(samples.real), len(samples.generated))
    return {"projections": projections, "seed": seed, "compared": count}


ROWS = (
    Metric(
        "mind",
        "MIND, the transport of sorted projections",
        compute=mind_values,
        needs=projection_needs,
        settings=_SETTINGS,
        repeats_allowed=True,
        resamplings_allowed=True,
    ),
    Metric(
        "sliced-wasserstein",
        "sliced Wasserstein distance of order 2",
        compute=sliced_wasserstein_values,
        needs=sliced_wasserstein_needs,
        settings={"method": (_BY_PROJECTIONS, _BY_MOMENTS), **_SETTINGS},
        repeats_allowed=True,
    ),
)
