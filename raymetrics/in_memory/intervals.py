"""Numbers of arrays with their intervals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from raymetrics.errors import NotEnoughData, RaymetricsError
from raymetrics.metrics import Convention
from raymetrics.metrics.group_errors import (
    Errors,
    errors_of_surveys,
    group_needs,
    values_of_groups,
)
from raymetrics.metrics.influences import InfluenceRows, Influences
from raymetrics.metrics.metric import Metric, MetricValue
from raymetrics.metrics.registry import find_metric
from raymetrics.metrics.required_statistics import SampleIds
from raymetrics.metrics.sampling_errors import (
    GROUP_COUNT,
    GROUPS,
    MIN_SAMPLES,
    Interval,
    SamplingErrors,
    make_interval,
)
from raymetrics.neighbors import DEFAULT_ENGINE, survey_arrays
from raymetrics.neighbors.grouped_surveys import survey_without_groups
from raymetrics.statistics import FeatureRows


def intervals(
    metric: str,
    *,
    real: np.ndarray,
    generated: np.ndarray,
    convention: Convention | None = None,
    engine: str = DEFAULT_ENGINE,
) -> dict[str, tuple[float, Interval | None]]:
    """Compute the numbers of a metric of the registry with their intervals, by name.

    real, generated: float32 [n, d] and [m, d], features or logits, as the metric takes them. Of
    several k the last one counts. RaymetricsError for a metric without intervals, NotEnoughData for
    too few samples.
    """
    values = values_with_errors(
        find_metric(metric), {"real": real, "generated": generated}, convention, engine
    )
    return {
        value.metric: (value.value, make_interval(value.value, value.errors, value.bounds))
        for value in values
    }


def values_with_errors(
    metric: Metric,
    sides: dict[str, np.ndarray],
    convention: Convention | None = None,
    engine: str = DEFAULT_ENGINE,
) -> list[MetricValue]:
    """Compute the values of a metric with their errors by side; see `intervals`."""
    convention = convention or Convention()
    if metric.interval is None:
        raise RaymetricsError(f"there are no intervals of {metric.name}")
    for side, features in sides.items():
        if len(features) < max(MIN_SAMPLES, metric.min_samples(convention)):
            raise NotEnoughData(
                f"an interval of {metric.name} takes at least "
                f"{max(MIN_SAMPLES, metric.min_samples(convention))} samples of each side, there "
                f"are {len(features)} {side} ones"
            )
    samples = SampleIds(*(np.arange(len(features)) for features in sides.values()))
    if metric.survey_values is not None:
        return _survey_values(metric, sides, samples, convention, engine)
    assert metric.needs is not None
    assert metric.compute is not None
    needs = {side: metric.needs(samples, side, convention) for side in sides}
    statistics = {
        side: {
            name: function(samples.for_side(side), sides[side])
            for name, function in group_needs(needs, metric, samples)[side].items()
        }
        for side in sides
    }
    if metric.interval == GROUPS:
        return values_of_groups(metric, statistics, samples, convention)
    values = metric.compute(statistics["real"], statistics["generated"], samples, convention)
    return [
        replace(v, errors=_influence_errors(v.influences() if v.influences else {}, sides, samples))
        for v in values
    ]


def _influence_errors(
    influences: Influences, sides: dict[str, np.ndarray], samples: SampleIds
) -> Errors:
    """Return the errors of one value by side."""
    rows = {
        side: part
        if isinstance(part, FeatureRows)
        else InfluenceRows(part)(samples.for_side(side), sides[side])
        for side, part in influences.items()
    }
    return {
        side: SamplingErrors.from_influences(part.sample_ids, part.features[:, 0])
        for side, part in rows.items()
    }


def _survey_values(
    metric: Metric,
    sides: dict[str, np.ndarray],
    samples: SampleIds,
    convention: Convention,
    engine: str,
) -> list[MetricValue]:
    """Compute the values of a survey with their errors."""
    assert metric.survey_values is not None
    real, generated = sides["real"], sides["generated"]
    whole = survey_arrays(
        real=real,
        generated=generated,
        convention=convention,
        needs=metric.survey_needs(samples, convention),
        engine=engine,
    )
    surveys = survey_without_groups(
        real=real,
        generated=generated,
        real_ids=samples.real,
        generated_ids=samples.generated,
        groups=GROUP_COUNT,
        convention=convention,
        engine=engine,
    )
    return [
        replace(value, errors=errors_of_surveys(metric, value, surveys, samples, convention))
        for value in metric.survey_values(whole, samples, convention)
    ]
