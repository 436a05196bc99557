"""The features that an attack matches: an output as it is, probabilities, or marked classes.

Kynkaanniemi et al. 2023, sections 3.2 and 3.3. Top-N: 1.0 at the N classes with the largest logits,
else 0. Middle-N, the control: 1.0 at the N classes in the middle of that order.
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
    """The kind of features to match, and the transform from an extractor's output to them."""

    kind: str  # pre_logits, logits, probabilities, top_n or middle_n
    n: int = 0  # classes marked per sample; 0 for the other kinds

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse text such as "top_n:5". Raise RaymetricsError, with the choices, for other text."""
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
        """The name of the extractor's output that `transform` takes."""
        return "pre_logits" if self.kind == "pre_logits" else "logits"

    @property
    def learning_rate(self) -> float:
        """The paper's learning rate for gradient descent (appendix D)."""
        return 10.0 if self.kind == "pre_logits" else 5.0

    @property
    def is_indicator(self) -> bool:
        """Whether the features mark classes by 0 and 1, without classes that one side never has."""
        return self.kind in _INDICATOR_KINDS

    def transform(self, values: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
        """Transform a block of the output to the features to match, [n, d].

        Pre-logits and logits keep their type, because float32 would round features with a large
        mean; other features are float32. values: real [n, dimension]; columns: bool [dimension],
        from `shared_columns`, or None for all. Raise ShardError if n is more than half of the
        classes: beyond that, 0 and 1 only change places.
        """
        if self.kind == "probabilities":
            features = _softmax(values).astype(np.float32)
        elif self.is_indicator:
            features = _mark_classes(values, self.marked_ranks(values.shape[1]))
        else:
            features = values
        return features if columns is None else features[:, columns]

    def marked_ranks(self, classes: int) -> slice:
        """Return the ranks of the marked classes, by falling logits.

        Raise ShardError if n is more than half of the classes.
        """
        if self.n > classes // 2:
            raise ShardError(
                f"{self} marks more than half of {classes} classes; N is {classes // 2} at most"
            )
        first = 0 if self.kind == "top_n" else classes // 2 - self.n // 2
        return slice(first, first + self.n)


def _softmax(logits: np.ndarray) -> np.ndarray:
    """Compute the softmax of logits, float64 [n, classes]."""
    scores = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(scores / scores.sum(axis=1, keepdims=True))


def _mark_classes(logits: np.ndarray, ranks: slice) -> np.ndarray:
    """Set 1.0 at the classes with these ranks, largest logit first; float32 [n, classes].

    Of equal logits the first class comes first.
    """
    order = np.argsort(-logits, axis=1, kind="stable")
    marks = np.zeros(logits.shape, np.float32)
    np.put_along_axis(marks, order[:, ranks], 1.0, axis=1)
    return marks


@dataclass(frozen=True, eq=False)
class NonzeroColumns:
    """The columns in which any value is not 0."""

    columns: np.ndarray  # bool [d]

    @classmethod
    def empty(cls, dimension: int) -> Self:
        """Return the record of no samples with this dimension."""
        return cls(np.zeros(dimension, bool))

    @classmethod
    def from_samples(cls, features: np.ndarray) -> Self:
        """Record the columns of features, real [n, d], from `MatchTarget.transform`."""
        return cls((features != 0).any(axis=0))

    def merge(self, addend: Self) -> Self:
        """Unite two records. Raise ValueError if the dimensions differ."""
        if self.columns.shape != addend.columns.shape:
            raise ValueError(f"{self.columns.size} and {addend.columns.size} columns")
        return type(self)(self.columns | addend.columns)


def shared_columns(
    match: MatchTarget, *, real: NonzeroColumns, generated: NonzeroColumns
) -> np.ndarray:
    """Return which columns are matched, bool [dimension].

    For marked classes: the columns that are not 0 on both sides, as in the official program. All
    columns of other features are matched whatever they hold, so that the distance is the Frechet
    distance of the whole output. Raise NotEnoughData if no marked class occurs on both sides.
    """
    shared = real.columns & generated.columns
    if not match.is_indicator:
        return np.ones_like(shared)
    if not shared.any():
        raise NotEnoughData(
            f"no class that {match} marks occurs on both sides: of {shared.size}, real samples "
            f"have {real.columns.sum()} and generated ones {generated.columns.sum()} others"
        )
    return shared


def match_arrays(
    match: MatchTarget, *, real: np.ndarray, generated: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Transform arrays of both sides to the features to match, [n, d] and [m, d].

    real, generated: the output `match.output`, real [n, dimension] and [m, dimension]. Errors as in
    `MatchTarget.transform` and `shared_columns`.
    """
    a, b = match.transform(real), match.transform(generated)
    if not match.is_indicator:
        return a, b
    shared = shared_columns(
        match, real=NonzeroColumns.from_samples(a), generated=NonzeroColumns.from_samples(b)
    )
    return a[:, shared], b[:, shared]
