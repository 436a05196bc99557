"""A metric as data: its formulas, and the facts by which every study decides about it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from raymetrics.errors import RaymetricsError
from raymetrics.metrics.conventions import Convention
from raymetrics.metrics.influences import Influences
from raymetrics.metrics.required_statistics import SampleIds, StatisticFunction
from raymetrics.metrics.sampling_errors import SamplingErrors
from raymetrics.metrics.survey_needs import SurveyNeeds
from raymetrics.option_strings import format_options
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
    # For intervals: the least and the greatest value that there is; the influences by side, which
    # are computed only if they are asked for; and the errors by side, which the study adds.
    bounds: tuple[float, float] = (-math.inf, math.inf)
    influences: Callable[[], Influences] | None = None
    errors: Mapping[str, SamplingErrors] = field(default_factory=dict)


# Of a metric with settings, each takes them as further keyword arguments.
Needs = Callable[..., Mapping[str, StatisticFunction]]  # (SampleIds, side, Convention)
Compute = Callable[..., list[MetricValue]]  # (real, generated, SampleIds, Convention)
SurveyValues = Callable[..., list[MetricValue]]  # (ManifoldSurvey, SampleIds, Convention)
NearestValues = Callable[..., list[MetricValue]]  # (NearestTraining, SampleIds, Convention)
Survey = Callable[..., SurveyNeeds]  # (SampleIds, Convention)
MinSamples = Callable[..., int]  # (Convention)


def needs_of_both_sides(name: str, statistic: StatisticFunction) -> Needs:
    """Return the needs of a metric that takes the same statistic of both sides."""
    return lambda samples, side, convention, **settings: {name: statistic}


# The functions of a metric that take its settings.
_SETTABLE_FUNCTIONS = (
    "compute", "needs", "survey", "survey_values", "nearest_values", "min_samples"
)  # fmt: skip


def _at_least_one(convention: Convention, **settings: Any) -> int:
    """Return 1, the smallest number of samples that any metric takes."""
    return 1


@dataclass(frozen=True)
class Metric:
    """A metric: the statistics that its formula takes, and the facts that studies ask for.

    The formula is one of three. `compute` takes the statistics of both sides that `needs` names;
    statistics of one name are computed once for all metrics. `survey_values` takes a survey of
    the manifolds of both sides, which holds what `survey` names, for all metrics together; with
    `needs` it takes statistics too, as `real` and `generated`. `nearest_values` takes the nearest
    real samples of the generated ones.
    """

    name: str
    summary: str  # one line for --help and for tables
    compute: Compute | None = None
    needs: Needs | None = None
    survey_values: SurveyValues | None = None
    survey: Survey | None = None
    nearest_values: NearestValues | None = None
    # The fields of a convention that change its numbers; under conventions with the same ones they
    # are the same.
    choices: tuple[str, ...] = ()
    # What a user may set of it, as "vendi?order=2", with the defaults; of a text a tuple of all
    # that it may be, the default first. The functions take them as keyword arguments.
    settings: Mapping[str, float | int | tuple[str, ...]] = field(default_factory=dict)
    chosen_settings: Mapping[str, str] = field(default_factory=dict)  # as the user wrote them
    require_settings: Callable[..., None] | None = None  # RaymetricsError for what makes no sense
    # Which columns it takes: these outputs of logits, or a space by the name of its output or
    # network, or else any features.
    logits_outputs: tuple[str, ...] = ()
    requires_space: str | None = None
    # Gets what it needs besides columns, such as a file of weights, or raises what to do about it;
    # called before anything is computed.
    require_files: Callable[[], object] | None = None
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
    generated_suffices: bool = False  # the real side may lack its column
    # Whether `compute` takes a third set as `validation`: its moments in the column, or a norm.
    takes_validation: bool = False
    # How its intervals are made: from the `influences` of its values; or from its numbers without
    # each of some groups of samples, of any metric whose `compute` takes only statistics that merge
    # and whose `needs` ask for no ids, or whose survey only counts balls. None: it has none.
    interval: Literal["influences", "groups"] | None = None
    # Where it is computed by default.
    is_default: bool = False
    in_sweeps: bool = False
    in_sweeps_by_label: bool = False
    # Name, options and digests of code that a user wrote; empty for a metric of the package.
    user_code: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reads_rows(self) -> bool:
        """Whether it compares single samples, by a survey or by the nearest ones."""
        return self.survey is not None or self.nearest_values is not None

    @property
    def text(self) -> str:
        """What a user writes: "pr", "pr:vgg16" in one space only, or "vendi:vgg16?order=2"."""
        bound = self.name if self.space is None else f"{self.name}:{self.space}"
        return format_options(bound, self.chosen_settings) if self.chosen_settings else bound

    @property
    def variant(self) -> str:
        """The name with the settings that the user chose: "vendi?order=2"."""
        return replace(self, space=None).text

    def with_settings(self, chosen: Mapping[str, str]) -> Metric:
        """Return the metric with these settings, and the defaults of those that are left out.

        RaymetricsError for a setting that it has not, or a value that it cannot have.
        """
        if not self.settings and not chosen:
            return self
        for name in chosen:
            if name not in self.settings:
                known = ", ".join(self.settings) or "nothing"
                raise RaymetricsError(
                    f"{self.name} has no setting {name!r}; of it can be set: {known}"
                )
        values = {
            name: self._parse_setting(name, default, chosen.get(name))
            for name, default in self.settings.items()
        }
        if self.require_settings is not None:
            self.require_settings(**values)
        functions: dict[str, Any] = {
            name: partial(getattr(self, name), **values)
            for name in _SETTABLE_FUNCTIONS
            if getattr(self, name) is not None
        }
        return replace(self, chosen_settings=dict(chosen), **functions)

    def _parse_setting(
        self, name: str, default: float | int | tuple[str, ...], text: str | None
    ) -> float | int | str:
        """Return the value of a setting: the default without a text."""
        if isinstance(default, tuple):
            if text is not None and text not in default:
                raise RaymetricsError(
                    f"{name} of {self.name} is {text!r}; there are {', '.join(default)}"
                )
            return default[0] if text is None else text
        try:
            return default if text is None else type(default)(text)
        except ValueError:
            kind = "a whole number" if isinstance(default, int) else "a number"
            raise RaymetricsError(f"{name} of {self.name} is {text!r}, expected {kind}") from None

    def applies_to(self, output: str, network: str, *, explicit: bool) -> bool:
        """Tell whether the metric takes a column of this output of this network.

        explicit: the user named the column, so it counts as features whatever its output is.
        """
        if self.requires_space:
            return self.requires_space in (output, network, network.partition("-")[0])
        if self.logits_outputs:
            return output in self.logits_outputs
        return explicit or output not in NOT_FEATURES

    def survey_needs(self, samples: SampleIds, convention: Convention) -> SurveyNeeds:
        """Return what it needs of a survey: nothing, if it is computed from statistics alone."""
        return SurveyNeeds() if self.survey is None else self.survey(samples, convention)

    @property
    def column_kind(self) -> str:
        """The kind of column that the metric takes, for messages: "features", "logits", "clip"."""
        return self.requires_space or (LOGITS if self.logits_outputs else "features")
