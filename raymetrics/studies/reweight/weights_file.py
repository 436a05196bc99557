"""Weights of candidates as their file says, and sets drawn by them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from raymetrics.attacks import Step
from raymetrics.attacks.weighted_sampling import draw
from raymetrics.errors import NotEnoughData
from raymetrics.shards.open_view import open_view
from raymetrics.shards.schema import SAMPLE_ID
from raymetrics.shards.selection_files import WEIGHT, Choice, made_of, parts_of, write_choice
from raymetrics.shards.store import Store
from raymetrics.shards.view import View

FILE = "weights.parquet"
DRAWN = "drawn.parquet"


@dataclass(frozen=True, eq=False)
class Weighted:
    """Weights of the samples of a shard set."""

    path: str
    sample_ids: np.ndarray  # int64 [n], ascending
    weights: np.ndarray  # float64 [n], with a sum of 1
    trace: tuple[Step, ...]  # from equal weights on
    converged: bool  # or the evaluations ran out
    about: Mapping[str, Any]  # all that the file says of how they were made

    @classmethod
    def of(cls, choice: Choice) -> Weighted:
        """What a file holds that `reweight_shards` wrote."""
        about = choice.metadata
        trace = tuple(Step(*step) for step in about["trace"])
        weights = choice.columns[WEIGHT]
        return cls(choice.path, choice.sample_ids, weights, trace, about["converged"], about)

    @property
    def distance(self) -> float:
        """The Frechet distance of the weighted candidates to the real samples."""
        return self.trace[-1].distance

    @property
    def effective_sample_size(self) -> float:
        """1 / sum p_i^2."""
        return self.trace[-1].effective_sample_size

    def drawn(self, n: int, seed: int, scheme: str) -> np.ndarray:
        """n sample ids by their weights, int64, ascending, with repetitions."""
        return self.sample_ids[draw(self.weights, n, seed, scheme)]

    @property
    def digest(self) -> str:
        """SHA-256 of the ids and their weights, in hexadecimal digits."""
        return hashlib.sha256(self.sample_ids.tobytes() + self.weights.tobytes()).hexdigest()


def size_of_draws(*, real: str, generated: str, n: int | None = None) -> int:
    """n, or as many as there are real samples. NotEnoughData for fewer than the 2 that a
    covariance takes, and if there are fewer candidates."""
    candidates, of_real = len(open_view(generated)), len(open_view(real))
    count = of_real if n is None else n
    if not 2 <= count <= candidates:
        raise NotEnoughData(
            f"draws of {count} samples from {candidates} candidates in {generated}; ask for "
            f"2 to {candidates} (--n), or extract more candidates"
        )
    return count


def write_drawn(found: Weighted, view: View, n: int, scheme: str, seed: int = 0) -> str:
    """A draw of n samples as drawn.parquet beside its weights; where it is."""
    folder, _ = parts_of(found.path)
    path = f"{Store(folder).uri}/{DRAWN}"
    how = {"scheme": scheme, "seed": seed, "n": n, "request": found.about["request"]}
    how |= {name: found.about[name] for name in ("match", "extractor", "distance")}
    how["weights"] = found.digest
    write_choice(path, {SAMPLE_ID: found.drawn(n, seed, scheme)}, made_of("drawn", view, **how))
    return path
