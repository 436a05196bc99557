"""What an extraction would do: shards, bytes, workers and where they go. Nothing is written."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import ray
import torch

from raymetrics import sample_ranges
from raymetrics.distributed.extraction.continuation import continue_set
from raymetrics.distributed.extraction.dataset_request import (
    named_apart,
    require_shard_rows,
    specification,
)
from raymetrics.distributed.extraction.disk_space import free_bytes, require_room, row_bytes
from raymetrics.distributed.extraction.work_units import Shards, units_of, units_to_a_shard
from raymetrics.distributed.model_sizes import sizes_of
from raymetrics.distributed.nodes import nodes_of_ray, this_machine, with_memory_here
from raymetrics.distributed.placement import grown, place, projected
from raymetrics.distributed.resources import Node, Placement, Resources, Sizes, told
from raymetrics.distributed.session import session
from raymetrics.generators import absolute, open_source, without_broken
from raymetrics.shards import layout
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.shard_files import present_ranges
from raymetrics.shards.store import Store

IN_FLIGHT = 2  # units that Ray gives to an actor at a time


@dataclass(frozen=True)
class ExtractionPlan:
    """What `extract` would do. free: bytes at the target; None: an object store's are unknown.

    placement: None if all shards are there.
    """

    source: str
    to: str
    shards_to_make: int
    shards_present: int
    samples_to_make: int
    samples_present: int
    row_bytes: int
    shard_rows: int
    batch: int
    free: int | None
    where: str
    nodes: tuple[Node, ...]
    sizes: Sizes
    placement: Placement | None

    @property
    def bytes_to_make(self) -> int:
        """Of the shards; a file has some more."""
        return self.samples_to_make * self.row_bytes

    @property
    def worker_bytes(self) -> int:
        """About what one worker takes of its machine's memory, by the weights that are known."""
        fused = self.placement is None or self.placement.fused
        return projected(self.sizes.both if fused else self.sizes.largest)

    @property
    def fullest(self) -> tuple[Node, int]:
        """The node that has the least memory left, and how many workers it may have."""
        assert self.placement is not None
        pools = self.placement.pools
        held = [(node, sum(pool.most_on(node) for pool in pools)) for node in self.nodes]
        some = [(node, workers) for node, workers in held if workers]
        return max(some, key=lambda h: h[1] * self.worker_bytes - (h[0].memory or 0))

    @property
    def store_bytes(self) -> int:
        """About what features take in Ray's object store, all nodes together."""
        assert self.placement is not None
        waiting = (IN_FLIGHT * self.placement.producing.actors + 1) * self.batch
        gathered = (1 + self.placement.commit.actors) * self.shard_rows
        return self.row_bytes * min(waiting + gathered, self.samples_to_make)

    def __str__(self) -> str:
        """For a terminal, line by line."""
        lines = [("to make", self._to_make())]
        if self.placement is not None:
            lines += [
                ("size", self._size()),
                ("cluster", f"{self.where}: {described(self.nodes)}"),
                ("workers", str(self.placement)),
                ("because", self.placement.why),
                ("weights", self._weights()),
                ("memory", self._memory()),
                ("store", self._store()),
            ]
        return "\n".join(
            [f"{self.source} -> {self.to}", *(f"  {name:8}  {text}" for name, text in lines)]
        )

    def _to_make(self) -> str:
        return (
            f"{self.shards_to_make} shards, {self.samples_to_make} samples; "
            f"{self.shards_present} shards, {self.samples_present} samples are there"
        )

    def _size(self) -> str:
        free = "what is free there is not known" if self.free is None else f"{told(self.free)} free"
        return f"{told(self.bytes_to_make)}, {told(self.row_bytes)} a sample; {free}"

    def _weights(self) -> str:
        made, used = (
            "unknown" if size is None else told(size) if size else "none"
            for size in (self.sizes.generator, self.sizes.extractors)
        )
        return f"generator {made}, extractors {used}; what they compute with is not counted"

    def _memory(self) -> str:
        node, workers = self.fullest
        text = f"about {told(self.worker_bytes)} a worker, {told(workers * self.worker_bytes)} on "
        if node.memory is None:
            return f"{text}a node, of an unknown amount"
        short = workers * self.worker_bytes > node.memory
        warning = "; workers may be killed for memory: ask for fewer --actors" if short else ""
        return f"{text}a node that has {told(node.memory)}{warning}"

    def _store(self) -> str:
        assert self.placement is not None
        text = f"about {told(self.store_bytes)} of features in Ray's object store"
        if self.placement.fused:
            return f"{text}, and no images"
        images = IN_FLIGHT * self.batch * (self.placement.generate.actors + 1)
        return f"{text}, and some {images} images on their way between the pools"


def plan_of(
    source: str,
    extractors: Sequence[str],
    to: str,
    samples: range | str | None = None,
    *,
    shard_rows: int = 2048,
    resources: Resources | None = None,
    skip_broken: int = 0,
) -> ExtractionPlan:
    """What `extract` would do with the same arguments; loads the models, starts and writes nothing.

    It asks the cluster that this process has joined, or that RAY_ADDRESS names; otherwise it
    describes what a Ray that is started here would have. Raises what `extract` raises before it
    begins; PlanTooLarge, with the figures, for what cannot be.
    """
    require_shard_rows(shard_rows)
    resources, source, store = resources or Resources(), absolute(source), Store(to)
    store.names()  # a place that cannot be used is found before anything is loaded
    if skip_broken:
        source, _ = without_broken(source, skip_broken)
    texts, networks = named_apart(extractors)
    generator = open_source(source, torch.device("cpu"))
    asked = specification(source, generator, texts, networks, samples, shard_rows)
    asked, _ = continue_set(store, asked, generator, networks)
    spec, present = there_already(store, asked)
    todo = layout.missing(spec, present, asked.samples)
    rows = sample_ranges.count(todo)
    require_room(store, rows * row_bytes(spec))
    where, nodes = machines(resources)
    sizes = sizes_of(generator, networks)
    units = count_of_units(todo, spec.shard_rows, resources.batch)
    return ExtractionPlan(
        source=source,
        to=to,
        shards_to_make=len(todo),
        shards_present=sum(1 for ids in present if sample_ranges.overlaps(ids, asked.samples)),
        samples_to_make=rows,
        samples_present=sample_ranges.count(asked.samples) - rows,
        row_bytes=row_bytes(spec),
        shard_rows=spec.shard_rows,
        batch=resources.batch,
        free=free_bytes(store),
        where=where,
        nodes=tuple(nodes),
        sizes=sizes,
        placement=place(nodes, sizes, resources, units) if todo else None,
    )


def there_already(store: Store, asked: DatasetSpec) -> tuple[DatasetSpec, list[range]]:
    """What `layout.entered` gives, the set and its shards, but for what that writes."""
    there, names = layout.read_spec(store), store.names()
    if there is None:
        return asked, layout.shard_ranges(names)
    wanted = [*there.samples, *asked.samples]
    present = present_ranges(store, names, wanted, there.shard_rows)
    if present:
        layout.require_same(there, asked, store)
    same = there.fingerprint == asked.fingerprint
    return replace(asked, shard_rows=there.shard_rows if same else asked.shard_rows), present


def count_of_units(todo: Sequence[range], shard_rows: int, batch: int) -> int:
    """The units of these shards, as the stream cuts them."""
    most = units_to_a_shard(shard_rows, batch)
    return sum(map(len, units_of(Shards([todo]), batch, most)))


def machines(resources: Resources) -> tuple[str, list[Node]]:
    """What they are called, and the machines that work would be placed on."""
    if not ray.is_initialized() and os.environ.get("RAY_ADDRESS", "local") == "local":
        where, nodes = "this machine", [this_machine(resources.gpu_memory)]
    else:
        with session():
            where, nodes = "the cluster", with_memory_here(nodes_of_ray(resources.gpu_memory))
    larger = grown(nodes, resources)
    return (where if len(larger) == len(nodes) else f"{where}, grown"), larger


def described(nodes: Sequence[Node]) -> str:
    """ "1 x 2 CPUs, 21.6 GB free; 4 x 8 CPUs, 4 GPUs (80.0 GB each), 500.0 GB free"."""
    alike = itertools.groupby(sorted(nodes, key=figures), key=figures)
    return "; ".join(said_of(list(some)) for _, some in alike)


def figures(node: Node) -> tuple[float, int, int]:
    """What nodes must share to be told together; -1: not known."""
    return node.cpus, node.gpus, node.gpu_memory or -1


def said_of(alike: Sequence[Node]) -> str:
    """Such nodes, with the memory of the one that has least."""
    node = alike[0]
    each = "unknown" if node.gpu_memory is None else told(node.gpu_memory)
    gpus = f", {node.gpus} GPUs ({each} each)" if node.gpus else ""
    least = min((n.memory for n in alike if n.memory is not None), default=None)
    free = "" if least is None else f", {told(least)} free"
    return f"{len(alike)} x {node.cpus:g} CPUs{gpus}{free}"
