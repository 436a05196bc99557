"""How far a number would move with other samples: its errors by side, and intervals from them.

The errors of a side are independent parts whose squares add up to the variance that the sampling
of that side gives the number. They come from the influences of single samples (the infinitesimal
jackknife; Jaeckel 1972, Efron 1982, chapter 6), or from the numbers without a group of samples
each (the delete-a-group jackknife; Kott 2001, Eq. 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from scipy import stats

INFLUENCES, GROUPS = "influences", "groups"  # how errors are found
LEVEL = 0.95
GROUP_COUNT = 20  # groups of a side; their errors have one degree of freedom less
MIN_SAMPLES = 2 * GROUP_COUNT  # of a side


@dataclass(frozen=True, eq=False)
class SamplingErrors:
    """The errors that the sampling of one side gives a number."""

    ids: np.ndarray  # int64 [n]: of the samples of the side
    parts: np.ndarray  # float64 [n] of the samples, or [groups]
    method: str  # INFLUENCES or GROUPS

    @classmethod
    def from_influences(cls, ids: np.ndarray, influences: np.ndarray) -> Self:
        """Make the errors of influences, float64 [n]: n times what a sample adds to the number.

        A sample that was drawn several times is one part.
        """
        count = len(influences)
        parts = (influences - influences.mean()) / np.sqrt(count * (count - 1))
        unique_ids, rows = np.unique(ids, return_inverse=True)
        return cls(unique_ids, np.bincount(rows, parts), INFLUENCES)

    @classmethod
    def from_groups(cls, ids: np.ndarray, without_groups: Sequence[float]) -> Self:
        """Make the errors of the numbers without each group."""
        numbers = np.asarray(without_groups, np.float64)
        scale = np.sqrt((len(numbers) - 1) / len(numbers))
        return cls(ids, (numbers - numbers.mean()) * scale, GROUPS)

    @property
    def variance(self) -> float:
        """The variance that the sampling of the side gives the number."""
        return float(self.parts @ self.parts)

    def is_paired_with(self, other: SamplingErrors) -> bool:
        """Return whether both are parts of the same samples, by their ids."""
        same_parts = self.method == other.method and len(self.parts) == len(other.parts)
        return same_parts and np.array_equal(self.ids, other.ids)

    def subtract(self, other: SamplingErrors) -> list[SamplingErrors]:
        """Return the errors of the difference of two numbers: one of pairs, or two independent."""
        if self.is_paired_with(other):
            return [SamplingErrors(self.ids, self.parts - other.parts, self.method)]
        return [self, other]


class StandardError(NamedTuple):
    """A standard error with its degrees of freedom."""

    value: float
    degrees_of_freedom: float

    @classmethod
    def from_errors(cls, errors: Sequence[SamplingErrors]) -> Self:
        """Add independent errors; degrees of freedom by Welch (1947) and Satterthwaite (1946)."""
        variances = np.array([part.variance for part in errors])
        free = np.array([len(part.parts) - 1 for part in errors])
        total = float(variances.sum())
        shares = variances / total if total else np.ones(len(errors))
        return cls(total**0.5, float(1 / (shares**2 / free).sum()))

    def half_width(self, level: float = LEVEL) -> float:
        """Return half the width of the interval of Student's t."""
        return float(self.value * stats.t.ppf((1 + level) / 2, self.degrees_of_freedom))

    def p_value(self, difference: float) -> float:
        """Return the probability of a difference as large if the true one is 0, on two sides."""
        if not self.value:
            return float(difference == 0)
        return float(2 * stats.t.sf(abs(difference) / self.value, self.degrees_of_freedom))


@dataclass(frozen=True)
class Interval:
    """An interval that covers the mean of a number over other samples of the same counts."""

    low: float
    high: float
    level: float
    standard_error: float
    method: str  # INFLUENCES or GROUPS
    groups: int | None  # of a side; None for influences
    varies: tuple[str, ...]  # the sides whose sampling it covers


def make_interval(
    value: float,
    errors: Mapping[str, SamplingErrors],
    bounds: tuple[float, float] = (-np.inf, np.inf),
    level: float = LEVEL,
) -> Interval | None:
    """Make the interval of a number from its errors by side, within the bounds of the number.

    None where no sample moves the number: then nothing is known of its error.
    """
    parts = list(errors.values())
    if not parts or not any(part.variance for part in parts):
        return None
    error = StandardError.from_errors(parts)
    half_width = error.half_width(level)
    groups = len(parts[0].parts) if parts[0].method == GROUPS else None
    return Interval(
        low=max(bounds[0], value - half_width),
        high=min(bounds[1], value + half_width),
        level=level,
        standard_error=error.value,
        method=parts[0].method,
        groups=groups,
        varies=tuple(errors),
    )


def samples_for_half_width(
    wanted: float, half_width: float, fixed_half_width: float, count: int
) -> int | None:
    """Return how many generated samples make an interval this narrow, by 1 / sqrt(n).

    half_width: of `count` generated samples; fixed_half_width: the part of it that the real side
    gives, which stays. None where that part alone is wider.
    """
    room = wanted**2 - fixed_half_width**2
    if room <= 0:
        return None
    return int(np.ceil(count * (half_width**2 - fixed_half_width**2) / room))
