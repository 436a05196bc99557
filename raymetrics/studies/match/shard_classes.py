"""Read the classes of existing shards: the tasks of a match, whose workers need no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raymetrics.distributed.extraction.commit import top1_classes
from raymetrics.shards import schema
from raymetrics.shards.shard_set import open_shards


@dataclass(frozen=True, eq=False)
class ShardClasses:
    """The Top-1 classes of a shard's samples."""

    ids: range
    sample_ids: np.ndarray  # int64 [n]
    classes: np.ndarray  # int64 [n]


def read_shard_classes(uri: str, group: Sequence[range], logits: str) -> list[ShardClasses]:
    """Read the Top-1 classes of existing shards; run as a task."""
    shards, shard_classes = open_shards(uri, group), []
    for ids in group:
        block = shards.block(ids, [logits])
        classes = top1_classes(block[logits])
        shard_classes.append(ShardClasses(ids, block[schema.SAMPLE_ID], classes))
    return shard_classes
