"""Partitioned candidates: the objective of sampling weights over features that lie in shards.

An evaluation is two passes over all candidates. Slices of the weights go to the workers and
weighted moments come back; then the transport goes to the workers and gradients come back. A
partition is a fixed group of shards that depends on the set alone; it is computed in one thread,
and partitions merge in the order of their sample ids. So the result has the same bits whichever
worker holds a partition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol, TypeVar

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

_PARTITIONS = 32  # few, because each sends a matrix; more only if they would be too large
_PARTITION_BYTES = 256_000_000
MIN_PARTITION_ROWS = 4096

A = TypeVar("A")  # the argument of a partition
R = TypeVar("R")  # the result of a partition
# From the values of a column to the features whose distance counts.
FeatureTransform = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class PartitionedFeatures:
    """The features of a view in partitions, which any process can read."""

    uri: str
    samples: Selection | tuple[range, ...]
    column: str
    transform: FeatureTransform
    goal: TargetGaussian
    partitions: Sequence[Sequence[range]]  # the shards of each partition
    rows: Sequence[int]  # of each partition

    @classmethod
    def from_view(
        cls, view: View, column: str, transform: FeatureTransform, goal: TargetGaussian
    ) -> PartitionedFeatures:
        """Cut all samples of a view into partitions."""
        partitions = partition_shards(view, view.shards.columns[column].dimension)
        rows = [sum(map(view.count, partition)) for partition in partitions]
        uri = view.shards.store.absolute_uri
        return cls(uri, view.samples, column, transform, goal, partitions, rows)

    @property
    def slices(self) -> list[slice]:
        """The rows of the view that each partition holds."""
        stops = np.cumsum(self.rows).tolist()
        return [slice(stop - rows, stop) for stop, rows in zip(stops, self.rows, strict=True)]

    def read(self, index: int) -> np.ndarray:
        """Return the features of a partition, centered float32 [n, d]."""
        view = View(open_shards(self.uri, self.partitions[index]), self.samples)
        return self.goal.center_features(
            self.transform(view.read(self.column, self.partitions[index]))
        )


def partition_shards(view: View, dimension: int) -> tuple[tuple[range, ...], ...]:
    """Group the shards of a view, in order, by their sizes alone."""
    max_rows = min(
        max(MIN_PARTITION_ROWS, -(-len(view) // _PARTITIONS)), _PARTITION_BYTES // (4 * dimension)
    )
    return tuple(map(tuple, view.group_shards(max_rows)))


class PartitionWorker:
    """Computes what is needed of partitions: in the threads of the driver, or in an actor."""

    def __init__(
        self, candidates: PartitionedFeatures, keep: bool, device: str | None = None
    ) -> None:
        """keep: hold the features of a partition in memory after they were read once."""
        self.candidates, self.keep, self.device = candidates, keep, device
        self.cache: dict[int, Any] = {}

    def features(self, index: int) -> Any:
        """Return a partition, centered float32 [n, d]: an array, or a tensor on the device."""
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
        """Return how far the candidates of a partition lie from the real mean, float64 [n]."""
        return weights_objective.row_norms(self.features(index))

    def moments(self, index: int, weights: np.ndarray) -> WeightedMoments:
        """Compute the moments of a partition with its weights, float64 [n]."""
        return weights_objective.weighted_moments(self.features(index), weights)

    def exact_moments(self, index: int, weights: np.ndarray) -> WeightedMoments:
        """Compute the moments of a partition from products in float64."""
        return weights_objective.weighted_moments(self.features(index), weights, exact=True)

    def gradient(self, index: int, optimal_transport: OptimalTransport) -> np.ndarray:
        """Compute the gradient of the objective by the weights of a partition, float64 [n]."""
        return weights_objective.objective_gradient(self.features(index), optimal_transport)


PartitionMethod = Callable[[PartitionWorker, int, A], R]  # worker, partition and its argument


class PartitionPool(Protocol):
    """The workers that compute partitions."""

    partition_count: int

    def map_partitions(
        self, method: PartitionMethod[A, R], arguments: Sequence[A], shared: bool = False
    ) -> Iterator[R]:
        """Yield what a method of `PartitionWorker` returns for every partition, in order.

        arguments: one for each partition. shared: all of them are the same object, which is then
        sent to every worker once.
        """


class PartitionedEvaluator:
    """Evaluate partitioned candidates; see `attacks.weights_objective.ObjectiveEvaluator`."""

    def __init__(self, goal: TargetGaussian, slices: Sequence[slice], pool: PartitionPool) -> None:
        self.goal, self.slices, self.pool = goal, slices, pool
        self.norms = np.concatenate([*self._map_shared(PartitionWorker.norms, None)])

    def __call__(self, weights: np.ndarray) -> Evaluation:
        moments = self._moments(PartitionWorker.moments, weights)
        transport = compute_transport(self.goal, moments)
        gradients = self._map_shared(PartitionWorker.gradient, transport)
        return Evaluation(transport.distance, np.concatenate([*gradients]))

    def exact_distance(self, weights: np.ndarray) -> float:
        """Compute the distance in float64."""
        moments = self._moments(PartitionWorker.exact_moments, weights)
        return weights_objective.exact_distance(self.goal, moments)

    def _map_shared(self, method: PartitionMethod[A, R], argument: A) -> Iterator[R]:
        """Yield what a method returns for every partition with the same argument."""
        return self.pool.map_partitions(method, [argument] * len(self.slices), shared=True)

    def _moments(
        self, method: PartitionMethod[np.ndarray, WeightedMoments], weights: np.ndarray
    ) -> WeightedMoments:
        """Compute the moments of all candidates. Weights are scaled to about 1: float32 ends at
        1e-38."""
        scaled = weights * len(weights)
        weight_slices = [scaled[rows] for rows in self.slices]
        return reduce(WeightedMoments.merge, self.pool.map_partitions(method, weight_slices))
