"""The tasks of a match on shards that are there. Apart, so that their workers load no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from raymetrics.distributed.extraction.commit_stage import top1_classes
from raymetrics.shards import schema
from raymetrics.shards.shard_set import open_shards
from raymetrics.shards.writer import keep_accepted


@dataclass(frozen=True, eq=False)
class ShardClasses:
    """The Top-1 classes of a shard's samples.

    drawn: None; or of a shard that holds its accepted samples only, int64 [classes], how many of
    all of its samples were of each class.
    """

    ids: range
    sample_ids: np.ndarray  # int64 [n]
    classes: np.ndarray  # int64 [n]
    drawn_by_class: np.ndarray | None = None


def read_shard_classes(uri: str, group: Sequence[range], logits: str) -> list[ShardClasses]:
    """A task: the draws of shards that are there."""
    shards, shard_classes = open_shards(uri, group), []
    for ids in group:
        footer = shards.footer(ids)
        block = shards.block(ids, [logits])
        drawn_by_class = (
            None if footer.drawn is None else _class_counts(footer.drawn, block[logits].shape[1])
        )
        shard_classes.append(
            ShardClasses(ids, block[schema.SAMPLE_ID], top1_classes(block[logits]), drawn_by_class)
        )
    return shard_classes


def _class_counts(drawn_by_class: Mapping[str, int], classes: int) -> np.ndarray:
    """What a footer says, int64 [classes]."""
    counts = np.zeros(classes, np.int64)
    for name, count in drawn_by_class.items():
        counts[int(name)] = count
    return counts


def drop_rejected(uri: str, ids: range, accepted: np.ndarray, drawn: dict[str, int]) -> None:
    """A task: see `keep_accepted`."""
    keep_accepted(open_shards(uri), ids, accepted, drawn)
