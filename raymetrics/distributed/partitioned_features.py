"""Candidates in parts: the objective of sampling weights over features that lie in shards.

An evaluation is two passes over all candidates. Slices of the weights go down and weighted moments
come up; the transport goes down and slopes come up. A part is a fixed group of shards that depends
on the set alone, it is computed in one thread, and parts merge in the order of their sample ids:
so whoever holds a part, the result has the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol

import numpy as np

from raymetrics.attacks import weights_objective
from raymetrics.attacks.weights_objective import (
    Evaluation,
    OptimalTransport,
    TargetGaussian,
    compute_transport,
)
from raymetrics.shards.shard_set import open_shards
from raymetrics.shards.view import Selection, View
from raymetrics.statistics import WeightedMoments

_PARTITIONS = 32  # about so many, that few matrices travel; more only if they would be too large
_PARTITION_BYTES = 256_000_000
MIN_PARTITION_ROWS = 4096

FeatureTransform = Callable[
    [np.ndarray], np.ndarray
]  # a column's values to the features that count


@dataclass(frozen=True, eq=False)
class PartitionedFeatures:
    """The features of a view in parts, for anyone to read."""

    uri: str
    samples: Selection | tuple[range, ...]
    column: str
    transform: FeatureTransform
    goal: TargetGaussian
    partitions: Sequence[Sequence[range]]  # the shards of each
    rows: Sequence[int]  # of each

    @classmethod
    def from_view(
        cls, view: View, column: str, transform: FeatureTransform, goal: TargetGaussian
    ) -> PartitionedFeatures:
        """All samples of a view, cut into parts."""
        partitions = partition_shards(view, view.shards.columns[column].dimension)
        rows = [sum(map(view.count, partition)) for partition in partitions]
        uri = view.shards.store.absolute_uri
        return cls(uri, view.samples, column, transform, goal, partitions, rows)

    @property
    def slices(self) -> list[slice]:
        """The rows of the view that every part is."""
        stops = np.cumsum(self.rows).tolist()
        return [slice(stop - rows, stop) for stop, rows in zip(stops, self.rows, strict=True)]

    def read(self, index: int) -> np.ndarray:
        """The features of a part, centred float32 [n, d]."""
        view = View(open_shards(self.uri, self.partitions[index]), self.samples)
        return self.goal.center_features(
            self.transform(view.read(self.column, self.partitions[index]))
        )


def partition_shards(view: View, dimension: int) -> tuple[tuple[range, ...], ...]:
    """The shards of a view in order, grouped by nothing but their sizes."""
    max_rows = min(
        max(MIN_PARTITION_ROWS, -(-len(view) // _PARTITIONS)), _PARTITION_BYTES // (4 * dimension)
    )
    groups: list[list[range]] = []
    rows = 0
    for shard in view.present:
        if not groups or rows + view.count(shard) > max_rows:
            groups.append([])
            rows = 0
        groups[-1].append(shard)
        rows += view.count(shard)
    return tuple(map(tuple, groups))


class PartitionWorker:
    """What is computed of parts; by a thread of the driver, or in an actor."""

    def __init__(
        self, candidates: PartitionedFeatures, keep: bool, device: str | None = None
    ) -> None:
        self.candidates, self.keep, self.device = candidates, keep, device
        self.cache: dict[int, Any] = {}

    def features(self, index: int) -> Any:
        """A part, centred float32 [n, d]: an array, or a tensor where there is a device."""
        matrix = self.cache.get(index)
        if matrix is None:
            matrix = self.candidates.read(index)
            if self.device:
                import torch

                matrix = torch.from_numpy(matrix).to(self.device)
            if self.keep:
                self.cache[index] = matrix
        return matrix

    def norms(self, index: int, _: None) -> np.ndarray:
        """float64 [n]: how far the candidates of a part lie from the real mean."""
        return weights_objective.row_norms(self.features(index))

    def moments(self, index: int, weights: np.ndarray) -> WeightedMoments:
        """Of a part with its weights, float64 [n]."""
        return weights_objective.weighted_moments(self.features(index), weights)

    def exact_moments(self, index: int, weights: np.ndarray) -> WeightedMoments:
        """Sum up the same with products in float64."""
        return weights_objective.weighted_moments(self.features(index), weights, exact=True)

    def gradient(self, index: int, optimal_transport: OptimalTransport) -> np.ndarray:
        """Of the objective by the weights of a part, float64 [n]."""
        return weights_objective.objective_gradient(self.features(index), optimal_transport)


class PartitionPool(Protocol):
    """Whoever holds the parts."""

    def map_partitions(
        self,
        method: str,
        *,
        partition_arguments: Sequence[Any] | None = None,
        shared_argument: Any = None,
    ) -> Iterator[Any]:
        """What the method `what` of a holder gives of every part, in order; with the part's own
        argument, or with one for all."""


class PartitionedEvaluator:
    """An evaluator of candidates in parts; see `raymetrics.attacks.weights_objective.Evaluator`."""

    def __init__(self, goal: TargetGaussian, slices: Sequence[slice], pool: PartitionPool) -> None:
        self.goal, self.slices, self.pool = goal, slices, pool
        self.norms = np.concatenate([*pool.map_partitions("norms")])

    def __call__(self, weights: np.ndarray) -> Evaluation:
        optimal_transport = compute_transport(self.goal, self.moments(weights))
        return Evaluation(
            optimal_transport.distance,
            np.concatenate(
                [*self.pool.map_partitions("gradient", shared_argument=optimal_transport)]
            ),
        )

    def exact_distance(self, weights: np.ndarray) -> float:
        """Compute the distance in float64."""
        return weights_objective.exact_distance(self.goal, self.moments(weights, "exact_moments"))

    def moments(self, weights: np.ndarray, method: str = "moments") -> WeightedMoments:
        """Of all candidates. The weights are scaled to about 1: float32 ends at 1e-38."""
        scaled = weights * len(weights)
        weight_slices = [scaled[rows] for rows in self.slices]
        return reduce(
            WeightedMoments.merge,
            self.pool.map_partitions(method, partition_arguments=weight_slices),
        )
