"""Metrics as a user writes them, where workers find the module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from raymetrics.statistics import Moments


def mean_distance(real: np.ndarray, generated: np.ndarray) -> np.floating:
    """Of all rows."""
    difference = real.astype(np.float64).mean(axis=0) - generated.astype(np.float64).mean(axis=0)
    return np.linalg.norm(difference)


class MeanDistance:
    """The same of moments, to a power."""

    name = "mean distance"
    repeats_allowed = True

    def __init__(self, power: str = "1") -> None:
        self.power = float(power)

    def needs(self, side: str) -> Mapping[str, Callable[[np.ndarray, np.ndarray], Moments]]:
        return {"moments": lambda sample_ids, features: Moments.from_samples(features)}

    def compute(self, real: Mapping[str, Any], generated: Mapping[str, Any]) -> float:
        return np.linalg.norm(real["moments"].mean - generated["moments"].mean) ** self.power


class FailsOnWorkers:
    """It raises on every block."""

    def needs(self, side: str) -> Mapping[str, Callable[[np.ndarray, np.ndarray], Moments]]:
        return {"rows": lambda sample_ids, features: Moments.from_samples(features / len(self.x))}  # type: ignore[attr-defined]

    def compute(self, real: Mapping[str, Any], generated: Mapping[str, Any]) -> float:
        raise AssertionError("never called")
