"""Partitioned candidates: the objective of sampling weights over features that lie in shards.

An evaluation is two passes over all candidates. Slices of the weights go to the workers and
weighted moments come back; then the transport goes to the workers and gradients come back. A
partition is a fixed group of shards that depends on the set, and on whether GPUs compute; it is
computed in one thread or on one GPU, and partitions merge in the order of their sample ids. So the
result has the same bits whichever worker holds a partition.

On GPUs with a fast float64 (see `statistics.processors.has_fast_float64`) all is computed in it;
docs/design/scaling.md counts what an evaluation takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
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
# On GPUs, which multiply many rows in the time in which a matrix travels.
_DEVICE_PARTITIONS = 8
_DEVICE_PARTITION_BYTES = 1_000_000_000
MIN_PARTITION_ROWS = 4096
_WORKING_COPIES = 8  # of a block and of a covariance, in float64, that a GPU needs beside features

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
        cls,
        view: View,
        column: str,
        transform: FeatureTransform,
        goal: TargetGaussian,
        *,
        on_device: bool = False,
    ) -> PartitionedFeatures:
        """Cut all samples of a view into partitions; on_device: into those for GPUs."""
        partitions = partition_shards(view, view.shards.columns[column].dimension, on_device)
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


def partition_shards(
    view: View, dimension: int, on_device: bool = False
) -> tuple[tuple[range, ...], ...]:
    """Group the shards of a view, in order, by their sizes alone; on_device: for GPUs."""
    count, size = (
        (_DEVICE_PARTITIONS, _DEVICE_PARTITION_BYTES)
        if on_device
        else (_PARTITIONS, _PARTITION_BYTES)
    )
    max_rows = min(max(MIN_PARTITION_ROWS, -(-len(view) // count)), size // (4 * dimension))
    return tuple(map(tuple, view.group_shards(max_rows)))


class PartitionWorker:
    """Computes what is needed of partitions: in the threads of the driver, or in an actor."""

    def __init__(self, candidates: PartitionedFeatures, keep: bool, device: Any = None) -> None:
        """keep: hold the features of a partition after they were read once; on a GPU, as many
        partitions as it has memory for. device: of torch, for tensors instead of arrays."""
        self.candidates, self.keep, self.device = candidates, keep, device
        self.cache: dict[int, Any] = {}

    def features(self, index: int) -> Any:
        """Return a partition, centered float32 [n, d]: an array, or a tensor on the device."""
        matrix = self.cache.get(index)
        if matrix is None:
            matrix = self.candidates.read(index)
            if self.device is not None:
                import torch

                matrix = torch.from_numpy(matrix).to(self.device)
            if self.keep and _leaves_working_memory(matrix):
                self.cache[index] = matrix
        return matrix

    @cached_property
    def goal(self) -> TargetGaussian:
        """The target, on the device."""
        if self.device is None:
            return self.candidates.goal
        import torch

        return self.candidates.goal.on_device_of(torch.empty(0, device=self.device))

    def transport(self, moments: Iterable[WeightedMoments]) -> OptimalTransport:
        """Merge the moments of all partitions, in order, and compute the map, on the device."""
        parts = (part.cast_like(self.goal.factor) for part in moments)
        return compute_transport(self.goal, reduce(WeightedMoments.merge, parts)).to_numpy()

    def norms(self, index: int, _: None) -> np.ndarray:
        """Return how far the candidates of a partition lie from the real mean, float64 [n]."""
        return weights_objective.row_norms(self.features(index))

    def moments(self, index: int, weights: np.ndarray) -> WeightedMoments:
        """Compute the moments of a partition with its weights, float64 [n]."""
        return weights_objective.weighted_moments(self.features(index), weights).to_numpy()

    def exact_moments(self, index: int, weights: np.ndarray) -> WeightedMoments:
        """Compute the moments of a partition from products in float64."""
        features = self.features(index)
        return weights_objective.weighted_moments(features, weights, exact=True).to_numpy()

    def gradient(self, index: int, optimal_transport: OptimalTransport) -> np.ndarray:
        """Compute the gradient of the objective by the weights of a partition, float64 [n]."""
        return weights_objective.objective_gradient(self.features(index), optimal_transport)


def _leaves_working_memory(matrix: Any) -> bool:
    """Return whether the GPU that holds a partition can still compute; True on the CPU."""
    if isinstance(matrix, np.ndarray) or matrix.device.type != "cuda":
        return True
    import torch

    dimension = matrix.shape[1]
    needed = _WORKING_COPIES * 8 * dimension * (weights_objective.BLOCK + dimension)
    return torch.cuda.mem_get_info(matrix.device)[0] >= needed


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

    def transport(
        self, method: PartitionMethod[np.ndarray, WeightedMoments], weights: Sequence[np.ndarray]
    ) -> OptimalTransport:
        """Compute the map from the moments that a method returns, where a matrix is cheapest.

        weights: for each partition, float64 [n].
        """


class PartitionedEvaluator:
    """Evaluate partitioned candidates; see `attacks.weights_objective.ObjectiveEvaluator`."""

    def __init__(self, slices: Sequence[slice], pool: PartitionPool) -> None:
        self.slices, self.pool = slices, pool
        self.norms = np.concatenate([*self._map_shared(PartitionWorker.norms, None)])

    def __call__(self, weights: np.ndarray) -> Evaluation:
        transport = self._transport(PartitionWorker.moments, weights)
        gradients = self._map_shared(PartitionWorker.gradient, transport)
        return Evaluation(transport.distance, np.concatenate([*gradients]))

    def exact_distance(self, weights: np.ndarray) -> float:
        """Compute the distance in float64; rounding errors below 0 become 0."""
        return max(self._transport(PartitionWorker.exact_moments, weights).distance, 0.0)

    def _map_shared(self, method: PartitionMethod[A, R], argument: A) -> Iterator[R]:
        """Yield what a method returns for every partition with the same argument."""
        return self.pool.map_partitions(method, [argument] * len(self.slices), shared=True)

    def _transport(
        self, method: PartitionMethod[np.ndarray, WeightedMoments], weights: np.ndarray
    ) -> OptimalTransport:
        """Compute the map of all candidates. Weights are scaled to about 1: float32 ends at
        1e-38."""
        scaled = weights * len(weights)
        return self.pool.transport(method, [scaled[rows] for rows in self.slices])
