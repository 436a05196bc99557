"""A metric as data: its formulas, and the facts by which every study decides about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from raymetrics.metrics.conventions import Convention
from raymetrics.metrics.manifold_survey import ManifoldSurvey
from raymetrics.metrics.required_statistics import SampleIds, StatisticFunction
from raymetrics.output_names import LOGITS, NOT_FEATURES


@dataclass(frozen=True)
class MetricValue:
    """One number of a metric, before its provenance is added."""

    metric: str
    short_name: str  # "FD"; the feature space is added to it
    value: float
    better: str  # "lower" or "higher"
    convention: Mapping[str, Any]
    spread: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


Needs = Callable[[SampleIds, str, Convention], Mapping[str, StatisticFunction]]
Compute = Callable[[Mapping[str, Any], Mapping[str, Any], SampleIds, Convention], list[MetricValue]]
SurveyValues = Callable[[ManifoldSurvey, SampleIds, Convention], list[MetricValue]]
MinSamples = Callable[[Convention], int]


def needs_of_both_sides(name: str, statistic: StatisticFunction) -> Needs:
    """Return the needs of a metric that takes the same statistic of both sides."""
    return lambda samples, side, convention: {name: statistic}


def _at_least_one(convention: Convention) -> int:
    """Return 1, the smallest number of samples that any metric takes."""
    return 1


@dataclass(frozen=True)
class Metric:
    """A metric: the statistics that its formula takes, and the facts that studies ask for.

    The formula is one of two. `compute` takes the statistics of both sides that `needs` names;
    statistics of one name are computed once for all metrics. `survey_values` takes a survey of
    the manifolds of both sides, which counts hits or scores realism if `survey` holds "count" or
    "realism".
    """

    name: str
    summary: str  # one line for --help and for tables
    compute: Compute | None = None
    needs: Needs | None = None
    survey_values: SurveyValues | None = None
    survey: frozenset[str] | None = None
    # The fields of a convention that change its numbers; under conventions with the same ones they
    # are the same.
    choices: tuple[str, ...] = ()
    # Which columns it takes: these outputs of logits, or a space by the name of its output or
    # network, or else any features.
    logits_outputs: tuple[str, ...] = ()
    requires_space: str | None = None
    # The extractor or column, or the beginning of its name, that the user bound it to.
    space: str | None = None
    # How many samples it takes of either side, and what to do about fewer.
    min_samples: MinSamples = _at_least_one
    fewer_samples_hint: str = ""
    require_counts: Callable[[int, int], None] | None = None  # of the real, of the generated side
    # What else it can be computed from.
    repeats_allowed: bool = False  # a copy of a sample is not the nearest neighbor of that sample
    moments_suffice: bool = False  # a file with a mean and a covariance can be one side
    resamplings_allowed: bool = False  # repeated draws of one set
    # Where it is computed by default.
    is_default: bool = False
    in_sweeps: bool = False
    in_sweeps_by_label: bool = False
    # Name, options and digests of code that a user wrote; empty for a metric of the package.
    user_code: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """What a user writes: "pr", or "pr:vgg16" of a metric that is bound to a space."""
        return self.name if self.space is None else f"{self.name}:{self.space}"

    def applies_to(self, output: str, network: str, *, explicit: bool) -> bool:
        """Tell whether the metric takes a column of this output of this network.

        explicit: the user named the column, so it counts as features whatever its output is.
        """
        if self.requires_space:
            return self.requires_space in (output, network.partition("-")[0])
        if self.logits_outputs:
            return output in self.logits_outputs
        return explicit or output not in NOT_FEATURES

    @property
    def column_kind(self) -> str:
        """The kind of column that the metric takes, for messages: "features", "logits", "clip"."""
        return self.requires_space or (LOGITS if self.logits_outputs else "features")
