"""The nearest samples of one view among those of another, which may be larger than memory.

Every partition of the base is searched once for every partition of the queries, in the one
direction that is asked for. What is found of a pair is kept beside the shards of the queries, so
that a run that was killed searches only the missing pairs.
"""

from __future__ import annotations

from contextlib import closing

import numpy as np

from raymetrics.distributed.memory_limits import (
    fits_in_driver,
    partition_rows,
    require_free_memory,
)
from raymetrics.distributed.neighbor_files import NEIGHBORS_FOLDER
from raymetrics.distributed.neighbors import (
    ActorSearch,
    LocalSearch,
    Partition,
    PartitionPair,
    find_pairs,
    partition_view,
)
from raymetrics.distributed.session import uses_ray
from raymetrics.errors import NotEnoughData
from raymetrics.metrics import Convention, NearestTraining
from raymetrics.neighbors import DEFAULT_ENGINE
from raymetrics.shards.store import Store
from raymetrics.shards.view import Selection, View
from raymetrics.statistics import NearestNeighbors, from_arrays

_MERGED_COPIES = 4  # of the neighbors: those of before, those of a pair, and both sorted


def nearest_views(
    *,
    queries: View,
    base: View,
    column: str,
    k: int,
    unit_length: bool = False,
    kept_at: str | None = None,
    max_rows: int | None = None,
    engine: str = DEFAULT_ENGINE,
) -> NearestNeighbors:
    """Find the k nearest samples of the base of every query, in a column that both have.

    Returns rows of the base: the sample of row i is `base.sample_ids[i]`. Searches on actors in a
    session of Ray, in this process without one, or if both sides fit into the driver's memory.

    unit_length: divide features by their length first. kept_at: the shard set beside which results
    are kept, by default that of the queries. max_rows: rows of a partition; by default as many as
    fit. engine: a name of ENGINES, which changes the time and no number.

    NotEnoughData if the base has fewer samples than k, InsufficientResources before anything is
    read.
    """
    if len(base) < k:
        raise NotEnoughData(
            f"the {k} nearest of {len(base)} training samples in {base.shards.uri}; extract more, "
            "or ask for fewer neighbours"
        )
    require_free_memory(
        16 * _MERGED_COPIES * k * len(queries),
        f"the {k} nearest neighbours of {len(queries)} samples need",
        "ask for fewer neighbours, or search fewer samples at a time",
    )
    rows = max(len(queries), len(base))
    in_driver = max_rows is None and fits_in_driver({"real": base, "generated": queries}, column)
    if not in_driver:
        rows = max_rows or partition_rows(base.shards.columns[column].dimension, rows)
    query_parts, base_parts = (
        partition_view(view, column, Convention(), rows, unit_length=unit_length)
        for view in (queries, base)
    )
    store = Store(f"{kept_at or queries.shards.uri}/{NEIGHBORS_FOLDER}")
    local = in_driver or not uses_ray()
    with closing(LocalSearch(engine) if local else ActorSearch(engine)) as search:
        return _merge_pairs(len(queries), k, query_parts, base_parts, store, search)


def _merge_pairs(
    count: int,
    k: int,
    query_parts: list[Partition],
    base_parts: list[Partition],
    store: Store,
    search: LocalSearch | ActorSearch,
) -> NearestNeighbors:
    """Search all pairs of partitions, and merge what is found of each."""
    pairs = [
        PartitionPair(base, queries, k, one_way=True)
        for base in range(len(base_parts))
        for queries in query_parts
    ]
    found = NearestNeighbors.empty(count, k)
    for pair, arrays in find_pairs(pairs, base_parts, store, search):
        part: NearestNeighbors = from_arrays(NearestNeighbors, arrays)
        found.take_nearer(part, pair.queries.view_slice, base_parts[pair.base_index].first_row)
    return found


def nearest_training(
    *,
    real: View,
    generated: View,
    column: str,
    nearest: NearestNeighbors | None = None,
    unit_length: bool = False,
    max_rows: int | None = None,
    engine: str = DEFAULT_ENGINE,
) -> NearestTraining:
    """Find how far generated samples are from their nearest real ones, and these from others.

    Only the real, the training, samples that are the nearest of some generated one are searched
    among all: never more than there are generated samples. nearest: of `nearest_views`, if it is
    known; by default it is searched. Raises what `nearest_views` raises.
    """

    def search(queries: View, k: int) -> NearestNeighbors:
        return nearest_views(
            queries=queries,
            base=real,
            column=column,
            k=k,
            unit_length=unit_length,
            kept_at=generated.shards.uri,
            max_rows=max_rows,
            engine=engine,
        )

    nearest = nearest or search(generated, 1)
    wanted, position = np.unique(nearest.rows[:, 0], return_inverse=True)
    others = search(View(real.shards, Selection.from_ids(real.sample_ids[wanted])), 2)
    # The nearest of a sample is itself or its copy, at 0; the second is the nearest other one.
    return NearestTraining(nearest.distances[:, 0], others.distances[:, 1][position])
