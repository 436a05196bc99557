"""The tasks of a match on shards that are there. Apart, so that their workers load no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from raymetrics.distributed.extraction.commit_stage import top1
from raymetrics.shards import schema
from raymetrics.shards.shard_set import open_shards
from raymetrics.shards.writer import keep_accepted


@dataclass(frozen=True, eq=False)
class Draws:
    """The Top-1 classes of a shard's samples.

    drawn: None; or of a shard that holds its accepted samples only, int64 [classes], how many of
    all of its samples were of each class.
    """

    ids: range
    sample_ids: np.ndarray  # int64 [n]
    classes: np.ndarray  # int64 [n]
    drawn: np.ndarray | None = None


def draws_of(uri: str, group: Sequence[range], logits: str) -> list[Draws]:
    """A task: the draws of shards that are there."""
    shards, found = open_shards(uri, group), []
    for ids in group:
        footer = shards.footer(ids)
        block = shards.block(ids, [logits])
        drawn = None if footer.drawn is None else by_class(footer.drawn, block[logits].shape[1])
        found.append(Draws(ids, block[schema.SAMPLE_ID], top1(block[logits]), drawn))
    return found


def by_class(drawn: Mapping[str, int], classes: int) -> np.ndarray:
    """What a footer says, int64 [classes]."""
    counts = np.zeros(classes, np.int64)
    for name, count in drawn.items():
        counts[int(name)] = count
    return counts


def dropped(uri: str, ids: range, accepted: np.ndarray, drawn: dict[str, int]) -> None:
    """A task: see `keep_accepted`."""
    keep_accepted(open_shards(uri), ids, accepted, drawn)
