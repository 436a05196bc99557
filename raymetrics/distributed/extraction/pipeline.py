"""Sample ids -> generator actors -> extractor actors -> shards.

Units flow in order; a stage at the end gathers those of one shard, commits it, and hands one row
to the driver, where the progress is told and, of a match, decided how far the stream goes on.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset
from ray.exceptions import RayActorError

from raymetrics.distributed.cluster_resources import placement
from raymetrics.distributed.extraction.commit_stage import ACCOUNT, CommitShard, Place
from raymetrics.distributed.extraction.retry_limit import MOST, attempts
from raymetrics.distributed.extraction.stages import Extract, Generate, GenerateAndExtract
from raymetrics.distributed.extraction.unit_record import COMMIT, EXTRACT, GENERATE, Account
from raymetrics.distributed.extraction.usage import Spent, Workers
from raymetrics.distributed.extraction.work_units import (
    Shard,
    Shards,
    Units,
    units_of,
    units_to_a_shard,
)
from raymetrics.distributed.resources import UNKNOWN, Placement, Pool, Resources, Sizes
from raymetrics.distributed.session import NO_PROGRESS_SECONDS
from raymetrics.shards.layout import DatasetSpec

MANY = 4096  # units; so many keep any cluster busy


@dataclass(frozen=True)
class Target:
    """The shards `todo` of a set at `uri`; listing: of its generator.

    extractors: the specifications that workers must find, where the set keeps older ones.
    todo: ascending; cut at the multiples of the set's `shard_rows`; may be endless if a gate
    says how far the stream goes.
    """

    spec: DatasetSpec
    listing: str
    todo: Iterable[range]
    uri: str
    extractors: Sequence[Mapping[str, object]] = ()


@dataclass(frozen=True)
class Plan:
    """What is to be made: sets of the same extractors, one after another by the same actors.

    logits: the column of which the rows are to tell the Top-1 classes. gate: an actor that says
    how far the stream goes, see `raymetrics.distributed.extraction.work_units`. most_left_out:
    how many samples a
    shard may lack because they cannot be made. sizes: of the weights of the largest generator and
    the extractors.
    """

    targets: Sequence[Target]
    logits: str | None = None
    gate: Any = None
    most_left_out: int = 0
    sizes: Sizes = UNKNOWN

    @property
    def extractors(self) -> tuple[Sequence[str], Sequence[Mapping[str, object]]]:
        """The texts that ask for the extractors of all sets, and the specifications they have."""
        target = self.targets[0]
        return target.spec.asked, target.extractors or target.spec.extractors

    @property
    def shards(self) -> Iterable[Shard]:
        """What is to be made, in order."""
        return Shards([target.todo for target in self.targets])

    def units_to_a_shard(self, batch: int) -> int:
        """The most units that a shard of any set has."""
        return max(units_to_a_shard(target.spec.shard_rows, batch) for target in self.targets)


class Made(NamedTuple):
    """A shard that is committed, or that cannot be made.

    account: whose it is, its samples, and what happened to them. made: False if it was there
    already. classes: int64 [rows].
    """

    account: Account
    made: bool
    classes: np.ndarray | None = None

    @property
    def target(self) -> int:
        """Of which set."""
        return self.account.target

    @property
    def ids(self) -> range:
        """The samples that it stands for."""
        return self.account.ids

    @property
    def rows(self) -> int:
        """Those that it holds."""
        failed = self.account.failure is not None
        return 0 if failed else len(self.ids) - len(self.account.left_out)

    def checked(self) -> Made:
        """Itself; raises what went wrong."""
        error = self.account.error()
        if error is not None:
            raise error
        return self


def stream(plan: Plan, resources: Resources, spent: Spent | None = None) -> Iterator[Made]:
    """Makes the planned shards; yields one row per shard, in order, once it is committed.

    What cannot be made is told in its place, and the others are made. Raises what concerns them
    all: extractors that cannot be had, a store that does not answer, a cluster that is lost.
    spent: is told what was used.
    """
    spent, counted = spent or Spent(), attempts()
    try:
        made = pipeline(plan, resources, counted, spent)
        # A batch that is fetched ahead would be told with the next one, which may wait for it.
        for row in made.iter_batches(batch_size=None, prefetch_batches=0, batch_format="numpy"):
            shard = made_of(row)
            spent.add(shard.account)
            yield shard
        with suppress(RayActorError):  # all is made, whatever became of who counted
            spent.end(lost=ray.get(counted.lost.remote()))
    finally:
        ray.kill(counted)


def pipeline(plan: Plan, resources: Resources, counted: Any, spent: Spent) -> Dataset:
    """The stages one after another; nothing runs yet. spent: is told of the actors."""
    most = plan.units_to_a_shard(resources.batch)
    shards = units_of(plan.shards, resources.batch, most)
    some = sum(map(len, itertools.islice(shards, MANY // most + 1)))
    dataset = ray.data.read_datasource(
        Units(plan.shards, resources.batch, most, plan.gate),
        override_num_blocks=1,
        concurrency=1,
        num_cpus=0,  # it only waits, and must not wait for a processor that actors hold
    )
    dataset.set_name("raymetrics")
    configure(dataset.context)
    place = placement(resources, some, plan.sizes)
    sources = [(target.spec.source, target.listing) for target in plan.targets]
    spent.begin(workers(place))
    if place.extract is None:
        both = sources, plan.extractors, counted
        dataset = pool(dataset, GenerateAndExtract, both, place.generate)
    else:
        dataset = pool(dataset, Generate, (sources, counted), place.generate)
        dataset = pool(dataset, Extract, (*plan.extractors, counted), place.extract)
    return dataset.map_batches(
        CommitShard,
        fn_constructor_args=(places(plan), plan.logits, plan.most_left_out),
        batch_size=most,
        batch_format="pyarrow",
        # Asks for no CPU, so that no loss of a node can leave it without one.
        num_cpus=0,
        compute=ActorPoolStrategy(size=place.commit.actors),
    )


def workers(place: Placement) -> list[Workers]:
    """The pools, as they are accounted for."""
    stages = [(GENERATE, EXTRACT)] if place.fused else [(GENERATE,), (EXTRACT,)]
    computing = zip(stages, place.pools, strict=True)
    pools = [Workers(does, pool.actors, pool.actors * pool.gpus) for does, pool in computing]
    return [*pools, Workers((COMMIT,), place.commit.actors)]


def places(plan: Plan) -> list[Place]:
    """Where the last stage commits what."""
    return [Place(t.uri, t.spec.fingerprint, t.todo) for t in plan.targets]


def made_of(row: Mapping[str, Any]) -> Made:
    """What the last stage told of a shard."""
    classes = row["classes"][0] if "classes" in row else None
    return Made(Account.from_json(str(row[ACCOUNT][0])), bool(row["made"][0]), classes)


def pool(dataset: Dataset, stage: type, arguments: tuple[object, ...], pool: Pool) -> Dataset:
    """One more stage: a fixed number of actors that take one unit at a time."""
    return dataset.map_batches(
        stage,
        fn_constructor_args=arguments,
        batch_size=1,
        num_cpus=pool.cpus,
        num_gpus=pool.gpus or None,
        memory=pool.memory or None,
        compute=ActorPoolStrategy(size=pool.actors),
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
    # An actor that dies while it loads its models is replaced; one that always does ends the run.
    context.max_consecutive_actor_init_deaths = MOST
    context.raise_original_map_exception = True  # so that `session` can tell ours from bugs
