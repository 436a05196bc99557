"""What the tests of the search engines share: the engines, and pairs of sets that are hard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from raymetrics.metrics.manifold_survey import up_to_median
from raymetrics.neighbors import ExactSearch, FlatSearch, LowerBoundSearch, TileSearch
from raymetrics.statistics.ball_membership import Balls

ENGINES: dict[str, Callable[[], Any]] = {
    "flat": FlatSearch,
    "lower-bound-4": lambda: LowerBoundSearch(4),
    "lower-bound-64": lambda: LowerBoundSearch(64),
    "tiles": TileSearch,
}
KS = (1, 3, 5)

Sets = tuple[np.ndarray, np.ndarray]


def gaussian(
    rng: np.random.Generator, dimension: int = 8, offset: float = 0.0, dtype: type = np.float32
) -> Sets:
    """Of different sizes; some of the generated are copies of real ones, once or twice."""
    real = rng.normal(size=(90, dimension)) + offset
    spread = rng.normal(0, 0.8, size=(50, dimension)) + offset
    generated = np.concatenate([spread, real[:12], real[:8]])
    return real.astype(dtype), generated.astype(dtype)


def lattice(rng: np.random.Generator) -> Sets:
    """Many ties."""
    points = rng.integers(0, 4, size=(150, 6)).astype(np.float32)
    return points[:90], points[90:]


def far_lattice(rng: np.random.Generator) -> Sets:
    """Many ties, and no digits left for products in float32."""
    one, other = lattice(rng)
    return one + np.float32(4096), other + np.float32(4096)


def duplicates(rng: np.random.Generator) -> Sets:
    """More than are fetched beyond the k-th."""
    points = rng.normal(size=(3, 4)).astype(np.float32)
    return np.repeat(points, 40, axis=0), np.repeat(points[:2], 30, axis=0) + np.float32(1e-3)


def outlier(rng: np.random.Generator) -> Sets:
    one, other = gaussian(rng)
    one[0] += 1e6
    return one, other


def scaled(rng: np.random.Generator, power: int) -> Sets:
    """Squares of such numbers do not fit into float32."""
    one, other = gaussian(rng)
    return np.ldexp(one, power), np.ldexp(other, power)


def constant(rng: np.random.Generator) -> Sets:
    return np.full((40, 5), 1.1), np.full((30, 5), 1.1)


def one_row(rng: np.random.Generator) -> Sets:
    return rng.normal(size=(1, 6)).astype(np.float32), rng.normal(size=(20, 6)).astype(np.float32)


def isotropic(rng: np.random.Generator) -> Sets:
    """A few coordinates tell nothing about the distances."""
    return tuple(rng.normal(size=(n, 200)).astype(np.float32) for n in (120, 100))


def in_a_subspace(rng: np.random.Generator) -> Sets:
    """What is left outside of the subspace is rounding alone."""
    mixing = np.linalg.qr(rng.normal(size=(100, 4)))[0].T
    return tuple((rng.normal(size=(n, 4)) @ mixing).astype(np.float32) for n in (90, 80))


def other_types(rng: np.random.Generator) -> Sets:
    one, other = gaussian(rng)
    return one, other.astype(np.float64) * 1.1


def shells(rng: np.random.Generator) -> Sets:
    """Far more neighbours than are fetched at distances that float32 cannot order, as they lie
    far from the joint mean."""
    directions = rng.normal(size=(120, 8))
    lengths = rng.uniform(1, 1.5, size=(120, 1))
    directions *= lengths / np.linalg.norm(directions, axis=1)[:, None]
    centres = np.repeat(np.eye(8)[:2] * [[3000], [-3000]], 60, axis=0)
    centres = centres + 3000 * rng.normal(size=8)
    near_centres = centres[::6] + 1e-4 * rng.normal(size=(20, 8))
    return centres + directions, near_centres


def hairs_beside_a_constant(rng: np.random.Generator) -> Sets:
    """The squares of what differs vanish in float32, while the largest number is 1."""
    one, other = (1e-24 * rng.normal(size=(n, 6)) for n in (60, 50))
    one[:, 0] = other[:, 0] = 1
    return one.astype(np.float32), other.astype(np.float32)


def tiny_balls_far_away(rng: np.random.Generator) -> Sets:
    """Ratios of radius and distance whose squares float32 does not hold."""
    return (
        (1e-24 * rng.normal(size=(40, 4))).astype(np.float32),
        rng.normal(size=(30, 4)).astype(np.float32),
    )


def denormal(rng: np.random.Generator) -> Sets:
    """Multiples of the smallest float32."""
    one, other = (rng.integers(0, 9, size=(n, 4)) * 2.0**-149 for n in (60, 50))
    return one.astype(np.float32), other.astype(np.float32)


def all_of_float32(rng: np.random.Generator) -> Sets:
    """An outlier so large that nothing in float32 brings all of them near 1."""
    one, other = (1e-10 * rng.normal(size=(n, 4)) for n in (60, 50))
    one[0] = 1e35
    return one.astype(np.float32), other.astype(np.float32)


WORLDS: dict[str, Callable[[np.random.Generator], Sets]] = {
    **{
        f"gaussian {d} {offset:g} {dtype.__name__}": (
            lambda rng, d=d, offset=offset, dtype=dtype: gaussian(rng, d, offset, dtype)
        )
        for d, offset, dtype in (
            (2, 0.0, np.float32),
            (2, 1e4, np.float64),
            (8, 30.0, np.float32),
            (8, 1e4, np.float32),
            (64, 0.0, np.float64),
            (64, 30.0, np.float32),
            (64, 1e4, np.float64),
        )
    },
    **{f"scaled {power}": lambda rng, power=power: scaled(rng, power) for power in (-70, 60)},
    **{
        kind.__name__: kind
        for kind in (
            lattice, far_lattice, duplicates, outlier, constant, one_row, isotropic,
            in_a_subspace, other_types, shells, hairs_beside_a_constant, tiny_balls_far_away,
            denormal, all_of_float32,
        )
    },
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Case:
    """Some queries among some base rows, and what brute force says; nobody writes to it."""

    queries: np.ndarray
    base: np.ndarray
    own: np.ndarray  # numbers of the base rows
    near_own: np.ndarray  # of the base, but for themselves
    near: np.ndarray  # of the queries
    radii: np.ndarray  # of the base for KS; 1 where there are too few neighbours
    lesser: np.ndarray
    balls: Balls
    open_radii: np.ndarray  # next below
    open_balls: Balls


@cache
def cases(name: str) -> tuple[Case, Case]:
    """The generated among the real of a world, and the other way round."""
    real, generated = WORLDS[name](np.random.default_rng(7))
    return solved(generated, real), solved(real, generated)


def solved(queries: np.ndarray, base: np.ndarray) -> Case:
    exact, own = ExactSearch(), np.arange(len(base))
    near_own = exact.nearest(base, base, max(KS), own)
    radii = np.where(np.isinf(near_own), 1.0, near_own)[:, [k - 1 for k in KS]]
    lesser = up_to_median(radii[:, 0])
    opened = np.nextafter(radii, -1)
    queries.flags.writeable = base.flags.writeable = False
    return Case(
        queries=queries,
        base=base,
        own=own,
        near_own=near_own,
        near=exact.nearest(queries, base, max(KS)),
        radii=radii,
        lesser=lesser,
        balls=exact.balls(queries, base, radii, lesser=lesser),
        open_radii=opened,
        open_balls=exact.balls(queries, base, opened),
    )
