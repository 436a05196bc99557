"""Find the point of a hyperellipsoid that is closest to a point outside, in any dimension."""

from __future__ import annotations

import numpy as np

_MAX_STEPS = 100  # of Newton's method; a dozen are enough, as each of the last doubles the digits
_ACCURACY = 1e-14  # relative, with which the result lies on the surface


def closest_points(points: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Compute the closest points of the surface, [n, d], to points float64 [n, d] outside.

    The ellipsoid is sum_i (x_i / axes_i)^2 = 1, with axes float64 [d], all positive. The closest
    point to y is x_i = a_i^2 y_i / (t + a_i^2), where a are the axes and t > 0 is the only root of
    sum_i (a_i y_i / (t + a_i^2))^2 = 1 (Eberly 2011, Distance from a Point to an Ellipse, an
    Ellipsoid, or a Hyperellipsoid).
    """
    scale = axes.max()
    a, y = axes / scale, points / scale
    t = _multipliers(np.abs(a * y), a**2)
    return points * (a**2 / (t[:, None] + a**2))


def _multipliers(numerators: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Solve |p(t)| = 1 for t >= 0, where p_i = numerators_i / (t + squares_i); float64 [n].

    1 / |p(t)| is concave, increasing, and nearly a straight line. So Newton's method for
    1 / |p(t)| = 1 climbs to the root from any lower bound, and never passes the root (Conn, Gould &
    Toint 2000, Trust-Region Methods, section 7.3).
    """
    t = _lower_bounds(numerators, squares)
    active = np.arange(len(t))
    for _ in range(_MAX_STEPS):
        shifted = t[active, None] + squares
        terms = (numerators[active] / shifted) ** 2
        total = terms.sum(axis=1)
        excess = np.sqrt(total) - 1
        # Each row stops on its own, so that its last bits do not depend on the other rows.
        going = excess > _ACCURACY
        if not going.any():
            break
        slope = (terms / shifted).sum(axis=1)
        active, step = active[going], (total * excess / slope)[going]
        t[active] += step
    return t


def _lower_bounds(numerators: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Return lower bounds of the roots, float64 [n].

    One bound solves the equation with a single term; the other solves it with all squares replaced
    by the largest. The result is the larger bound, at least 0.
    """
    single_term = (numerators - squares).max(axis=1)
    sphere = np.sqrt((numerators**2).sum(axis=1)) - squares.max()
    return np.maximum(np.maximum(single_term, sphere), 0)
