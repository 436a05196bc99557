"""Your own metric: `module:callable`, where a name of a metric is expected.

The simplest form is a function of the features of both sides, float32 [n, d] and [m, d]:

    def mean_distance(real, generated):
        return np.linalg.norm(real.mean(axis=0) - generated.mean(axis=0))

It is called once for every feature space, and for every label with `--by label`. All rows of both
sides are held in memory. A class whose objects can be called is the same with options, as in
`my_metrics:MeanDistance?power=2`.

The second form is a class for sets of any size. Its statistics are computed block by block, on
all workers, and merged:

    class MeanDistance:
        def needs(self, side):  # "real" or "generated"
            return {"moments": lambda sample_ids, features: Moments.from_samples(features)}

        def compute(self, real, generated):  # {"moments": the merged statistic} of each side
            return np.linalg.norm(real["moments"].mean - generated["moments"].mean)

A statistic is any object with `merge(addend)`, which returns the statistic of both and changes
neither; the statistics of `raymetrics.statistics` are such. A block has at least one sample.

The function, or the class, may have these attributes, the facts of a metric:

    name               of the number in results; by default the text that names the metric
    summary            one line about it
    better             "lower" (the default) or "higher"
    min_samples        the least number of samples of either side, by default 1
    repeats_allowed    True if samples that were drawn repeatedly make sense; by default False
    outputs            the outputs of extractors that it takes, as ("logits",); by default features
    estimated_bytes    of a class: a method (dimension, rows) -> bytes of all statistics of a side
    spec               all that changes its numbers; by default digests of its code, of the modules
                       that it imports, and of the files that its options name

Workers import the module by its name: it must be in the folder in which the command runs, in the
working directory of a job, or on the Python path of all machines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from raymetrics import option_strings
from raymetrics.errors import MetricError
from raymetrics.metrics.conventions import Convention
from raymetrics.metrics.metric import Compute, Metric, MetricValue, Needs
from raymetrics.metrics.required_statistics import AllRows, SampleIds, StatisticFunction
from raymetrics.permissions import CALLABLE
from raymetrics.provenance import canonical_json
from raymetrics.user_code import USER_CODE_EXCEPTIONS, UserCallable, describe_exception

_SIDES = ("real", "generated")


def is_user_metric(text: str) -> bool:
    """Tell whether a text names a metric of the user's own: `module:callable?option=value`."""
    return CALLABLE.fullmatch(text.rpartition("?")[0] or text) is not None


def load_user_metric(text: str) -> Metric:
    """Load the metric that `module:callable?option=value` names.

    MetricError, with the place in the user's code, if it cannot be loaded or a fact of it is wrong.
    """
    code = _UserMetricCode.load(text)
    outputs = code.fact("outputs", (), _is_names, "a tuple of names")
    is_better = ("lower", "higher").__contains__
    name = code.fact("name", text, _is_text, "text")
    better = code.fact("better", "lower", is_better, "'lower' or 'higher'")
    min_samples = code.fact("min_samples", 1, _is_count, "an int from 1 on")
    return Metric(
        name=text,
        summary=code.fact("summary", "", lambda value: isinstance(value, str), "text"),
        compute=code.compute_function(name, better),
        needs=code.needs_function(),
        logits_outputs=tuple(outputs),
        min_samples=lambda convention: min_samples,
        repeats_allowed=bool(code.fact("repeats_allowed", False, _is_bool, "True or False")),
        in_sweeps_by_label=True,
        user_code=code.identity,
    )


@dataclass(frozen=True, eq=False)
class _UserMetricCode:
    """The function or the object of a user's metric; every error of it is a MetricError."""

    text: str
    target: UserCallable
    options: Mapping[str, str]
    instance: Any

    @classmethod
    def load(cls, text: str) -> _UserMetricCode:
        """Import the module, and make the object of a class with the options."""
        name, options = option_strings.parse_options(text, MetricError)
        target = UserCallable(name, "metric", MetricError)
        if hasattr(target.load(), "compute"):
            instance = target.construct(options)
            for method in ("needs", "compute"):
                if not callable(target.get_attribute(instance, method)):
                    raise MetricError(
                        f"{name} has no method {method!r}, as a class of a metric needs"
                    )
        else:
            instance = target.instantiate(options)
        return cls(text, target, options, instance)

    @property
    def is_streaming(self) -> bool:
        """Whether it has statistics of its own, and is no function of all rows."""
        return hasattr(self.instance, "compute")

    @property
    def identity(self) -> dict[str, object]:
        """What a result says of the code: its name, its options, and its spec or digests."""
        fields = self.target.spec_fields(self.instance, self.options)
        return {"callable": self.target.text, "options": dict(self.options), **fields}

    def fact(self, name: str, default: Any, is_valid: Callable[[Any], bool], expected: str) -> Any:
        """Look up an attribute. MetricError if its value is not what is expected."""
        value = self.target.get_attribute(self.instance, name, default)
        if not is_valid(value):
            raise MetricError(f"{name} of {self.text} is {value!r}, expected {expected}")
        return value

    def call(self, function: Callable[..., Any], *arguments: Any, what: str) -> Any:
        """Call code of the user. MetricError, with the place in that code, if it raises."""
        try:
            return function(*arguments)
        except USER_CODE_EXCEPTIONS as error:
            raise MetricError(
                f"{self.text} failed on {what}: {describe_exception(error)}"
            ) from error

    def compute_function(self, name: str, better: str) -> Compute:
        """Return the formula as that of a metric."""

        def compute(
            real: Mapping[str, Any],
            generated: Mapping[str, Any],
            samples: SampleIds,
            convention: Convention,
        ) -> list[MetricValue]:
            what = f"{len(samples.real)} real and {len(samples.generated)} generated samples"
            function = self.instance.compute if self.is_streaming else self.instance
            arguments = [self._argument(side) for side in (real, generated)]
            value = self.call(function, *arguments, what=what)
            number = _as_number(value)
            if number is None:
                raise MetricError(
                    f"{self.text} gives {value!r:.80} of {what}, expected one finite number"
                )
            return [MetricValue(name, name, number, better, dict(self.options))]

        return compute

    def _argument(self, statistics: Mapping[str, Any]) -> Any:
        """Return what the formula takes of a side: all features, or its statistics by name."""
        if not self.is_streaming:
            return statistics["rows"].features
        prefix = f"{self.text} "
        return {
            name.removeprefix(prefix): state.value
            for name, state in statistics.items()
            if name.startswith(prefix)
        }

    def needs_function(self) -> Needs:
        """Return the needs as those of a metric. MetricError if they are no functions by name."""
        if not self.is_streaming:
            return lambda samples, side, convention: {"rows": AllRows()}
        # Apart from statistics of the same name that other metrics need.
        identity = canonical_json(self.identity)
        statistics: dict[str, dict[str, StatisticFunction]] = {
            side: {
                f"{self.text} {name}": UserStatistic(self.text, identity, side, name)
                for name in self.block_functions(side)
            }
            for side in _SIDES
        }
        return lambda samples, side, convention: statistics[side]

    def block_functions(self, side: str) -> Mapping[str, Callable[..., Any]]:
        """Return the user's functions from a block to a statistic, by name."""
        functions = self.call(self.instance.needs, side, what=f"the needs of the {side} side")
        if not (
            isinstance(functions, Mapping)
            and functions
            and all(_is_text(name) and callable(function) for name, function in functions.items())
        ):
            raise MetricError(
                f"{self.text} needs {functions!r:.80} of the {side} side, expected functions "
                "(sample_ids, features) -> statistic by name"
            )
        return functions


@dataclass(frozen=True)
class UserState:
    """A user's statistic of some samples. None of no samples, as user code never sees those."""

    text: str
    value: Any

    def merge(self, addend: UserState) -> UserState:
        """Merge two statistics. MetricError, with the place in the user's code, if that raises."""
        if self.value is None or addend.value is None:
            return addend if self.value is None else self
        try:
            return UserState(self.text, self.value.merge(addend.value))
        except USER_CODE_EXCEPTIONS as error:
            raise MetricError(
                f"{self.text} failed to merge statistics: {describe_exception(error)}"
            ) from error


@dataclass(frozen=True)
class UserStatistic:
    """A statistic of a user's metric, which a worker imports by its name."""

    text: str
    identity: str  # of the code on the driver, as JSON
    side: str
    name: str

    def __call__(self, sample_ids: np.ndarray, values: np.ndarray) -> UserState:
        if not len(sample_ids):
            return UserState(self.text, None)
        code, functions = _load_on_worker(self.text, self.identity, self.side)
        what = f"a block of {len(sample_ids)} {self.side} samples"
        statistic = code.call(functions[self.name], sample_ids, values, what=what)
        if not callable(getattr(statistic, "merge", None)):
            raise MetricError(
                f"{self.text} gives {type(statistic).__name__} of {what}, expected a statistic "
                "with a method merge(addend)"
            )
        return UserState(self.text, statistic)

    def estimated_bytes(self, dimension: int, rows: int) -> int:
        """Return the user's own estimate, or the bytes of a covariance matrix in float64."""
        code, functions = _load_on_worker(self.text, self.identity, self.side)
        estimate = code.target.get_attribute(code.instance, "estimated_bytes")
        if estimate is None:
            return 8 * dimension**2
        needed = code.call(estimate, dimension, rows, what=f"the bytes of {rows} samples")
        number = _as_number(needed)
        if number is None or number < 0:
            raise MetricError(
                f"estimated_bytes of {self.text} gives {needed!r:.80}, expected bytes"
            )
        return int(number) // len(functions)


@lru_cache(maxsize=64)
def _load_on_worker(
    text: str, identity: str, side: str
) -> tuple[_UserMetricCode, Mapping[str, Callable[..., Any]]]:
    """Load a user's code once in every process. MetricError if the driver has other code."""
    code = _UserMetricCode.load(text)
    if canonical_json(code.identity) != identity:
        raise MetricError(
            f"{text} on a worker is not what it is on the driver; bring the code in line on all "
            "machines and run the command again"
        )
    return code, code.block_functions(side)


def _as_number(value: Any) -> float | None:
    """Return a finite number of Python, numpy or torch as a float; None for anything else."""
    try:
        item = value.item() if hasattr(value, "item") else value
    except (TypeError, ValueError, RuntimeError):
        return None
    is_number = isinstance(item, int | float) and not isinstance(item, bool)
    return float(item) if is_number and math.isfinite(item) else None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.strip() != ""


def _is_names(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(map(_is_text, value))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)
