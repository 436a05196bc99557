"""A folder that is there whole or not at all, and what all exports take from a shard."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from raymetrics.errors import StorageError
from raymetrics.files import TEMPORARY_PREFIX, storage_errors
from raymetrics.shards import schema
from raymetrics.shards.layout import shard_name
from raymetrics.shards.schema import Column
from raymetrics.shards.shard_set import Block
from raymetrics.shards.store import Store
from raymetrics.shards.view import View


@contextmanager
def new_folder(destination: str) -> Iterator[Path]:
    """Make a folder beside `destination`, which gets its name when the block ends without an error.

    StorageError if `to` is there, on an object store, or cannot be written; StorageUnavailable if
    there is no room.
    """
    store = Store(destination)
    if not store.local:
        raise StorageError(
            f"{destination} is on an object store; export to a local folder and copy it"
        )
    target = Path(store.root)
    exists_error = StorageError(
        f"{destination} is there already; remove it, or export to another place"
    )
    if target.exists():
        raise exists_error
    temporary = target.parent / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    try:
        with storage_errors(f"export to {destination}"):
            temporary.mkdir(parents=True)
            yield temporary
            if target.exists():  # made meanwhile; an empty folder would give way
                raise exists_error
            os.rename(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def whole_block(view: View, shard: range, columns: Sequence[Column]) -> Block:
    """Sample ids, labels and prompts where known, and these columns, of a view of a shard."""
    known = [name for name, is_known in view.shards.spec.facts.items() if is_known]
    return view.block(shard, [*known, *(column.name for column in columns)])


def shard_file_name(block: Block) -> str:
    """Return the file name of a shard, which may hold only the first of these samples."""
    ids = block[schema.SAMPLE_ID]
    return shard_name(range(int(ids[0]), int(ids[-1]) + 1))
