"""accepted.parquet: which samples a match accepted, of what, and when an earlier one gives way."""

from __future__ import annotations

from typing import Any

import numpy as np

from raymetrics.attacks.top1_rejection import Matcher
from raymetrics.errors import ShardError, StorageError
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.schema import SAMPLE_ID
from raymetrics.shards.selection_files import (
    read_selection,
    selection_metadata,
    split_path,
    write_selection,
)
from raymetrics.shards.shard_set import ShardSet
from raymetrics.shards.store import Store
from raymetrics.shards.view import View
from raymetrics.studies.match.request import MatchRequest

ACCEPTED_FILE = "accepted.parquet"


def write_accepted(
    path: str, request: MatchRequest, shards: ShardSet, matcher: Matcher, accepted: np.ndarray
) -> None:
    """Write the file, whole. accepted: int64 [n, 2], sample ids and classes."""
    columns = {
        SAMPLE_ID: accepted[:, 0],
        "class": accepted[:, 1],
        "draw": accepted[:, 0] - request.first,
    }
    metadata = selection_metadata(
        "accepted",
        View.from_shards(shards),
        complete=matcher.is_full,
        draws=matcher.total_draws,
        targets=matcher.targets.tolist(),
        drawn=matcher.drawn_counts.tolist(),
        accepted=matcher.accepted_counts.tolist(),
        unfilled=matcher.unfilled_classes.tolist(),
        **request_record(request, shards.spec),
    )
    write_selection(path, columns, metadata)


def request_record(request: MatchRequest, spec: DatasetSpec) -> dict[str, Any]:
    """Describe the request for the file: on this the accepted samples depend, and on
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


def remove_stale_file(path: str, record: dict[str, Any]) -> None:
    """Remove the file of another match, which is not to be taken for the file of this one while
    this one is under way."""
    try:
        stored = read_selection(path, partial=True).metadata
    except (StorageError, ShardError):
        return  # none, or none that could be taken for one
    if all(stored.get(name) == value for name, value in record.items()):
        return
    folder, name = split_path(path)
    Store(folder).remove(name)
