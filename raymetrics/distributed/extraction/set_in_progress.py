"""A shard set on its way: entered at its place, added to, and sealed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from raymetrics import sample_ranges
from raymetrics.distributed.extraction.commit_stage import require_few
from raymetrics.distributed.extraction.disk_space import require_room, row_bytes
from raymetrics.distributed.extraction.pipeline import Made
from raymetrics.distributed.extraction.usage import Spent
from raymetrics.distributed.resources import Sizes
from raymetrics.errors import RaymetricsError, ShardError, SourceError
from raymetrics.shards import layout
from raymetrics.shards.comparability import size_text
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.overlaps import join_overlapping
from raymetrics.shards.shard_set import ShardSet, open_shards
from raymetrics.shards.store import Store, remove_left
from raymetrics.shards.writer import seal


@dataclass(frozen=True)
class Extraction:
    """What `extract` did."""

    shards: ShardSet
    made: int  # shards, in this run
    present: int  # shards that were there before, within the samples asked for
    rows: int  # made in this run
    seconds: float
    broken: tuple[str, ...] = ()  # images that were left out
    note: str = ""  # what to tell of how the set was continued
    spent: Spent = field(default_factory=Spent)  # of the stream, which may have made other sets too


@dataclass
class Begun:
    """A set on its way: what it is to be, and what of it was made.

    sizes: of the weights. max_errors: samples that may be left out. extractors: the specifications
    that they have now, where the set keeps older ones. note: what to tell of that. failure: why it
    cannot be what it is to be.
    """

    store: Store
    spec: DatasetSpec
    listing: str
    wanted: tuple[range, ...]
    todo: list[range]
    present: int
    sizes: Sizes
    max_errors: int = 0
    extractors: Sequence[Mapping[str, object]] = ()
    note: str = ""
    made: int = 0
    rows: int = 0
    devices: set[str] = field(default_factory=set)
    left_out: dict[int, str] = field(default_factory=dict)
    failure: RaymetricsError | None = None
    start: float = field(default_factory=time.monotonic)

    @classmethod
    def of(
        cls,
        store: Store,
        asked: DatasetSpec,
        listing: str,
        sizes: Sizes,
        max_errors: int,
        extractors: Sequence[Mapping[str, object]] = (),
        note: str = "",
    ) -> Begun:
        """The set that is asked for, entered at its place. PlanTooLarge if that has no room."""
        wanted = asked.samples
        if store.local:
            remove_left(Path(store.root))
            missing = sample_ranges.subtract(wanted, layout.shard_ranges(store.names()))
            require_room(store, sample_ranges.count(missing) * row_bytes(asked))
        spec, present = layout.entered(store, asked)
        todo = layout.missing(spec, present, wanted)
        kept = sum(1 for ids in present if sample_ranges.overlaps(ids, wanted))
        return cls(store, spec, listing, wanted, todo, kept, sizes, max_errors, extractors, note)

    @property
    def uri(self) -> str:
        """As workers know it."""
        return self.store.absolute_uri

    def add(self, row: Made) -> None:
        """A shard that is committed, or that cannot be made."""
        self.failure = self.failure or row.account.error()
        if row.account.failure:
            return
        self.rows += row.rows * row.made  # another writer may have been the first
        self.made += row.made
        self.devices.add(row.account.device)
        self.left_out.update(row.account.left_out)
        self.keep_size(row.account.image_size)
        try:
            require_few(self.left_out, self.max_errors)
        except SourceError as error:
            self.failure = self.failure or error

    def keep_size(self, found: tuple[int, int] | None) -> None:
        """Write the size of the images into dataset.json, as soon as the first ones are made.
        Images of another size than the others are a failure of the set."""
        if found is None or found == self.spec.image_size:
            return
        if self.spec.image_size is None:
            try:
                self.spec = layout.adopt(self.store, replace(self.spec, image_size=found), ())
            except ShardError as error:
                self.failure = self.failure or error
            return
        self.failure = self.failure or SourceError(
            f"{self.spec.source} gave images of {size_text(found)} pixels, {self.uri} holds those "
            f"of {size_text(self.spec.image_size)}; give all of them one size, and extract to "
            "another place"
        )

    def require_sound(self) -> None:
        """Raises what went wrong."""
        if self.failure is not None:
            raise self.failure

    def finished(self, spent: Spent) -> Extraction:
        """What was done; seals the set. Raises what went wrong; ShardError if what was made is not
        there."""
        self.require_sound()
        shards = self._adopted()
        lost = sample_ranges.subtract(self.wanted, shards.present)
        if lost:
            raise ShardError(
                f"{sample_ranges.count(lost)} of the samples that workers wrote to {self.uri} "
                "are not there; a cluster needs a place that all of its machines share, as s3://..."
            )
        if self.max_errors:  # those of earlier runs count too
            lacking = {
                s: why for s, why in shards.left_out.items() if any(s in w for w in self.wanted)
            }
            require_few(lacking, self.max_errors)
        shards = join_overlapping(shards)
        if not shards.missing and (self.made or shards.seal is None):
            shards = self._sealed(shards)
        seconds = time.monotonic() - self.start
        return Extraction(
            shards, self.made, self.present, self.rows, seconds, note=self.note, spent=spent
        )

    def _adopted(self) -> ShardSet:
        """The set, whose dataset.json asks for all that it has. Of several writers each may have
        written over what another one added: whoever was last finds here what is lost."""
        shards = open_shards(str(self.store))
        for _ in range(layout.LOOKS):
            if not sample_ranges.subtract([*self.wanted, *shards.present], shards.spec.samples):
                break
            layout.adopt(self.store, self.spec, shards.present)
            shards = open_shards(str(self.store))
        return shards

    def _sealed(self, shards: ShardSet) -> ShardSet:
        """The set with its seal; without, if another job has just asked for more samples of it,
        which seals it when it has made them."""
        for looks_left in reversed(range(layout.LOOKS)):
            try:
                return seal(shards, sorted(self.devices))
            except ShardError:
                shards = open_shards(str(self.store))
                if shards.missing:
                    break
                if not looks_left:  # it is not that somebody else was at work
                    raise
        return shards
