"""Which of two generated sets is better by a metric, and whether the samples can tell.

Both are measured against the same real samples, so that what these add to both numbers cancels. So
does what generated samples of the same ids add to both, such as images of the same latents.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raymetrics.distributed.session import shared_session
from raymetrics.errors import NotEnoughData, RaymetricsError, SpecMismatch
from raymetrics.metrics import Convention
from raymetrics.metrics.registry import find_metrics
from raymetrics.metrics.sampling_errors import (
    LEVEL,
    SamplingErrors,
    StandardError,
    samples_for_half_width,
)
from raymetrics.python_arguments import as_names
from raymetrics.results import Result
from raymetrics.shards.view import View
from raymetrics.studies.evaluate import evaluate
from raymetrics.studies.open_sides import open_side
from raymetrics.studies.subsets import SIDES

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ComparedNumber:
    """A number of two sets, and their difference with its interval and the test that it is 0.

    samples_to_tell: how many generated samples a set would need for the interval of a difference as
    large to leave 0 out; samples_for_width: for one of the width that was asked for. None where
    the real samples alone leave more open.
    """

    first: Result
    second: Result
    difference: float  # of the first less the second
    low: float
    high: float
    p_value: float
    paired_sides: tuple[str, ...]  # whose samples are paired
    samples_to_tell: int | None
    samples_for_width: int | None = None

    @property
    def better(self) -> Result | None:
        """The better set's result; None if the samples cannot tell."""
        if self.p_value >= 1 - LEVEL:
            return None
        is_lower = self.difference < 0
        return self.first if is_lower == (self.first.better == "lower") else self.second


def compare(
    first: Any,
    second: Any,
    *,
    real: Any,
    metrics: str | Sequence[str] = "fid,pr",
    extractors: str | Sequence[str] | None = None,
    columns: str | Sequence[str] | None = None,
    convention: Convention | str | None = None,
    changes: Mapping[str, object] | None = None,
    samples: int | str | range | None = None,
    real_samples: int | str | range | None = None,
    width: float | None = None,
    any_size: bool = False,
    local: bool | None = None,
    run_code: bool = False,
    tell: Callable[[list[Result]], None] | None = None,
) -> list[ComparedNumber]:
    """Compare two generated sets by metrics that have intervals, against the same real samples.

    first, second, real and the other arguments are those of `evaluate`, by which both are measured.
    width: also how many samples make the interval of a difference so wide.
    tell: called with the results of both.

    The test is of Student's t, with the errors of `raymetrics.metrics.sampling_errors`. It is of
    one number; of many that are tested some differ by chance. RaymetricsError for a metric without
    intervals and a width that is not positive, NotEnoughData for sets of unequal counts, of which
    most metrics have other means, and else what `evaluate` raises.
    """
    names = as_names(metrics)
    _require_intervals(names)
    if width is not None and not 0 < width < float("inf"):
        raise RaymetricsError(f"width is {width:g}; expected a positive number")
    generated = {"first": first, "second": second}
    if samples is None:
        _require_equal_counts(generated)
    results: dict[str, list[Result]] = {}
    with shared_session(local=local):
        for name, side in generated.items():
            results[name] = evaluate(
                real=real, generated=side, metrics=names, extractors=extractors,
                columns=columns, convention=convention, changes=changes, samples=samples,
                real_samples=real_samples, any_size=any_size, local=local, run_code=run_code,
                intervals=True,
            )  # fmt: skip
    if tell:
        tell([*results["first"], *results["second"]])
    return compare_results(results["first"], results["second"], width)


def _require_intervals(names: Sequence[str]) -> None:
    """Raise RaymetricsError for a metric without intervals."""
    lacking = [metric.name for metric in find_metrics(names) if metric.interval is None]
    if lacking:
        raise RaymetricsError(
            f"{', '.join(lacking)} cannot be compared: there is no interval of it; leave it out of "
            "--metrics"
        )


def _require_equal_counts(sides: Mapping[str, Any]) -> None:
    """Raise NotEnoughData for two opened sets of unequal counts; sources are not opened."""
    opened = {name: open_side("generated", value, None) for name, value in sides.items()}
    counts = {name: len(view) for name, view in opened.items() if isinstance(view, View)}
    if len(set(counts.values())) > 1:
        raise NotEnoughData(
            f"the first set has {counts['first']} samples, the second one {counts['second']}, and "
            f"numbers of unequal counts differ by that; compare --samples {min(counts.values())}"
        )


def compare_results(
    first: Sequence[Result], second: Sequence[Result], width: float | None = None
) -> list[ComparedNumber]:
    """Compare the numbers that both have, in the order of the first.

    The results come from `evaluate` with intervals in this process: a file does not hold errors.
    SpecMismatch for results against different real samples, or of unequal counts.
    """
    others = {_number_key(result): result for result in second}
    pairs = [(r, others[_number_key(r)]) for r in first if _number_key(r) in others]
    for pair in pairs:
        _require_comparable(*pair)
        if not all(result.errors for result in pair):
            log.info("%s is not compared, as there is no interval of it", pair[0].label)
    return [_compare_pair(*pair, width) for pair in pairs if all(r.errors for r in pair)]


def _number_key(result: Result) -> tuple[object, ...]:
    """Return what tells a number from the others of one evaluation."""
    return result.metric, result.measure_name, result.convention.get("k"), str(result.subset)


def _require_comparable(first: Result, second: Result) -> None:
    """Raise SpecMismatch unless the real samples are the same, and the counts equal."""
    if first.real.identity != second.real.identity:
        raise SpecMismatch(
            f"{first.generated.source} was measured against other real samples than "
            f"{second.generated.source}; measure both against the same"
        )
    if first.generated.count != second.generated.count:
        raise SpecMismatch(
            f"{first.generated.source} has {first.generated.count} samples, "
            f"{second.generated.source} {second.generated.count}, and numbers of unequal counts "
            "differ by that; compare as many of each"
        )


def _compare_pair(first: Result, second: Result, width: float | None) -> ComparedNumber:
    """Compare one number of two sets."""
    by_side = {side: _subtract_errors(first, second, side) for side in SIDES}
    error = StandardError.from_errors([*by_side["real"], *by_side["generated"]])
    half_width = error.half_width()
    fixed = StandardError.from_errors(by_side["real"]).half_width() if by_side["real"] else 0.0
    difference, count = first.value - second.value, first.generated.count or 0

    def samples_for(wanted: float) -> int | None:
        return samples_for_half_width(wanted, half_width, fixed, count)

    return ComparedNumber(
        first,
        second,
        difference,
        difference - half_width,
        difference + half_width,
        error.p_value(difference),
        tuple(side for side in SIDES if len(by_side[side]) == 1),
        samples_for(abs(difference)),
        None if width is None else samples_for(width / 2),
    )


def _subtract_errors(first: Result, second: Result, side: str) -> list[SamplingErrors]:
    """Return the errors of the difference that a side gives, if the numbers have some of it."""
    if side not in first.errors or side not in second.errors:
        return []
    return first.errors[side].subtract(second.errors[side])
