"""Weights of candidates as their file says, and sets drawn by them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from raymetrics.attacks import Step
from raymetrics.attacks.weighted_sampling import draw_by_weight
from raymetrics.errors import NotEnoughData
from raymetrics.shards.schema import SAMPLE_ID
from raymetrics.shards.selection_files import (
    WEIGHT,
    SelectionFile,
    selection_metadata,
    split_path,
    write_selection,
)
from raymetrics.shards.store import Store
from raymetrics.shards.view import View

WEIGHTS_FILE = "weights.parquet"
DRAWN_FILE = "drawn.parquet"


@dataclass(frozen=True, eq=False)
class SampleWeights:
    """Weights of the samples of a shard set."""

    path: str
    sample_ids: np.ndarray  # int64 [n], ascending
    weights: np.ndarray  # float64 [n], with a sum of 1
    trace: tuple[Step, ...]  # from equal weights to the last ones
    converged: bool  # or the evaluations ran out
    metadata: Mapping[str, Any]  # all that the file says of how they were made

    @classmethod
    def from_file(cls, choice: SelectionFile) -> SampleWeights:
        """Read the contents of a file that `reweight_shards` wrote."""
        metadata = choice.metadata
        trace = tuple(
            Step(evaluations, distance, size, math.nan if gap is None else gap)
            for evaluations, distance, size, gap in metadata["trace"]
        )
        weights = choice.columns[WEIGHT]
        return cls(choice.path, choice.sample_ids, weights, trace, metadata["converged"], metadata)

    @property
    def distance(self) -> float:
        """The Frechet distance of the weighted candidates to the real samples."""
        return float(self.metadata["distance"])

    @property
    def effective_sample_size(self) -> float:
        """1 / sum p_i^2."""
        return float(self.metadata["effective_sample_size"])

    def draw_ids(self, n: int, seed: int, scheme: str) -> np.ndarray:
        """Draw n sample ids by their weights: int64, ascending, with repetitions."""
        return self.sample_ids[draw_by_weight(self.weights, n, seed, scheme)]

    @property
    def digest(self) -> str:
        """SHA-256 of the ids and their weights, in hexadecimal digits."""
        return hashlib.sha256(self.sample_ids.tobytes() + self.weights.tobytes()).hexdigest()


def require_draw_size(*, real: View, generated: View, n: int | None = None) -> int:
    """Return n, or as many as there are real samples.

    NotEnoughData for fewer than the 2 that a covariance takes, and if there are fewer candidates.
    """
    candidate_count, real_count = len(generated), len(real)
    count = real_count if n is None else n
    if not 2 <= count <= candidate_count:
        raise NotEnoughData(
            f"draws of {count} samples from {candidate_count} candidates in "
            f"{generated.shards.uri}; ask for 2 to {candidate_count} (--n), or extract more "
            "candidates"
        )
    return count


def write_drawn(
    sample_weights: SampleWeights, view: View, n: int, scheme: str, seed: int = 0
) -> str:
    """Write a draw of n samples to drawn.parquet beside its weights, and return its path."""
    folder, _ = split_path(sample_weights.path)
    path = f"{Store(folder).uri}/{DRAWN_FILE}"
    metadata = {
        "scheme": scheme,
        "seed": seed,
        "n": n,
        "request": sample_weights.metadata["request"],
    }
    metadata |= {name: sample_weights.metadata[name] for name in ("match", "extractor", "distance")}
    metadata["select"] = sample_weights.metadata.get("select", "last")
    metadata["weights"] = sample_weights.digest
    write_selection(
        path,
        {SAMPLE_ID: sample_weights.draw_ids(n, seed, scheme)},
        selection_metadata("drawn", view, **metadata),
    )
    return path
