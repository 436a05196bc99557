"""The point of a hyperellipsoid that is closest to a point outside of it, in any dimension."""

from __future__ import annotations

import numpy as np

# Newton's steps; each of the last ones doubles the digits, and a dozen are enough.
_MAX_STEPS = 100
# Of the root: the surface is reached to this relative accuracy.
_ACCURACY = 1e-14


def closest_points(points: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """points float64 [n, d] -> the closest points of the surface, [n, d].

    The ellipsoid is sum_i (x_i / axes_i)^2 = 1, with axes float64 [d], all positive; points lie
    outside. The closest point is x_i = a_i^2 y_i / (t + a_i^2), where t > 0 is the one root of
    sum_i (a_i y_i / (t + a_i^2))^2 = 1 (Eberly 2011, Distance from a Point to an Ellipse, an
    Ellipsoid, or a Hyperellipsoid).
    """
    scale = axes.max()
    a, y = axes / scale, points / scale
    t = _multipliers(np.abs(a * y), a**2)
    return points * (a**2 / (t[:, None] + a**2))


def _multipliers(numerators: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """The roots t >= 0 of |p(t)| = 1, where p_i = numerators_i / (t + squares_i); float64 [n].

    1 / |p(t)| is concave and increasing, and nearly a straight line. So Newton's method for
    1 / |p(t)| = 1 climbs to the root from any bound below, and never passes it (Conn, Gould &
    Toint 2000, Trust-Region Methods, section 7.3).
    """
    t = _lower_bounds(numerators, squares)
    active = np.arange(len(t))
    for _ in range(_MAX_STEPS):
        shifted = t[active, None] + squares
        terms = (numerators[active] / shifted) ** 2
        total = terms.sum(axis=1)
        excess = np.sqrt(total) - 1
        # A row stops by itself: what others need does not move its last bits.
        going = excess > _ACCURACY
        if not going.any():
            break
        slope = (terms / shifted).sum(axis=1)
        active, step = active[going], (total * excess / slope)[going]
        t[active] += step
    return t


def _lower_bounds(numerators: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """No root is smaller: where one term alone is 1, and where all squares are the largest one."""
    single_term = (numerators - squares).max(axis=1)
    sphere = np.sqrt((numerators**2).sum(axis=1)) - squares.max()
    return np.maximum(np.maximum(single_term, sphere), 0)
