"""Sample ids -> generator actors -> extractor actors -> shards.

Units flow in order; a stage at the end gathers those of one shard, commits it, and hands one row
to the driver, where the progress is told and, of a match, decided how far the stream goes on.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset

from raymetrics.blocks import in_blocks
from raymetrics.errors import ExtractorError, SourceError
from raymetrics.extractors import make_extractor
from raymetrics.generators import listing, open_source
from raymetrics.shards import layout, schema
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.schema import Column
from raymetrics.streaming.commit import DEVICE, PADDING, TARGET, CommitShard, Place, packed
from raymetrics.streaming.devices import device, device_name, reproducible
from raymetrics.streaming.resources import Resources, Share, share
from raymetrics.streaming.session import NO_PROGRESS_SECONDS
from raymetrics.streaming.units import Shard, Shards, Units, units_of, units_to_a_shard

COMMITTERS = 1  # an actor that mostly waits for the store, not for a processor
MANY = 4096  # units; so many keep any cluster busy


@dataclass(frozen=True)
class Target:
    """The shards `todo` of a set at `uri`; listing: of its generator.

    todo: ascending; cut at the multiples of the set's `shard_rows`; may be endless if a gate
    says how far the stream goes.
    """

    spec: DatasetSpec
    listing: str
    todo: Iterable[range]
    uri: str


@dataclass(frozen=True)
class Plan:
    """What is to be made: sets of the same extractors, one after another by the same actors.

    logits: the column of which the rows are to tell the Top-1 classes. gate: an actor that says
    how far the stream goes, see `raymetrics.streaming.units`.
    """

    targets: Sequence[Target]
    logits: str | None = None
    gate: Any = None

    @property
    def shards(self) -> Iterable[Shard]:
        """What is to be made, in order."""
        return Shards([target.todo for target in self.targets])

    def units_to_a_shard(self, batch: int) -> int:
        """The most units that a shard of any set has."""
        return max(units_to_a_shard(target.spec.shard_rows, batch) for target in self.targets)


class Made(NamedTuple):
    """A shard that is committed. target: whose. made: False if it was there already. classes:
    int64 [rows]."""

    target: int
    ids: range
    rows: int
    made: bool
    device: str
    classes: np.ndarray | None


def stream(plan: Plan, resources: Resources) -> Iterator[Made]:
    """Makes the planned shards; yields one row per shard, in order, once it is committed."""
    most = plan.units_to_a_shard(resources.batch)
    shards = units_of(plan.shards, resources.batch, most)
    some = sum(map(len, itertools.islice(shards, MANY // most + 1)))
    mine = share(resources, at_most=some)
    dataset = ray.data.read_datasource(
        Units(plan.shards, resources.batch, most, plan.gate),
        override_num_blocks=1,
        concurrency=1,
        num_cpus=0,  # it only waits, and must not wait for a processor that actors hold
    )
    configure(dataset.context)
    sources = [(target.spec.source, target.listing) for target in plan.targets]
    extractors = (plan.targets[0].spec.asked, plan.targets[0].spec.extractors)
    if resources.fused:
        dataset = pool(dataset, GenerateAndExtract, (sources, extractors), mine)
    else:
        # A share above half keeps two generators off one GPU, so that each gets an extractor.
        dataset = pool(dataset, Generate, (sources,), mine, of_gpu=0.7)
        dataset = pool(dataset, Extract, extractors, mine, of_gpu=0.3)
    shards_made = dataset.map_batches(
        CommitShard,
        fn_constructor_args=(places(plan), plan.logits),
        batch_size=most,
        batch_format="pyarrow",
        # Asks for no CPU, so that no loss of a node can leave it without one.
        num_cpus=0,
        compute=ActorPoolStrategy(size=COMMITTERS),
    )
    # A batch that is fetched ahead would be told with the next one, which may wait for it.
    for row in shards_made.iter_batches(batch_size=None, prefetch_batches=0, batch_format="numpy"):
        yield made_of(row)


def places(plan: Plan) -> list[Place]:
    """Where the last stage commits what."""
    return [Place(t.uri, t.spec.fingerprint, t.todo) for t in plan.targets]


def made_of(row: Mapping[str, Any]) -> Made:
    """What the last stage told of a shard."""
    first, rows = int(row["first"][0]), int(row["rows"][0])
    classes = row["classes"][0] if "classes" in row else None
    made, where = bool(row["made"][0]), str(row["device"][0])
    return Made(int(row["target"][0]), range(first, first + rows), rows, made, where, classes)


def pool(
    dataset: Dataset,
    stage: type,
    arguments: tuple[object, ...],
    share: Share,
    of_gpu: float = 1.0,
) -> Dataset:
    """One more stage: a fixed number of actors that take one unit at a time."""
    return dataset.map_batches(
        stage,
        fn_constructor_args=arguments,
        batch_size=1,
        num_cpus=share.cpus,
        num_gpus=of_gpu * share.gpus or None,
        compute=ActorPoolStrategy(size=share.actors),
    )


def configure(context: DataContext) -> None:
    """Order kept, a block for each row, silence on the terminal, no lost rows."""
    context.execution_options.preserve_order = True
    # Without a size a task's rows leave it together at its end, and the units' never ends.
    context.target_max_block_size = 1
    context.execution_no_progress_timeout_s = NO_PROGRESS_SECONDS
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_errored_blocks = 0
    context.raise_original_map_exception = True  # so that `session` can tell ours from bugs


class Generate:
    """A stage: units to {"target", "sample_id" int64 [1, n], "image" uint8 [1, n, 3, h, w],
    "label"}.

    One row holds a whole unit, as everywhere in the stream. sources: of every target, with the
    listing of its generator; one generator is held at a time.
    """

    def __init__(self, sources: Sequence[tuple[str, str]]) -> None:
        reproducible()
        self.sources = sources
        self._open(0)

    def _open(self, target: int) -> None:
        source, expected = self.sources[target]
        self.generator, self.target = open_source(source, device()), target
        if listing(self.generator) != expected:
            raise SourceError(
                f"{source} on a worker is not what it is on the driver: another version of the "
                "code, or a folder that has changed; bring them in line and run the command again"
            )

    def __call__(self, unit: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """unit: {"target" [1], "first" [1], "rows" [1]}; one that holds nothing stays one."""
        first, rows, target = (int(unit[name][0]) for name in ("first", "rows", "target"))
        if first == PADDING:
            return {TARGET: unit[TARGET], schema.SAMPLE_ID: np.full((1, 1), PADDING)}
        if target != self.target:
            self._open(target)
        return {TARGET: unit[TARGET], **self._samples(np.arange(first, first + rows))}

    def _samples(self, sample_ids: np.ndarray) -> dict[str, np.ndarray]:
        batch = {schema.SAMPLE_ID: sample_ids[None], "image": self.generator(sample_ids)[None]}
        labels = self.generator.labels(sample_ids)
        return batch if labels is None else {**batch, schema.LABEL: labels[None]}


class Extract:
    """A stage: what `Generate` gives to the rows of a shard, packed."""

    def __init__(self, texts: Sequence[str], expected: Sequence[Mapping[str, object]]) -> None:
        reproducible()
        self.extractors = [make_extractor(text, device()) for text in texts]
        for extractor, spec in zip(self.extractors, expected, strict=True):
            if extractor.spec != spec:
                raise ExtractorError(
                    f"{extractor.name} on a worker is not what it is on the driver "
                    f"({'; '.join(layout.differences(extractor.spec, spec))}); bring code and "
                    "weights in line on all machines and run the command again"
                )

    def __call__(self, unit: Mapping[str, np.ndarray]) -> pa.Table:
        """unit: one, as `Generate` gives it."""
        sample_ids = unit[schema.SAMPLE_ID][0]
        if sample_ids[0] == PADDING:
            return packed(None)
        images = unit["image"][0]
        labels = unit[schema.LABEL][0] if schema.LABEL in unit else None
        columns: list[Column] = []
        features = {}
        for extractor in self.extractors:
            found = in_blocks(extractor, sample_ids, images, extractor.block)
            for column in schema.columns_of(extractor.name, extractor.columns):
                columns.append(column)
                features[column.name] = found[column.output]
        table = schema.to_table(columns, sample_ids, labels, features)
        told = {DEVICE: device_name(), TARGET: str(int(unit[TARGET][0]))}
        return packed(table.replace_schema_metadata(told))


class GenerateAndExtract:
    """Both stages in one actor, so that images never leave it."""

    def __init__(
        self,
        sources: Sequence[tuple[str, str]],
        extractors: tuple[Sequence[str], Sequence[Mapping[str, object]]],
    ) -> None:
        self.generate, self.extract = Generate(sources), Extract(*extractors)

    def __call__(self, unit: Mapping[str, np.ndarray]) -> pa.Table:
        """unit: {"target" [1], "first" [1], "rows" [1]}."""
        return self.extract(self.generate(unit))
