"""The plan of a stream, which are the sets to make, and the outcome of every shard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from raymetrics import option_strings
from raymetrics.distributed.extraction.planned_shards import PlannedShard, PlannedShards
from raymetrics.distributed.extraction.shard_record import ShardRecord
from raymetrics.distributed.resources import UNKNOWN_SIZES, ModelSizes
from raymetrics.shards.layout import DatasetSpec

if TYPE_CHECKING:
    from raymetrics.extractors import Extractor


SOURCE = "(source)"  # the name of the source among the numerics of a set


@dataclass(frozen=True)
class SetToMake:
    """The missing shards of a set.

    generator_fingerprint: the quick fingerprint of its generator.
    todo: the shards to make, ascending, cut at the multiples of the set's `shard_rows`; may be
    endless if the stream's control says how far it goes.
    extractors: the specifications that workers must find, where the set keeps older ones.
    """

    spec: DatasetSpec
    generator_fingerprint: str
    todo: Iterable[range]
    uri: str
    extractors: Sequence[Mapping[str, object]] = ()


@dataclass(frozen=True)
class StreamPlan:
    """Sets of the same extractors, which the same actors make one after another.

    logits: the column whose Top-1 classes every `ShardOutcome` holds; None for no classes.
    max_left_out: how many samples a shard may lack because they cannot be made.
    sizes: of the weights of the largest generator and of the extractors.
    loaded: the extractors on the CPU, which a stream in this process need not load again.
    """

    targets: Sequence[SetToMake]
    logits: str | None = None
    max_left_out: int = 0
    sizes: ModelSizes = UNKNOWN_SIZES
    loaded: Sequence[Extractor] = ()

    @property
    def extractors(self) -> tuple[Sequence[str], Sequence[Mapping[str, object]]]:
        """The texts of the extractors of all sets, and their specifications."""
        target = self.targets[0]
        return target.spec.extractor_texts, target.extractors or target.spec.extractors

    @property
    def sources(self) -> list[tuple[str, str]]:
        """The source of every set with its recorded block, and the quick fingerprint."""
        return [(_with_block(target.spec), target.generator_fingerprint) for target in self.targets]

    @property
    def shards(self) -> Iterable[PlannedShard]:
        """The shards to make, in order."""
        return PlannedShards([target.todo for target in self.targets])

    def for_workers(self) -> StreamPlan:
        """Return the plan without its shards, which workers get one by one, and without models."""
        return replace(self, targets=[replace(t, todo=()) for t in self.targets], loaded=())


def _with_block(spec: DatasetSpec) -> str:
    """Return the source of a set with the block of its generator that the set has recorded."""
    if SOURCE not in spec.numerics:
        return spec.source
    name, options = option_strings.parse_options(spec.source)
    return option_strings.format_options(
        name, {**options, "block": str(spec.numerics[SOURCE]["block"])}
    )


class ShardOutcome(NamedTuple):
    """A shard that is committed, or that cannot be made.

    record: its set, its samples, and what happened to them. classes: int64 [rows], the Top-1
    classes.
    """

    record: ShardRecord
    classes: np.ndarray | None = None

    @property
    def target(self) -> int:
        """The number of its set in the plan."""
        return self.record.target

    @property
    def ids(self) -> range:
        """The planned samples of the shard."""
        return self.record.ids

    @property
    def newly_made(self) -> bool:
        """Whether this worker wrote it; False if it existed already or cannot be made."""
        return self.record.bytes_written > 0

    @property
    def rows(self) -> int:
        """How many samples the shard holds."""
        failed = self.record.failure is not None
        return 0 if failed else len(self.ids) - len(self.record.left_out)

    def require_success(self) -> ShardOutcome:
        """Return self, so that calls can be chained. Raises the error of a failed shard."""
        error = self.record.error()
        if error is not None:
            raise error
        return self
