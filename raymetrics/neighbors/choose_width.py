"""Choose how much of the features a tile multiplies first, by what earlier tiles have cost.

A tile of whole features decides nearly all pairs at once. One of sketches costs a part of it, but
leaves candidates that are multiplied one by one: few where few directions tell features apart,
nearly all where none do. How many depends on the features, and the cost on the machine; so tiles
try each width, in seconds of the core that computes them, and their results are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

import numpy as np

FULL = 0
_TRY_AGAIN = 24  # tiles after which the second best width is tried again
_NEAR = 1.5  # times the cost of the best width; a width above it is not tried again
_MEMORY = 0.6  # of earlier tiles in a cost


class WidthChooser:
    """Chooses the width of every tile of a search; safe for threads."""

    def __init__(self, widths: Sequence[int]) -> None:
        self.lock = Lock()
        self.widths, self.untried, self.tiles = tuple(widths), list(widths), 0
        self.costs: dict[int, float] = {}  # seconds of a pair; infinite until they are known

    def choose(self) -> int:
        """Return the width for the next tile."""
        with self.lock:
            self.tiles += 1
            if self.untried:
                self.costs[self.untried[0]] = np.inf
                return self.untried.pop(0)
            best, *others = sorted(self.costs, key=self.costs.__getitem__)
            is_near = others and self.costs[others[0]] < _NEAR * self.costs[best]
            return others[0] if is_near and self.tiles % _TRY_AGAIN == 0 else best

    def record(self, width: int, seconds: float, pairs: int) -> None:
        """Record what a tile of so many pairs has cost, also if its width was not chosen."""
        with self.lock:
            if width not in self.widths:
                return
            if width in self.untried:
                self.untried.remove(width)
            cost, earlier = seconds / pairs, self.costs.get(width, np.inf)
            is_first = not np.isfinite(earlier)
            self.costs[width] = cost if is_first else _MEMORY * earlier + (1 - _MEMORY) * cost
