"""The sampling errors of numbers from the same numbers without each group of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from raymetrics.metrics.conventions import Convention
from raymetrics.metrics.manifold_survey import ManifoldSurvey
from raymetrics.metrics.metric import Metric, MetricValue
from raymetrics.metrics.required_statistics import SampleIds, StatisticFunction
from raymetrics.metrics.sampling_errors import GROUP_COUNT, GROUPS, SamplingErrors
from raymetrics.statistics import GroupedStatistics, assign_groups

_SIDES = ("real", "generated")
Errors = Mapping[str, SamplingErrors]  # by side
_Needs = Mapping[str, Mapping[str, StatisticFunction]]  # by side and name


@dataclass(frozen=True)
class ByGroup:
    """A statistic of each group of samples."""

    function: StatisticFunction
    samples: SampleIds  # compared by identity
    side: str

    def __call__(self, sample_ids: np.ndarray, values: np.ndarray) -> GroupedStatistics:
        ids = self.samples.for_side(self.side)
        groups = assign_groups(ids, GROUP_COUNT)[np.searchsorted(ids, sample_ids)]
        return GroupedStatistics.from_samples(sample_ids, values, groups, self.function)

    def estimated_bytes(self, dimension: int, rows: int) -> int:
        """Estimate the bytes of the statistics of all groups."""
        return GROUP_COUNT * self.function.estimated_bytes(dimension, -(-rows // GROUP_COUNT))


def group_needs(needs: _Needs, metric: Metric, samples: SampleIds) -> dict[str, Any]:
    """Return what a metric needs, by group where its intervals are made from groups."""
    if metric.interval != GROUPS or metric.compute is None:
        return dict(needs)
    return {
        side: {name: ByGroup(function, samples, side) for name, function in functions.items()}
        for side, functions in needs.items()
    }


def values_of_groups(
    metric: Metric,
    sides: Mapping[str, Mapping[str, GroupedStatistics]],
    samples: SampleIds,
    convention: Convention,
) -> list[MetricValue]:
    """Compute a metric from statistics by group, by side and name, with the errors of its values.

    The formula is applied to all groups, and to all but each group of either side.
    """
    assert metric.compute is not None
    total = {s: {n: part.total for n, part in named.items()} for s, named in sides.items()}
    numbers = {}
    for side in _SIDES:
        parts = {name: part.without_each() for name, part in sides[side].items()}
        by_group = [{name: of_all[g] for name, of_all in parts.items()} for g in range(GROUP_COUNT)]
        numbers[side] = [
            _numbers_without(metric, {**total, side: left}, samples, convention, side, g)
            for g, left in enumerate(by_group)
        ]
    values = metric.compute(total["real"], total["generated"], samples, convention)
    return [replace(v, errors=_errors_of_number(samples, numbers, i)) for i, v in enumerate(values)]


def _numbers_without(
    metric: Metric,
    sides: Mapping[str, Mapping[str, Any]],
    samples: SampleIds,
    convention: Convention,
    side: str,
    group: int,
) -> list[float]:
    """Return the numbers of statistics, of which those of a side are without a group."""
    assert metric.compute is not None
    left = ids_without_group(samples, side, group)
    values = metric.compute(sides["real"], sides["generated"], left, convention)
    return [value.value for value in values]


def errors_of_surveys(
    metric: Metric,
    value: MetricValue,
    surveys: Mapping[str, Sequence[ManifoldSurvey]],
    samples: SampleIds,
    convention: Convention,
) -> Errors:
    """Return the errors of one value of a survey, from the surveys without each group by side."""
    assert metric.survey_values is not None
    wanted = (value.metric, value.convention.get("k"))
    numbers = {
        side: [
            [
                other.value
                for other in metric.survey_values(
                    survey, ids_without_group(samples, side, g), convention
                )
                if (other.metric, other.convention.get("k")) == wanted
            ]
            for g, survey in enumerate(of_side)
        ]
        for side, of_side in surveys.items()
    }
    return _errors_of_number(samples, numbers, 0)


def _errors_of_number(
    samples: SampleIds, numbers: Mapping[str, Sequence[Sequence[float]]], index: int
) -> dict[str, SamplingErrors]:
    """Return the errors of the number at an index; numbers: by side, group and index."""
    return {
        side: SamplingErrors.from_groups(samples.for_side(side), [row[index] for row in rows])
        for side, rows in numbers.items()
    }


def ids_without_group(samples: SampleIds, side: str, group: int) -> SampleIds:
    """Return the samples without a group of one side."""
    ids = samples.for_side(side)
    return replace(samples, **{side: ids[assign_groups(ids, GROUP_COUNT) != group]})
