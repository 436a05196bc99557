"""Check what a paper claims of its numbers: pure functions of values with deviations.

Every check takes the values that a claim names and the options of the claim, and returns whether
the claim holds, with a sentence of what was found.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class Number:
    """A value with its standard deviation, None where there is none."""

    value: float
    deviation: float | None = None

    def __str__(self) -> str:
        text = f"{self.value:.4g}"
        return text if self.deviation is None else f"{text} ± {self.deviation:.2g}"


@dataclass(frozen=True)
class Curve:
    """Points of a series: keys ascending, and their values."""

    keys: tuple[float, ...]
    numbers: tuple[Number, ...]

    @property
    def values(self) -> np.ndarray:
        """The values without deviations, float64 [points]."""
        return np.array([number.value for number in self.numbers])


@dataclass(frozen=True)
class Finding:
    """Whether a claim holds, and what was found."""

    holds: bool
    found: str


def relative_change(before: Number, after: Number) -> Number:
    """Compute (after - before) / before with its deviation, both taken as independent."""
    change = after.value / before.value - 1
    if before.deviation is None or after.deviation is None:
        return Number(change)
    terms = (after.deviation / before.value, after.value * before.deviation / before.value**2)
    return Number(change, math.hypot(*terms))


def is_less(numbers: Sequence[Number], deviations: float = 2) -> Finding:
    """Check that each number is less than the next one, beyond so many deviations of both."""
    holds = all(
        first.value + deviations * math.hypot(first.deviation or 0, second.deviation or 0)
        < second.value
        for first, second in pairwise(numbers)
    )
    return Finding(holds, ", ".join(map(str, numbers)))


def is_ascending(numbers: Sequence[Number]) -> Finding:
    """Check that no number is greater than the next one."""
    values = [number.value for number in numbers]
    return Finding(values == sorted(values), ", ".join(map(str, numbers)))


def changes_at_most(numbers: Sequence[Number], limit: float) -> Finding:
    """Check that the relative change from the first to the second number is at most `limit`."""
    change = relative_change(numbers[0], numbers[1])
    return Finding(change.value <= limit, f"{numbers[0]} to {numbers[1]}, {_percent(change)}")


def falls_less(numbers: Sequence[Number], times: float) -> Finding:
    """Check that one number falls, and a second one at least so many times less.

    numbers: before and after of the first, before and after of the second, which may also rise.
    """
    first, second = relative_change(*numbers[:2]), relative_change(*numbers[2:])
    holds = first.value < 0 and -second.value * times <= -first.value
    return Finding(holds, f"{_percent(first)} against {_percent(second)}")


def is_at_least(numbers: Sequence[Number], limit: float) -> Finding:
    """Check that every number is at least `limit`."""
    return Finding(all(number.value >= limit for number in numbers), ", ".join(map(str, numbers)))


def is_at_most(numbers: Sequence[Number], limit: float) -> Finding:
    """Check that every number is at most `limit`."""
    return Finding(all(number.value <= limit for number in numbers), ", ".join(map(str, numbers)))


def is_between(numbers: Sequence[Number], low: float, high: float) -> Finding:
    """Check that every number lies between two others."""
    holds = all(low <= number.value <= high for number in numbers)
    return Finding(holds, ", ".join(map(str, numbers)))


def are_equal(numbers: Sequence[Number]) -> Finding:
    """Check that all numbers are the same."""
    return Finding(len({number.value for number in numbers}) == 1, ", ".join(map(str, numbers)))


def curve_falls(curves: Sequence[Curve], rank: float = 0.7) -> Finding:
    """Check that every curve falls: the rank correlation with its key is at most -rank."""
    return _find_trend(curves, lambda correlation: correlation <= -rank)


def curve_rises(curves: Sequence[Curve], rank: float = 0.7) -> Finding:
    """Check that every curve rises: the rank correlation with its key is at least rank."""
    return _find_trend(curves, lambda correlation: correlation >= rank)


def _find_trend(curves: Sequence[Curve], is_trend: Callable[[float], bool]) -> Finding:
    """Check the rank correlation of every curve with its key; name both ends of each."""
    correlations = [_rank_correlation(np.array(c.keys), c.values) for c in curves]
    ends = ", ".join(f"{curve.numbers[0]} to {curve.numbers[-1]}" for curve in curves)
    return Finding(
        all(map(is_trend, correlations)), f"{ends}; rank correlation {_list(correlations)}"
    )


def curves_correlate(curves: Sequence[Curve], limit: float) -> Finding:
    """Check that the correlation of two curves over the same keys is at least `limit`."""
    correlation = float(np.corrcoef(curves[0].values, curves[1].values)[0, 1])
    return Finding(correlation >= limit, f"r = {correlation:.4f} over {len(curves[0].keys)} points")


def curve_is_above(curves: Sequence[Curve], margin: float = 0) -> Finding:
    """Check that one tradeoff lies above another.

    curves: x and y of the first, x and y of the second. The mean difference of y, interpolated over
    the x that both have, is to be more than `margin`.
    """
    difference = _mean_difference(*(curve.values for curve in curves))
    if difference is None:
        return Finding(False, "the curves have no x in common")
    side = "above" if difference >= 0 else "below"
    return Finding(difference > margin, f"{abs(difference):.3g} {side} the other on average")


def curve_is_higher(curves: Sequence[Curve]) -> Finding:
    """Check that the first of two curves over the same keys is nowhere below the second.

    Where both begin at the same point, as without noise, they are equal there.
    """
    differences = curves[0].values - curves[1].values
    ends = f"{curves[0].numbers[-1]} against {curves[1].numbers[-1]} at {curves[0].keys[-1]:g}"
    return Finding(bool((differences >= 0).all() and differences[-1] > 0), ends)


def argmin_is_in_upper_half(curves: Sequence[Curve]) -> Finding:
    """Check that where the first curve is least, the second lies above its own median."""
    least = int(np.argmin(curves[0].values))
    value, median = curves[1].values[least], float(np.median(curves[1].values))
    return Finding(bool(value > median), f"{value:.3g} there, the median is {median:.3g}")


CHECKS: Mapping[str, Callable[..., Finding]] = {
    check.__name__: check
    for check in (
        is_less,
        is_ascending,
        changes_at_most,
        falls_less,
        is_at_least,
        is_at_most,
        is_between,
        are_equal,
        curve_falls,
        curve_rises,
        curves_correlate,
        curve_is_above,
        curve_is_higher,
        argmin_is_in_upper_half,
    )
}


def _percent(change: Number) -> str:
    deviation = "" if change.deviation is None else f" ± {100 * change.deviation:.1f}"
    return f"{100 * change.value:+.1f}{deviation} %"


def _list(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


def _rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Compute Spearman's rank correlation; 0 for a curve that is constant."""
    from scipy.stats import rankdata

    if np.ptp(y) == 0 or np.ptp(x) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(x), rankdata(y))[0, 1])


def _mean_difference(
    first_x: np.ndarray, first_y: np.ndarray, second_x: np.ndarray, second_y: np.ndarray
) -> float | None:
    """Compute the mean of first minus second over the x that both curves reach; None without."""
    low, high = max(first_x.min(), second_x.min()), min(first_x.max(), second_x.max())
    if low >= high:
        return None
    grid = np.linspace(low, high, 64)
    first, second = (
        np.interp(grid, x[np.argsort(x)], y[np.argsort(x)])
        for x, y in ((first_x, first_y), (second_x, second_y))
    )
    return float((first - second).mean())
