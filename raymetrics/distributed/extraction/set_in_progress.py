"""A shard set that an extraction makes: opened for writing, extended, and sealed."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from raymetrics import sample_ranges
from raymetrics.distributed.extraction.commit import require_few_left_out
from raymetrics.distributed.extraction.disk_space import require_disk_space, row_bytes
from raymetrics.distributed.extraction.stream_plan import SetToMake, ShardOutcome
from raymetrics.distributed.extraction.usage import StreamUsage
from raymetrics.distributed.resources import ModelSizes
from raymetrics.errors import RaymetricsError, ShardError, SourceError
from raymetrics.shards import layout
from raymetrics.shards.comparability import size_text
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.overlaps import join_overlapping
from raymetrics.shards.seal import seal_expected, seal_holds, seal_set
from raymetrics.shards.shard_files import all_shard_ranges
from raymetrics.shards.shard_set import ShardSet, open_shards
from raymetrics.shards.store import Store, remove_stale_temporaries


@dataclass(frozen=True)
class Extraction:
    """The outcome of `extract`."""

    shards: ShardSet
    shards_made: int  # shards, in this run
    shards_present: int  # shards that were there before, within the samples asked for
    rows: int  # made in this run
    seconds: float
    broken: tuple[str, ...] = ()  # images that were left out
    note: str = ""  # what to tell of how the set was continued
    usage: StreamUsage = field(
        default_factory=StreamUsage
    )  # of the stream, which may have made other sets too


@dataclass
class SetInProgress:
    """A set that is requested, and how much of it was made.

    generator_fingerprint: a quick fingerprint of the generator, which workers compare with theirs.
    files: the shards that were there. todo: the shards to make. sizes: bytes of the weights.
    max_errors: samples that may be left out. extractors: the present specifications, where the set
    keeps older ones. note: a line for the user about that. thread_safe: whether its generator and
    all extractors are. in_this_process: whether no other process can generate its samples.
    block: what its generator has chosen on this device, see `device_block`.
    failure: why the set is not completed.
    """

    store: Store
    spec: DatasetSpec
    generator_fingerprint: str
    requested_ranges: tuple[range, ...]
    files: tuple[range, ...]
    todo: list[range]
    shards_present: int
    sizes: ModelSizes
    max_errors: int = 0
    extractors: Sequence[Mapping[str, object]] = ()
    note: str = ""
    thread_safe: bool = False
    in_this_process: bool = False
    block: int | None = None
    shards_made: int = 0
    rows: int = 0
    devices: set[str] = field(default_factory=set)
    left_out: dict[int, str] = field(default_factory=dict)
    failure: RaymetricsError | None = None
    started_at: float = field(default_factory=time.monotonic)

    @classmethod
    def begin(
        cls,
        store: Store,
        requested_spec: DatasetSpec,
        names: Collection[str],
        generator_fingerprint: str,
        sizes: ModelSizes,
        max_errors: int,
        extractors: Sequence[Mapping[str, object]] = (),
        note: str = "",
        *,
        thread_safe: bool = False,
        in_this_process: bool = False,
        block: int | None = None,
    ) -> SetInProgress:
        """Open the requested set for writing. names: the files in the store, just listed.

        Raises InsufficientResources if its disk has no room for the missing shards.
        """
        requested_ranges = requested_spec.samples
        if store.local:
            remove_stale_temporaries(Path(store.root))
            missing = sample_ranges.subtract(requested_ranges, layout.shard_ranges(names))
            require_disk_space(store, sample_ranges.count_ids(missing) * row_bytes(requested_spec))
        spec, present = layout.open_for_writing(store, requested_spec, names)
        todo = layout.missing_shards(spec, present, requested_ranges)
        present_count = sum(1 for ids in present if sample_ranges.overlaps(ids, requested_ranges))
        return cls(
            store,
            spec,
            generator_fingerprint,
            requested_ranges,
            tuple({*all_shard_ranges(names), *present}),
            todo,
            present_count,
            sizes,
            max_errors,
            extractors,
            note,
            thread_safe,
            in_this_process,
            block,
        )

    @property
    def uri(self) -> str:
        """The address of the set on every machine."""
        return self.store.absolute_uri

    @property
    def target(self) -> SetToMake:
        """What a stream needs to make the missing shards."""
        return SetToMake(
            self.spec, self.generator_fingerprint, self.todo, self.uri, self.extractors
        )

    def add(self, outcome: ShardOutcome) -> None:
        """Add the outcome of a shard, committed or failed."""
        self.failure = self.failure or outcome.record.error()
        if outcome.record.failure:
            return
        self.rows += outcome.rows * outcome.newly_made  # another writer may have been the first
        self.shards_made += outcome.newly_made
        self.devices.add(outcome.record.device)
        self.left_out.update(outcome.record.left_out)
        self.record_image_size(outcome.record.image_size)
        try:
            require_few_left_out(self.left_out, self.max_errors)
        except SourceError as error:
            self.failure = self.failure or error

    def record_image_size(self, image_size: tuple[int, int] | None) -> None:
        """Write the size of the images into dataset.json, as soon as the first ones are made.

        Images of another size than the others are a failure of the set.
        """
        if image_size is None or image_size == self.spec.image_size:
            return
        if self.spec.image_size is None:
            try:
                self.spec = layout.add_samples(
                    self.store, replace(self.spec, image_size=image_size), ()
                )
            except ShardError as error:
                self.failure = self.failure or error
            return
        self.failure = self.failure or SourceError(
            f"{self.spec.source} gave images of {size_text(image_size)} pixels, {self.uri} holds "
            f"those of {size_text(self.spec.image_size)}; give all of them one size, and extract "
            "to another place"
        )

    def require_no_failure(self) -> None:
        """Raise the failure of the set, if there is one."""
        if self.failure is not None:
            raise self.failure

    def finish(self, usage: StreamUsage) -> Extraction:
        """Seal the set and return the outcome.

        Raises the failure of the set; ShardError if shards that workers wrote are not in the store.
        """
        self.require_no_failure()
        if self.shards_made and not self.max_errors:
            files = {*self.files, *self.todo}
            seal_expected(self.store, files, self.requested_ranges, sorted(self.devices))
        shards = self._open_reconciled()
        lost_ranges = sample_ranges.subtract(self.requested_ranges, shards.present)
        if lost_ranges:
            lost = sample_ranges.count_ids(lost_ranges)
            raise ShardError(
                f"{lost} of the samples that workers wrote to {self.uri} are not there; a cluster "
                "needs a place that all of its machines share, as s3://..."
            )
        if self.max_errors:  # samples left out in earlier runs count too
            lacking = {
                s: why
                for s, why in shards.left_out.items()
                if any(s in w for w in self.requested_ranges)
            }
            require_few_left_out(lacking, self.max_errors)
        shards = join_overlapping(shards)
        sealed = seal_holds(shards) if self.shards_made else shards.seal is not None
        if not shards.missing and not sealed:
            shards = self._seal(shards)
        seconds = time.monotonic() - self.started_at
        return Extraction(
            shards,
            self.shards_made,
            self.shards_present,
            self.rows,
            seconds,
            note=self.note,
            usage=usage,
        )

    def _open_reconciled(self) -> ShardSet:
        """Open the set, with a dataset.json that names all of its samples.

        Several writers may overwrite each other's additions to dataset.json; the last writer
        restores the lost ones here.
        """
        shards = open_shards(str(self.store))
        for _ in range(layout.WRITE_CHECKS):
            if not sample_ranges.subtract(
                [*self.requested_ranges, *shards.present], shards.spec.samples
            ):
                break
            layout.add_samples(self.store, self.spec, shards.present)
            shards = open_shards(str(self.store))
        return shards

    def _seal(self, shards: ShardSet) -> ShardSet:
        """Seal the set and return it.

        Returns it without a seal if another job has just asked for more of its samples; that job
        seals the set at its own end.
        """
        for attempts_left in reversed(range(layout.WRITE_CHECKS)):
            try:
                return seal_set(shards, sorted(self.devices))
            except ShardError:
                shards = open_shards(str(self.store))
                if shards.missing:
                    break
                if not attempts_left:  # no other writer explains the error
                    raise
        return shards
