"""Spot checks of stored distances: some neighbors are searched again.

Forged larger radii would put every sample into some ball. So a few rows are searched again among
the whole set: the rows with the largest radii, as one giant among a million is enough, and some
random rows. Not found are false radii of few samples that are no larger than the largest true
radius, which change numbers by about the share of these samples, and false files of pairs (which
sample lies in whose ball), which are not searched again.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from raymetrics.metrics import Convention
from raymetrics.neighbors import TileSearch
from raymetrics.shards.view import Selection, View
from raymetrics.statistics import NearestDistances

_LARGEST_ROWS, _RANDOM_ROWS = 8, 8
_RELATIVE_TOLERANCE = 1e-9


def distances_agree(
    distances: np.ndarray,
    view: View,
    column: str,
    convention: Convention,
    blocks: Iterable[np.ndarray],
) -> bool:
    """Search the neighbors of some samples of a view again; return whether the distances agree.

    distances: float64 [n, k], ascending, to the nearest others. blocks: the features of the whole
    view, rounded as the convention has them, float32 [m, d] each; one is in memory at a time.
    """
    rows = _choose_rows(distances)
    sampled_view = View(view.shards, Selection(view.sample_ids[rows]))
    queries, k = convention.round_features(sampled_view.read(column)), distances.shape[1]
    recomputed, search = NearestDistances.empty(len(rows), k + 1), TileSearch()
    for block in blocks:
        prepared_block, prepared_queries = search.prepare(block, queries)
        recomputed = recomputed.merge(
            NearestDistances(search.nearest(prepared_queries, prepared_block, k + 1))
        )
    others = recomputed.distances[:, 1:]  # the nearest one is the sample itself
    return bool(np.allclose(others, distances[rows], rtol=_RELATIVE_TOLERANCE, atol=0))


def _choose_rows(distances: np.ndarray) -> np.ndarray:
    """Choose rows, int64, ascending: those of the largest distances and some random ones.

    They are random without a seed, as a seed would reveal which rows are not checked. Only whether
    a false file is found depends on them.
    """
    largest = np.argsort(distances[:, -1])[-_LARGEST_ROWS:]
    random_rows = np.random.default_rng().integers(len(distances), size=_RANDOM_ROWS)
    return np.unique(np.concatenate([largest, random_rows]))
