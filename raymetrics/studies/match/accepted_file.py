"""accepted.parquet: which samples a match accepted, of what, and when an earlier one gives way."""

from __future__ import annotations

from typing import Any

import numpy as np

from raymetrics.attacks.top1_rejection import Matcher
from raymetrics.errors import ShardError, StorageError
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.schema import SAMPLE_ID
from raymetrics.shards.selection_files import made_of, parts_of, read_choice, write_choice
from raymetrics.shards.shard_set import ShardSet
from raymetrics.shards.store import Store
from raymetrics.shards.view import View
from raymetrics.studies.match.request import Request

FILE = "accepted.parquet"


def write_accepted(
    path: str, request: Request, shards: ShardSet, matcher: Matcher, found: np.ndarray
) -> None:
    """Writes the file, whole. found: int64 [accepted, 2], sample ids and classes."""
    columns = {SAMPLE_ID: found[:, 0], "class": found[:, 1], "draw": found[:, 0] - request.first}
    metadata = made_of(
        "accepted",
        View.of(shards),
        complete=matcher.full,
        draws=matcher.draws,
        targets=matcher.targets.tolist(),
        drawn=matcher.drawn.tolist(),
        accepted=matcher.filled.tolist(),
        unfilled=matcher.unfilled.tolist(),
        **about(request, shards.spec),
    )
    write_choice(path, columns, metadata)


def about(request: Request, spec: DatasetSpec) -> dict[str, Any]:
    """What was asked for, as the file tells it: on this the accepted samples depend, and on
    nothing else."""
    real = request.real.shards
    return {
        "fingerprint": spec.fingerprint,
        "n": request.n,
        "column": request.column.name,
        "first": request.first,
        "real": {
            "uri": real.store.absolute_uri,
            "fingerprint": real.spec.fingerprint,
            "digest": request.real.digest(),
        },
    }


def remove_of_another(path: str, asked: dict[str, Any]) -> None:
    """Removes the file of a match of something else, which is not to be taken for this one's while
    this one is under way."""
    try:
        there = read_choice(path, partial=True).metadata
    except (StorageError, ShardError):
        return  # none, or none that could be taken for one
    if all(there.get(name) == value for name, value in asked.items()):
        return
    folder, name = parts_of(path)
    Store(folder).remove(name)
