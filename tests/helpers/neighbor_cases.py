"""List the search engines and pairs of sets that are hard for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from raymetrics.metrics.manifold_survey import radii_up_to_median
from raymetrics.neighbors import FlatSearch, TileSearch
from raymetrics.neighbors.processors import CpuProcessor, TorchProcessor
from raymetrics.statistics.ball_membership import BallMembership
from tests.helpers.exact_search import ExactSearch


def small_processor() -> CpuProcessor:
    """Return the cores, with tiles so small that there are several."""
    processor = CpuProcessor(threads=2)
    processor.side = 13
    return processor


ENGINES: dict[str, Callable[[], Any]] = {
    "tiles": TileSearch,
    "sketches of a quarter": lambda: TileSearch(small_processor(), part=4, adaptive=False),
    "sketches of a sixteenth": lambda: TileSearch(small_processor(), adaptive=False),
    "flat": FlatSearch,
    "tiles of 13": lambda: TileSearch(small_processor()),
    "device, float32": lambda: TileSearch(TorchProcessor("cpu", np.float32, side=16)),
    "device, float16": lambda: TileSearch(TorchProcessor("cpu", np.float16, side=64)),
}
if torch.cuda.is_available():
    ENGINES["gpu"] = lambda: TileSearch(TorchProcessor(side=64))
    ENGINES["gpu, float32"] = lambda: TileSearch(TorchProcessor(screen_type=np.float32, side=64))
KS = (1, 3, 5)

Sets = tuple[np.ndarray, np.ndarray]


def gaussian(
    rng: np.random.Generator, dimension: int = 8, offset: float = 0.0, dtype: type = np.float32
) -> Sets:
    """Return sets of different sizes; some generated rows copy real ones, once or twice."""
    real = rng.normal(size=(90, dimension)) + offset
    spread = rng.normal(0, 0.8, size=(50, dimension)) + offset
    generated = np.concatenate([spread, real[:12], real[:8]])
    return real.astype(dtype), generated.astype(dtype)


def lattice(rng: np.random.Generator) -> Sets:
    """Return sets with many ties."""
    points = rng.integers(0, 4, size=(150, 6)).astype(np.float32)
    return points[:90], points[90:]


def far_lattice(rng: np.random.Generator) -> Sets:
    """Return sets with many ties, too far from 0 for products in float32."""
    real, generated = lattice(rng)
    return real + np.float32(4096), generated + np.float32(4096)


def duplicates(rng: np.random.Generator) -> Sets:
    """Return sets with more ties than an engine fetches beyond the k-th neighbor."""
    points = rng.normal(size=(3, 4)).astype(np.float32)
    return np.repeat(points, 40, axis=0), np.repeat(points[:2], 30, axis=0) + np.float32(1e-3)


def outlier(rng: np.random.Generator) -> Sets:
    real, generated = gaussian(rng)
    real[0] += 1e6
    return real, generated


def scaled_gaussian(rng: np.random.Generator, power: int) -> Sets:
    """Return sets of numbers whose squares do not fit into float32."""
    real, generated = gaussian(rng)
    return np.ldexp(real, power), np.ldexp(generated, power)


def constant_rows(rng: np.random.Generator) -> Sets:
    return np.full((40, 5), 1.1), np.full((30, 5), 1.1)


def one_row(rng: np.random.Generator) -> Sets:
    return rng.normal(size=(1, 6)).astype(np.float32), rng.normal(size=(20, 6)).astype(np.float32)


def isotropic_gaussian(rng: np.random.Generator) -> Sets:
    """Return sets in whose distances a few coordinates do not matter."""
    return tuple(rng.normal(size=(n, 200)).astype(np.float32) for n in (120, 100))


def subspace_points(rng: np.random.Generator) -> Sets:
    """Return sets in a subspace, outside of which rows differ by rounding alone."""
    mixing = np.linalg.qr(rng.normal(size=(100, 4)))[0].T
    return tuple((rng.normal(size=(n, 4)) @ mixing).astype(np.float32) for n in (90, 80))


def mixed_types(rng: np.random.Generator) -> Sets:
    real, generated = gaussian(rng)
    return real, generated.astype(np.float64) * 1.1


def shells(rng: np.random.Generator) -> Sets:
    """Return sets with many neighbors at distances that float32 cannot order.

    They are far more than an engine fetches. The rows lie far from the joint mean.
    """
    directions = rng.normal(size=(120, 8))
    lengths = rng.uniform(1, 1.5, size=(120, 1))
    directions *= lengths / np.linalg.norm(directions, axis=1)[:, None]
    centers = np.repeat(np.eye(8)[:2] * [[3000], [-3000]], 60, axis=0)
    centers = centers + 3000 * rng.normal(size=8)
    near_centers = centers[::6] + 1e-4 * rng.normal(size=(20, 8))
    return centers + directions, near_centers


def hairs_beside_a_constant(rng: np.random.Generator) -> Sets:
    """Return sets whose squared differences vanish in float32; the largest number is 1."""
    real, generated = (1e-24 * rng.normal(size=(n, 6)) for n in (60, 50))
    real[:, 0] = generated[:, 0] = 1
    return real.astype(np.float32), generated.astype(np.float32)


def tiny_balls_far_away(rng: np.random.Generator) -> Sets:
    """Return sets with ratios of radius and distance whose squares float32 does not hold."""
    return (
        (1e-24 * rng.normal(size=(40, 4))).astype(np.float32),
        rng.normal(size=(30, 4)).astype(np.float32),
    )


def denormals(rng: np.random.Generator) -> Sets:
    """Return sets of multiples of the smallest float32."""
    real, generated = (rng.integers(0, 9, size=(n, 4)) * 2.0**-149 for n in (60, 50))
    return real.astype(np.float32), generated.astype(np.float32)


def float32_extremes(rng: np.random.Generator) -> Sets:
    """Return sets with an outlier so large that no scale in float32 brings all rows near 1."""
    real, generated = (1e-10 * rng.normal(size=(n, 4)) for n in (60, 50))
    real[0] = 1e35
    return real.astype(np.float32), generated.astype(np.float32)


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
    **{
        f"scaled {power}": lambda rng, power=power: scaled_gaussian(rng, power)
        for power in (-70, 60)
    },
    **{
        kind.__name__: kind
        for kind in (
            lattice,
            far_lattice,
            duplicates,
            outlier,
            constant_rows,
            one_row,
            isotropic_gaussian,
            subspace_points,
            mixed_types,
            shells,
            hairs_beside_a_constant,
            tiny_balls_far_away,
            denormals,
            float32_extremes,
        )
    },
}


@dataclass(frozen=True, eq=False)
class Case:
    """Queries among base rows, and the result of brute force; tests must not write to it."""

    queries: np.ndarray
    base: np.ndarray
    base_neighbors: np.ndarray  # of the base, but for themselves
    query_neighbors: np.ndarray  # of the queries
    radii: np.ndarray  # of the base for KS; 1 where there are too few neighbours
    realism_radii: np.ndarray
    balls: BallMembership
    open_radii: np.ndarray  # next below
    open_balls: BallMembership


def find_balls(
    engine: Any, queries: Any, centers: Any, radii: np.ndarray, **options: Any
) -> BallMembership:
    """Find which balls contain which queries, where the queries have no balls."""
    nothing = np.full((len(queries), radii.shape[1]), -1.0)
    membership: BallMembership = engine.balls_both_directions(
        centers, queries, radii, nothing, **options
    )[0]
    return membership


@cache
def cases(name: str) -> tuple[Case, Case]:
    """Solve the generated among the real of a world, and the real among the generated."""
    real, generated = WORLDS[name](np.random.default_rng(7))
    return solve_case(generated, real), solve_case(real, generated)


def solve_case(queries: np.ndarray, base: np.ndarray) -> Case:
    exact = ExactSearch()
    base_neighbors = exact.nearest(base, base, max(KS))
    radii = np.where(np.isinf(base_neighbors), 1.0, base_neighbors)[:, [k - 1 for k in KS]]
    realism_radii = radii_up_to_median(radii[:, 0])
    open_radii = np.nextafter(radii, -1)
    queries.flags.writeable = base.flags.writeable = False
    return Case(
        queries=queries,
        base=base,
        base_neighbors=base_neighbors,
        query_neighbors=exact.nearest(queries, base, max(KS)),
        radii=radii,
        realism_radii=realism_radii,
        balls=exact.balls(queries, base, radii, realism_radii=realism_radii),
        open_radii=open_radii,
        open_balls=exact.balls(queries, base, open_radii),
    )
