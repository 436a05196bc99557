"""Draw candidates for the ends of paths, in the order of their ids, until enough are realistic.

Kynkaanniemi et al. 2019, section 5.1, take one million latents with R >= 1. How many samples that
takes is known afterwards only. So candidates are drawn in rounds of whole shards: a small round
first, and then as many as the share of realistic ones predicts. The rounds depend on R alone, and
are the same for any number of workers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from raymetrics import sample_ranges
from raymetrics.errors import NotEnoughData
from raymetrics.shards.view import Selection, View

_FIRST_LOOK = 4096  # candidates, from which the first prediction is made
_MAX_GROWTH = 8  # of a round, as a share of few realistic candidates may be far off


@dataclass(frozen=True)
class EndSearch:
    """How many ends are looked for, and among how many candidates at most.

    needed: ends. minimum: the least R of an end. limit: candidates. shard_rows: candidates are
    drawn in whole shards of so many. advice: how there would be more candidates.
    """

    needed: int
    minimum: float
    limit: int
    shard_rows: int
    advice: str = "look at more"

    def __post_init__(self) -> None:
        if self.limit < 2:
            raise NotEnoughData(f"max_candidates is {self.limit}; a path takes 2 ends at least")

    def count_ends(self, realism: np.ndarray) -> int:
        """Count the candidates that may be ends. realism: float64 [n]."""
        return int(np.count_nonzero(realism >= self.minimum))

    def first_count(self) -> int:
        """Return how many candidates are drawn in the first round."""
        return self._whole_shards(min(self.needed, _FIRST_LOOK))

    def predict_count(self, candidates: int, found: int) -> int | None:
        """Predict how many candidates all ends take; None if none was found so far."""
        return -(-self.needed * candidates // found) if found else None

    def next_count(self, candidates: int, found: int) -> int:
        """Return how many candidates there are after the next round."""
        largest = candidates * _MAX_GROWTH
        return self._whole_shards(min(self.predict_count(candidates, found) or largest, largest))

    def describe(self, candidates: int, found: int) -> str:
        """Describe in one line how far the search is, and how many candidates it will take."""
        share = f"{found} of {candidates} candidates have R >= {self.minimum:g}"
        predicted = self.predict_count(candidates, found)
        if predicted is None:
            return f"{share}; at most {self.limit} are looked at"
        line = f"{share}; {self.needed} ends take about {predicted} candidates"
        if predicted <= self.limit:
            return line
        return (
            f"{line}, but at most {self.limit} are looked at, which gives about "
            f"{self.limit * found // candidates // 2} paths"
        )

    def _whole_shards(self, count: int) -> int:
        return min(self.limit, -(-count // self.shard_rows) * self.shard_rows)


def draw_candidates(
    view: View,
    draw: Callable[[int], View],
    score: Callable[[View], np.ndarray],
    search: EndSearch,
    on_message: Callable[[str], None],
) -> tuple[View, np.ndarray]:
    """Draw candidates until enough are realistic, or until the limit; return them and their R.

    view: the candidates of the first round. draw: returns the view of so many first candidates, or
    of more. score: computes R, float64 [n]; it gets every candidate once. on_message: called with a
    prediction before every further round.
    """
    view = view.first(search.limit)
    realism = score(view)
    while (found := search.count_ends(realism)) < search.needed and len(view) < search.limit:
        on_message(search.describe(len(view), found))
        larger = draw(search.next_count(len(view), found)).first(search.limit)
        realism = np.concatenate([realism, score(_added(view, larger))])
        view = larger
    return view, realism


def _added(view: View, larger: View) -> View:
    """Return the samples that only the larger view has."""
    assert not isinstance(view.samples, Selection)  # a selection has no more than it has
    assert not isinstance(larger.samples, Selection)
    return larger.take(sample_ranges.subtract(larger.samples, view.samples))
