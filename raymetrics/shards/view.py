"""Some samples of a shard set, as the set of a protocol or of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from raymetrics import ranges
from raymetrics.errors import ShardError
from raymetrics.provenance import fingerprint
from raymetrics.shards import schema
from raymetrics.shards.layout import shard_name
from raymetrics.shards.reader import Block, ShardSet


@dataclass(frozen=True, eq=False)
class View:
    """The samples of a shard set that are looked at; ascending ranges of their ids."""

    shards: ShardSet
    samples: tuple[range, ...]

    @classmethod
    def of(cls, shards: ShardSet, count: int | None = None) -> View:
        """All samples that there are, or the first `count`."""
        kept, left = [], len(shards) if count is None else count
        for ids in ranges.union(shards.present):
            some = ids[:left]
            left -= len(some)
            kept += [some] if some else []
        return cls(shards, tuple(kept))

    def __len__(self) -> int:
        return ranges.count(self.samples)

    @property
    def present(self) -> list[range]:
        """The shards that hold any of the samples, ascending."""
        return [ids for ids in self.shards.present if self.count(ids)]

    def count(self, shard: range) -> int:
        """How many of the samples a shard holds."""
        return len(shard) - ranges.count(ranges.subtract([shard], self.samples))

    @cached_property
    def sample_ids(self) -> np.ndarray:
        """int64 [n], ascending."""
        parts = [np.arange(ids.start, ids.stop) for ids in self.samples]
        return np.concatenate([np.empty(0, np.int64), *parts])

    def block(self, shard: range, columns: Sequence[str]) -> Block:
        """What the view has of a shard; see `ShardSet.block`."""
        block = self.shards.block(shard, columns)
        if self.count(shard) == len(shard):
            return block
        ids = block[schema.SAMPLE_ID]
        some = np.zeros(len(ids), bool)
        for kept in self.samples:
            some |= (ids >= kept.start) & (ids < kept.stop)
        return {name: values[some] for name, values in block.items()}

    def read(self, column: str, group: Sequence[range] | None = None) -> np.ndarray:
        """A column of all shards, or of some, float32 [n, d]; into memory that is taken once."""
        group = self.present if group is None else group
        found = np.empty(
            (sum(map(self.count, group)), self.shards.columns[column].dimension), np.float32
        )
        start = 0
        for shard in group:
            values = self.block(shard, [column])[column]
            found[start : start + len(values)] = values
            start += len(values)
        return found

    def labels(self) -> np.ndarray:
        """int64 [n]. ShardError if the set has none."""
        if not self.shards.spec.labels:
            raise ShardError(
                f"{self.shards.uri} has no labels; extract from a source that knows the classes "
                "of its samples"
            )
        parts = [self.block(shard, [schema.LABEL])[schema.LABEL] for shard in self.present]
        return np.concatenate([np.empty(0, np.int64), *parts])

    def digest(self, group: Sequence[range] | None = None) -> str:
        """One SHA-256 for the values of all shards, or of some, and for the choice of samples."""
        group = self.present if group is None else group
        values = {shard_name(ids): self.shards.digests[shard_name(ids)] for ids in group}
        chosen = [ranges.describe(ids) for ids in self.samples]
        whole = sum(map(self.count, group)) == ranges.count(group)
        return fingerprint({"shards": values, "samples": None if whole else chosen})
