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
from raymetrics.streaming.commit import DEVICE, PADDING, CommitShard, packed
from raymetrics.streaming.devices import device, device_name, reproducible
from raymetrics.streaming.resources import Resources, Share, share
from raymetrics.streaming.session import NO_PROGRESS_SECONDS
from raymetrics.streaming.units import Units, units_of, units_to_a_shard

COMMITTERS = 1  # an actor that mostly waits for the store, not for a processor
MANY = 4096  # units; so many keep any cluster busy


@dataclass(frozen=True)
class Plan:
    """What is to be made: the shards `todo` of a set at `uri`; listing: of its generator.

    todo: ascending; cut at the multiples of the set's `shard_rows`; may be endless if a gate
    (an actor, see `raymetrics.streaming.units`) says how far the stream goes.
    logits: the column of which the rows are to tell the Top-1 classes.
    """

    spec: DatasetSpec
    listing: str
    todo: Iterable[range]
    uri: str
    logits: str | None = None
    gate: Any = None


class Made(NamedTuple):
    """A shard that is committed. made: False if it was there already. classes: int64 [rows]."""

    ids: range
    rows: int
    made: bool
    device: str
    classes: np.ndarray | None


def stream(plan: Plan, resources: Resources) -> Iterator[Made]:
    """Makes the planned shards; yields one row per shard, in order, once it is committed."""
    most = units_to_a_shard(plan.spec.shard_rows, resources.batch)
    shards = units_of(plan.todo, resources.batch, most)
    some = sum(map(len, itertools.islice(shards, MANY // most + 1)))
    mine = share(resources, at_most=some)
    dataset = ray.data.read_datasource(
        Units(plan.todo, resources.batch, most, plan.gate),
        override_num_blocks=1,
        concurrency=1,
        num_cpus=0,  # it only waits, and must not wait for a processor that actors hold
    )
    configure(dataset.context)
    source = (plan.spec.source, plan.listing)
    extractors = (plan.spec.asked, plan.spec.extractors)
    if resources.fused:
        dataset = pool(dataset, GenerateAndExtract, (source, extractors), mine)
    else:
        # A share above half keeps two generators off one GPU, so that each gets an extractor.
        dataset = pool(dataset, Generate, source, mine, of_gpu=0.7)
        dataset = pool(dataset, Extract, extractors, mine, of_gpu=0.3)
    shards_made = dataset.map_batches(
        CommitShard,
        fn_constructor_args=(plan.uri, plan.spec.fingerprint, plan.todo, plan.logits),
        batch_size=most,
        batch_format="pyarrow",
        # Asks for no CPU, so that no loss of a node can leave it without one.
        num_cpus=0,
        compute=ActorPoolStrategy(size=COMMITTERS),
    )
    # A batch that is fetched ahead would be told with the next one, which may wait for it.
    for row in shards_made.iter_batches(batch_size=None, prefetch_batches=0, batch_format="numpy"):
        yield made_of(row)


def made_of(row: Mapping[str, Any]) -> Made:
    """What the last stage told of a shard."""
    first, rows = int(row["first"][0]), int(row["rows"][0])
    classes = row["classes"][0] if "classes" in row else None
    made, where = bool(row["made"][0]), str(row["device"][0])
    return Made(range(first, first + rows), rows, made, where, classes)


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
    """A stage: units to {"sample_id" int64 [1, n], "image" uint8 [1, n, 3, h, w], "label"}.

    One row holds a whole unit, as everywhere in the stream.
    """

    def __init__(self, source: str, expected: str) -> None:
        reproducible()
        self.generator = open_source(source, device())
        if listing(self.generator) != expected:
            raise SourceError(
                f"{source} on a worker is not what it is on the driver: another version of the "
                "code, or a folder that has changed; bring them in line and run the command again"
            )

    def __call__(self, unit: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """unit: {"first" [1], "rows" [1]}; one that holds nothing stays one."""
        first, rows = int(unit["first"][0]), int(unit["rows"][0])
        if first == PADDING:
            return {schema.SAMPLE_ID: np.full((1, 1), PADDING)}
        return self._samples(np.arange(first, first + rows))

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
        return packed(table.replace_schema_metadata({DEVICE: device_name()}))


class GenerateAndExtract:
    """Both stages in one actor, so that images never leave it."""

    def __init__(
        self,
        source: tuple[str, str],
        extractors: tuple[Sequence[str], Sequence[Mapping[str, object]]],
    ) -> None:
        self.generate, self.extract = Generate(*source), Extract(*extractors)

    def __call__(self, unit: Mapping[str, np.ndarray]) -> pa.Table:
        """unit: {"first" [1], "rows" [1]}."""
        return self.extract(self.generate(unit))
