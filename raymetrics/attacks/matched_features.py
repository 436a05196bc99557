"""What is matched: features as they are, probabilities, or which classes come first.

Kynkaanniemi et al. 2023, sections 3.2 and 3.3. Top-N: 1.0 at the N classes of the largest logits,
else 0. Middle-N, their control: at the N in the middle of that order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

import numpy as np

from raymetrics.errors import NotEnoughData, RaymetricsError, ShardError

MATCH_CHOICES = "pre_logits, logits, probabilities, top_n:N or middle_n:N, as in top_n:5"
_INDICATOR_KINDS = ("top_n", "middle_n")


@dataclass(frozen=True)
class MatchTarget:
    """What is matched, and how it is made from a column of features."""

    kind: str  # pre_logits, logits, probabilities, top_n or middle_n
    n: int = 0  # classes marked per sample; 0 for those that mark none

    @classmethod
    def parse(cls, text: str) -> Self:
        """Of "top_n:5". RaymetricsError, with the choices, for anything else."""
        counted = re.fullmatch(r"(top_n|middle_n):([1-9][0-9]*)", text)
        if counted:
            return cls(counted[1], int(counted[2]))
        if text not in ("pre_logits", "logits", "probabilities"):
            raise RaymetricsError(f"cannot match {text!r}; choose from {MATCH_CHOICES}")
        return cls(text)

    def __str__(self) -> str:
        return f"{self.kind}:{self.n}" if self.n else self.kind

    @property
    def output(self) -> str:
        """The extractor's output that it is made from."""
        return "pre_logits" if self.kind == "pre_logits" else "logits"

    @property
    def learning_rate(self) -> float:
        """The paper's, for gradient descent (appendix D)."""
        return 10.0 if self.kind == "pre_logits" else 5.0

    @property
    def is_indicator(self) -> bool:
        """It marks classes by 0 and 1, and leaves out those that one side never has."""
        return self.kind in _INDICATOR_KINDS

    def transform(self, values: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
        """Make what is matched of a block of the output, [n, d]: features as they are, in their own
        type, as float32 would round those of a large mean; the others float32.

        values: real [n, dimension]; kept: bool [dimension], of `kept`, or all. ShardError for
        more classes than half of them: beyond, 0 and 1 only change places.
        """
        if self.kind == "probabilities":
            features = _softmax(values).astype(np.float32)
        elif self.is_indicator:
            features = _mark_classes(values, self.marked_ranks(values.shape[1]))
        else:
            features = values
        return features if columns is None else features[:, columns]

    def marked_ranks(self, classes: int) -> slice:
        """Which of the classes, in order of falling logits, are marked."""
        if self.n > classes // 2:
            raise ShardError(
                f"{self} marks more than half of {classes} classes; N is {classes // 2} at most"
            )
        first = 0 if self.kind == "top_n" else classes // 2 - self.n // 2
        return slice(first, first + self.n)


def _softmax(logits: np.ndarray) -> np.ndarray:
    """The softmax of logits, float64 [n, classes]."""
    scores = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(scores / scores.sum(axis=1, keepdims=True))


def _mark_classes(logits: np.ndarray, ranks: slice) -> np.ndarray:
    """1.0 at the classes with these places, largest logit first, float32 [n, classes].

    Of equal logits the first class comes first.
    """
    order = np.argsort(-logits, axis=1, kind="stable")
    marks = np.zeros(logits.shape, np.float32)
    np.put_along_axis(marks, order[:, ranks], 1.0, axis=1)
    return marks


@dataclass(frozen=True, eq=False)
class NonzeroColumns:
    """In which columns anything but 0 occurs."""

    columns: np.ndarray  # bool [d]

    @classmethod
    def empty(cls, dimension: int) -> Self:
        """Of no samples of this dimension."""
        return cls(np.zeros(dimension, bool))

    @classmethod
    def from_samples(cls, features: np.ndarray) -> Self:
        """made: real [n, d], of `Match.of`."""
        return cls((features != 0).any(axis=0))

    def merge(self, addend: Self) -> Self:
        """Of both. ValueError if their dimensions differ."""
        if self.columns.shape != addend.columns.shape:
            raise ValueError(f"{self.columns.size} and {addend.columns.size} columns")
        return type(self)(self.columns | addend.columns)


def shared_columns(
    match: MatchTarget, *, real: NonzeroColumns, generated: NonzeroColumns
) -> np.ndarray:
    """Which columns are matched, bool [dimension]: those that occur on both sides.

    Of marked classes only, as in the official program. Other columns stay whatever they hold,
    so that the distance is the Frechet distance of the whole output. NotEnoughData where no
    class occurs on both sides.
    """
    shared = real.columns & generated.columns
    if not match.is_indicator:
        return np.ones_like(shared)
    if not shared.any():
        raise NotEnoughData(
            f"no class that {match} marks occurs on both sides: of {shared.size}, real samples have "
            f"{real.columns.sum()} and generated ones {generated.columns.sum()} others"
        )
    return shared


def match_arrays(
    match: MatchTarget, *, real: np.ndarray, generated: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What is matched of both sides, [n, d], [m, d], see `Match.of`; for arrays in memory.

    real, generated: the output `match.output`, real [n, dimension], [m, dimension].
    """
    a, b = match.transform(real), match.transform(generated)
    if not match.is_indicator:
        return a, b
    shared = shared_columns(
        match, real=NonzeroColumns.from_samples(a), generated=NonzeroColumns.from_samples(b)
    )
    return a[:, shared], b[:, shared]
