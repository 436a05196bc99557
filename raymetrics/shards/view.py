"""Some samples of a shard set, as the set of a protocol or of an evaluation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import numpy as np

from raymetrics import sample_ranges
from raymetrics.errors import NotEnoughData, ShardError
from raymetrics.provenance import fingerprint
from raymetrics.shards import schema
from raymetrics.shards.layout import shard_name
from raymetrics.shards.shard_set import Block, ShardSet

# How a selection is called whose samples `View.choose` has chosen.
CHOSEN_AT_RANDOM = re.compile(r"(?P<count>\d+) of \d+ at random, seed (?P<seed>\d+)")
_READER_THREADS = 4  # of a column: stores and parsers wait for each other
_MAX_NAMED = 10  # ranges that an error names


@dataclass(frozen=True, eq=False)
class Selection:
    """Samples chosen one by one, such as those that matching accepted; equal if the ids are."""

    ids: np.ndarray  # int64 [n], ascending; one that was drawn several times stands there as often
    file: str = ""  # that names them

    @classmethod
    def from_ids(cls, sample_ids: np.ndarray, file: str = "") -> Selection:
        """Make a selection of ids, int64 [n], in any order."""
        return cls(np.sort(sample_ids), file)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the ids."""
        return sha256(np.ascontiguousarray(self.ids, "<i8").data).hexdigest()

    @property
    def repeats(self) -> bool:
        """Whether any sample stands there more than once."""
        return bool((np.diff(self.ids) == 0).any())

    def within(self, shard: range) -> np.ndarray:
        """Return the selected ids in a shard."""
        first, stop = np.searchsorted(self.ids, [shard.start, shard.stop])
        return self.ids[first:stop]

    def __eq__(self, value: object) -> bool:
        return isinstance(value, Selection) and self.digest == value.digest

    def __hash__(self) -> int:
        return hash(self.digest)


@dataclass(frozen=True, eq=False)
class View:
    """The samples of a shard set that are looked at: ascending ranges of their ids, or some."""

    shards: ShardSet
    samples: tuple[range, ...] | Selection

    @classmethod
    def from_shards(
        cls, shards: ShardSet, count: int | None = None, selection: Selection | None = None
    ) -> View:
        """Make the view of all samples, or of the selected ones; or of the first `count`."""
        lacking = [range(sample, sample + 1) for sample in shards.left_out]
        whole = cls(shards, selection or tuple(sample_ranges.subtract(shards.present, lacking)))
        return whole if count is None else whole.first(count)

    def first(self, count: int) -> View:
        """Return a view of the first so many samples, or of all if there are fewer."""
        if isinstance(self.samples, Selection):
            return View(self.shards, Selection(self.samples.ids[:count], self.samples.file))
        ranges = []
        for ids in self.samples:
            ranges += [ids[:count]] if count > 0 else []
            count -= len(ids)
        return View(self.shards, tuple(ranges))

    def choose(self, count: int, seed: int) -> View:
        """Return a view of so many samples, chosen at random without repetition.

        The choice is that of numpy's default_rng(seed) among the ids in ascending order, so that it
        can be made again. NotEnoughData if there are fewer samples.
        """
        if not 1 <= count <= len(self):
            raise NotEnoughData(
                f"{count} samples are to be chosen, {self.shards.uri} has {len(self)}; ask for 1 "
                f"to {len(self)}, or extract more"
            )
        ids = np.random.default_rng(seed).choice(self.sample_ids, count, replace=False)
        file = f"{count} of {len(self)} at random, seed {seed}"
        if isinstance(self.samples, Selection):
            file += f", of {self.samples.file}"
        return View(self.shards, Selection.from_ids(ids, file))

    def take(self, wanted: Sequence[range]) -> View:
        """Return a view of the samples with these ids. NotEnoughData if one is not in this view."""
        if isinstance(self.samples, Selection):
            ids = self.samples.ids
            parts = [ids[(ids >= part.start) & (ids < part.stop)] for part in wanted]
            return View(self.shards, Selection.from_ids(np.concatenate(parts), self.samples.file))
        lacking = sample_ranges.subtract(wanted, self.samples)
        if lacking:
            names = ", ".join(map(sample_ranges.format_range, lacking[:_MAX_NAMED]))
            raise NotEnoughData(
                f"{self.shards.uri} does not have the samples {names}; it has "
                f"{', '.join(self.describe_samples()[:_MAX_NAMED])}"
            )
        return View(self.shards, tuple(sample_ranges.union(wanted)))

    def __len__(self) -> int:
        chosen = self.samples
        return len(chosen.ids) if isinstance(chosen, Selection) else sample_ranges.count_ids(chosen)

    @property
    def repeats(self) -> bool:
        """Whether any sample is looked at more than once."""
        return isinstance(self.samples, Selection) and self.samples.repeats

    @property
    def present(self) -> list[range]:
        """The shards that hold any of the samples, ascending."""
        return [ids for ids in self.shards.present if self.count(ids)]

    def count(self, shard: range) -> int:
        """Count the samples of the view in a shard."""
        if isinstance(self.samples, Selection):
            return len(self.samples.within(shard))
        return len(shard) - sample_ranges.count_ids(sample_ranges.subtract([shard], self.samples))

    @cached_property
    def sample_ids(self) -> np.ndarray:
        """int64 [n], ascending."""
        if isinstance(self.samples, Selection):
            return self.samples.ids
        parts = [np.arange(ids.start, ids.stop) for ids in self.samples]
        return np.concatenate([np.empty(0, np.int64), *parts])

    def group_shards(self, max_rows: int) -> list[list[range]]:
        """Group the shards, in order, into groups of at most `max_rows` rows or of one shard."""
        groups: list[list[range]] = []
        rows = 0
        for shard in self.present:
            if not groups or rows + self.count(shard) > max_rows:
                groups.append([])
                rows = 0
            groups[-1].append(shard)
            rows += self.count(shard)
        return groups

    def describe_samples(self) -> list[str]:
        """Describe the samples: ranges, or the digest of the selected ids."""
        if isinstance(self.samples, Selection):
            return [f"selected, {self.samples.digest}"]
        return [sample_ranges.format_range(ids) for ids in self.samples]

    def block(self, shard: range, columns: Sequence[str]) -> Block:
        """Read the samples of the view in a shard; see `ShardSet.block`."""
        block = self.shards.block(shard, columns)
        if isinstance(self.samples, Selection):
            rows = find_rows(self.samples.within(shard), block[schema.SAMPLE_ID], self.shards)
            return {name: values[rows] for name, values in block.items()}
        if self.count(shard) == len(shard):
            return block
        ids = block[schema.SAMPLE_ID]
        is_selected = np.zeros(len(ids), bool)
        for piece in self.samples:
            is_selected |= (ids >= piece.start) & (ids < piece.stop)
        return {name: values[is_selected] for name, values in block.items()}

    def read(self, column: str, group: Sequence[range] | None = None) -> np.ndarray:
        """Read a column of all shards, or of some, float32 [n, d], into one allocation.

        Several threads read, each into its own part.
        """
        group = self.present if group is None else group
        stops = np.cumsum([self.count(shard) for shard in group], dtype=np.int64).tolist()
        column_values = np.empty(
            (stops[-1] if stops else 0, self.shards.columns[column].dimension), np.float32
        )

        def fill(shard: range, stop: int) -> None:
            values = self.block(shard, [column])[column]
            column_values[stop - len(values) : stop] = values

        with ThreadPoolExecutor(_READER_THREADS) as pool:
            list(pool.map(fill, group, stops))
        return column_values

    def labels(self) -> np.ndarray:
        """Read the labels, int64 [n]. ShardError if the set has none."""
        self.shards.require_labels()
        parts = [self.block(shard, [schema.LABEL])[schema.LABEL] for shard in self.present]
        return np.concatenate([np.empty(0, np.int64), *parts])

    def digest(self, group: Sequence[range] | None = None) -> str:
        """Compute one SHA-256 for the values of all shards, or of some, and for the samples."""
        group = self.present if group is None else group
        values = {shard_name(ids): self.shards.digests[shard_name(ids)] for ids in group}
        if isinstance(self.samples, Selection):
            selection_digests = [Selection(self.samples.within(ids)).digest for ids in group]
            return fingerprint({"shards": values, "selection": selection_digests})
        chosen = self.describe_samples()
        whole = sum(map(self.count, group)) == sample_ranges.count_ids(group)
        return fingerprint({"shards": values, "samples": None if whole else chosen})


def find_rows(wanted_ids: np.ndarray, present_ids: np.ndarray, shards: ShardSet) -> np.ndarray:
    """Find the rows of the wanted ids; both int64 [n] and [m], ascending.

    ShardError if one of them is not there.
    """
    rows = np.searchsorted(present_ids, wanted_ids).clip(max=max(0, len(present_ids) - 1))
    absent = wanted_ids if len(present_ids) == 0 else wanted_ids[present_ids[rows] != wanted_ids]
    if len(absent):
        raise ShardError(
            f"{shards.uri} does not hold sample {absent[0]}, nor {len(absent) - 1} more of those "
            "that are selected; select samples that it has"
        )
    return rows
