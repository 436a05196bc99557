"""The checks of claims, against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from raymetrics.studies.papers.claims import CHECKS, Curve, Number, relative_change


def numbers(*values: float, deviation: float | None = None) -> list[Number]:
    return [Number(value, deviation) for value in values]


def curve(values: list[float], keys: list[float] | None = None) -> Curve:
    return Curve(tuple(keys or range(len(values))), tuple(numbers(*values)))


def test_relative_change_is_that_of_many_draws() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.normal(5, 0.05, 200_000), rng.normal(4, 0.03, 200_000)
    change = relative_change(Number(5, 0.05), Number(4, 0.03))
    assert change.value == pytest.approx(-0.2)
    assert change.deviation == pytest.approx((after / before).std(), rel=0.02)
    assert relative_change(Number(5), Number(4, 0.1)).deviation is None


@pytest.mark.parametrize(
    ("check", "values", "options", "holds"),
    [
        ("is_less", numbers(1, 2, 3), {}, True),
        ("is_less", numbers(1, 1), {}, False),
        ("is_less", numbers(1, 2, deviation=0.3), {}, True),
        ("is_less", numbers(1, 2, deviation=0.5), {}, False),
        ("is_ascending", numbers(1, 1, 2), {}, True),
        ("is_ascending", numbers(1, 2, 1), {}, False),
        ("changes_at_most", numbers(10, 8), {"limit": -0.1}, True),
        ("changes_at_most", numbers(10, 9.5), {"limit": -0.1}, False),
        ("falls_less", numbers(10, 5, 10, 9), {"times": 5}, True),
        ("falls_less", numbers(10, 5, 10, 8), {"times": 5}, False),
        ("falls_less", numbers(10, 5, 10, 30), {"times": 5}, True),
        ("falls_less", numbers(10, 11, 10, 10), {"times": 5}, False),
        ("is_at_least", numbers(1, 2), {"limit": 1}, True),
        ("is_at_least", numbers(1, 2), {"limit": 1.5}, False),
        ("is_at_most", numbers(1, 2), {"limit": 2}, True),
        ("is_at_most", numbers(1, 2), {"limit": 1}, False),
        ("is_between", numbers(0.5), {"low": 0, "high": 1}, True),
        ("is_between", numbers(1.5), {"low": 0, "high": 1}, False),
        ("are_equal", numbers(0.1, 0.1), {}, True),
        ("are_equal", numbers(0.1, 0.1 + 1e-15), {}, False),
        ("curve_falls", [curve([3, 2, 1])], {}, True),
        ("curve_falls", [curve([3, 2, 1]), curve([1, 2, 3])], {}, False),
        ("curve_falls", [curve([1, 1, 1])], {}, False),
        ("curve_rises", [curve([1, 2, 4, 3, 9])], {}, True),
        ("curve_rises", [curve([3, 1, 2])], {}, False),
        ("curves_correlate", [curve([1, 2, 3]), curve([2, 4, 6])], {"limit": 0.99}, True),
        ("curves_correlate", [curve([1, 2, 3]), curve([3, 1, 2])], {"limit": 0.99}, False),
        ("curve_is_higher", [curve([0, 2, 3]), curve([0, 1, 2])], {}, True),
        ("curve_is_higher", [curve([0, 1, 3]), curve([0, 2, 2])], {}, False),
        ("curve_is_higher", [curve([0, 1]), curve([0, 1])], {}, False),
        ("argmin_is_in_upper_half", [curve([9, 1, 5]), curve([0.1, 0.9, 0.5])], {}, True),
        ("argmin_is_in_upper_half", [curve([1, 9, 5]), curve([0.1, 0.9, 0.5])], {}, False),
    ],
)  # fmt: skip
def test_checks(check: str, values: list, options: dict, holds: bool) -> None:
    finding = CHECKS[check](values, **options)
    assert finding.holds is holds
    assert finding.found


def test_tradeoffs_are_compared_where_both_have_x() -> None:
    x, low, high = curve([0, 0.5, 1]), curve([1, 0.5, 0]), curve([1.1, 0.6, 0.1])
    assert CHECKS["curve_is_above"]([x, high, x, low]).holds
    assert not CHECKS["curve_is_above"]([x, low, x, high]).holds
    assert CHECKS["curve_is_above"]([x, low, x, high], margin=-0.2).holds
    shifted = curve([2, 3, 4])
    assert not CHECKS["curve_is_above"]([shifted, high, x, low]).holds


def test_tradeoffs_do_not_depend_on_the_order_of_their_points() -> None:
    x, y, flat = curve([0, 0.5, 1]), curve([0, 0.25, 1]), curve([0.2, 0.2, 0.2])
    backwards = curve([1, 0.5, 0]), curve([1, 0.25, 0])
    first = CHECKS["curve_is_above"]([x, y, x, flat])
    assert first == CHECKS["curve_is_above"]([*backwards, x, flat])
    # The mean of the interpolated y is the trapezoid rule's 0.375, less the 0.2 of the other curve.
    assert first.holds
    assert math.isclose(0.175, float(first.found.split()[2]), rel_tol=0.02)
