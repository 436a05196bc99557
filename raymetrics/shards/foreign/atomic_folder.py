"""A folder that is there whole or not at all, and what all exports take from a shard."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from raymetrics.errors import StorageError
from raymetrics.files import ASIDE, storage_errors
from raymetrics.shards import schema
from raymetrics.shards.layout import shard_name
from raymetrics.shards.schema import Column
from raymetrics.shards.shard_set import Block
from raymetrics.shards.store import Store
from raymetrics.shards.view import View


@contextmanager
def new_folder(to: str) -> Iterator[Path]:
    """A folder beside `to`, which takes its name when the block has ended without an error.

    StorageError if `to` is there, on an object store, or cannot be written; StorageUnavailable if
    there is no room.
    """
    store = Store(to)
    if not store.local:
        raise StorageError(f"{to} is on an object store; export to a local folder and copy it")
    target = Path(store.root)
    there = StorageError(f"{to} is there already; remove it, or export to another place")
    if target.exists():
        raise there
    aside = target.parent / f"{ASIDE}{uuid.uuid4().hex}"
    try:
        with storage_errors(f"export to {to}"):
            aside.mkdir(parents=True)
            yield aside
            if target.exists():  # made meanwhile; an empty folder would give way
                raise there
            os.rename(aside, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def whole_block(view: View, shard: range, columns: Sequence[Column]) -> Block:
    """Sample ids, labels where known, and these columns, of what the view has of a shard."""
    names = [column.name for column in columns]
    if view.shards.spec.labels:
        names = [schema.LABEL, *names]
    return view.block(shard, names)


def name_of(block: Block) -> str:
    """As a shard of these samples is called; they may be the first of a shard only."""
    ids = block[schema.SAMPLE_ID]
    return shard_name(range(int(ids[0]), int(ids[-1]) + 1))
