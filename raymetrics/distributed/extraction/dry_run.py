"""The plan of an extraction: shards, bytes, workers and their machines. Nothing is written."""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import torch

from raymetrics import sample_ranges
from raymetrics.distributed.extraction.continuation import continue_set
from raymetrics.distributed.extraction.dataset_request import (
    load_extractors,
    make_spec,
    require_shard_rows,
)
from raymetrics.distributed.extraction.disk_space import free_bytes, require_disk_space, row_bytes
from raymetrics.distributed.model_sizes import measure_model_sizes
from raymetrics.distributed.nodes import cluster_nodes, this_machine, with_local_gpu_memory
from raymetrics.distributed.placement import (
    estimate_worker_bytes,
    plan_placement,
    with_expected_gpus,
)
from raymetrics.distributed.resources import (
    LOCAL_PLACEMENT,
    ClusterNode,
    ModelSizes,
    Placement,
    Resources,
    format_bytes,
)
from raymetrics.distributed.session import is_local, ray_is_running, session
from raymetrics.generators import absolute_source, open_source, skip_broken_images
from raymetrics.shards import layout
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.shard_files import present_ranges
from raymetrics.shards.store import Store


@dataclass(frozen=True)
class ExtractionPlan:
    """The plan of `extract`.

    free: bytes at the target, None for an object store. placement: None if all shards exist.
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
    cluster_name: str
    nodes: tuple[ClusterNode, ...]
    sizes: ModelSizes
    placement: Placement | None

    @property
    def bytes_to_make(self) -> int:
        """The bytes of the shards' values; a file has some more."""
        return self.samples_to_make * self.row_bytes

    @property
    def worker_bytes(self) -> int:
        """About the memory that a worker takes of its machine, by the weights that are known."""
        fused = self.placement is None or self.placement.fused
        return estimate_worker_bytes(self.sizes.total if fused else self.sizes.maximum)

    @property
    def fullest_node(self) -> tuple[ClusterNode, int]:
        """The node that has the least memory left, and how many processes it may have."""
        assert self.placement is not None
        placement = self.placement
        process_counts = [
            (node, placement.workers.max_actors_on(node) * (1 + placement.generators))
            for node in self.nodes
        ]
        used_nodes = [(node, processes) for node, processes in process_counts if processes]
        return max(used_nodes, key=lambda h: h[1] * self.worker_bytes - (h[0].memory or 0))

    def __str__(self) -> str:
        """Return the plan for a terminal, line by line."""
        lines = [("to make", self._to_make())]
        if self.placement is not None:
            lines += [
                ("size", self._size()),
                ("cluster", f"{self.cluster_name}: {_format_nodes(self.nodes)}"),
                ("workers", str(self.placement)),
                ("because", self.placement.reason),
                ("weights", self._weights()),
                ("memory", self._memory()),
            ]
            if self.placement is not LOCAL_PLACEMENT:
                lines.append(("store", self._store()))
        return "\n".join(
            [f"{self.source} -> {self.to}", *(f"  {name:8}  {text}" for name, text in lines)]
        )

    def _to_make(self) -> str:
        return (
            f"{self.shards_to_make} shards, {self.samples_to_make} samples; "
            f"{self.shards_present} shards, {self.samples_present} samples are there"
        )

    def _size(self) -> str:
        free = (
            "what is free there is not known"
            if self.free is None
            else f"{format_bytes(self.free)} free"
        )
        return (
            f"{format_bytes(self.bytes_to_make)}, {format_bytes(self.row_bytes)} a sample; {free}"
        )

    def _weights(self) -> str:
        generator, extractors = (
            "unknown" if size is None else format_bytes(size) if size else "none"
            for size in (self.sizes.generator, self.sizes.extractors)
        )
        return (
            f"generator {generator}, extractors {extractors}; what they compute with is not counted"
        )

    def _memory(self) -> str:
        node, workers = self.fullest_node
        together = workers * self.worker_bytes
        text = f"about {format_bytes(self.worker_bytes)} a worker, {format_bytes(together)} on "
        if node.memory is None:
            return f"{text}a node, of an unknown amount"
        short = together > node.memory
        warning = "; workers may be killed for memory: ask for fewer --actors" if short else ""
        return f"{text}a node that has {format_bytes(node.memory)}{warning}"

    def _store(self) -> str:
        assert self.placement is not None
        if self.placement.fused:
            return "neither images nor features in Ray's object store"
        images = self.batch * (self.placement.generator_count + self.placement.workers.actors)
        return f"some {images} images on their way to extractors in Ray's object store"


def plan_extraction(
    source: str,
    extractors: Sequence[str],
    to: str,
    samples: range | str | None = None,
    *,
    shard_rows: int = 2048,
    resources: Resources | None = None,
    skip_broken: int = 0,
) -> ExtractionPlan:
    """Return what `extract` would do with the same arguments; load the models, but write nothing.

    Describes the cluster that this process has joined, or that RAY_ADDRESS names; otherwise what a
    Ray that is started here would have. Raises what `extract` raises before it begins;
    InsufficientResources, with the figures, for a plan that does not fit.
    """
    require_shard_rows(shard_rows)
    resources, source, store = resources or Resources(), absolute_source(source), Store(to)
    store.require_usable()
    if skip_broken:
        source, _ = skip_broken_images(source, skip_broken)
    texts, networks = load_extractors(extractors)
    generator = open_source(source, torch.device("cpu"))
    requested_spec = make_spec(source, generator, texts, networks, samples, shard_rows)
    names = store.names()
    requested_spec, _ = continue_set(store, requested_spec, generator, networks, names)
    spec, present = _existing_shards(store, requested_spec, names)
    todo = layout.missing_shards(spec, present, requested_spec.samples)
    rows = sample_ranges.count_ids(todo)
    require_disk_space(store, rows * row_bytes(spec))
    local = resources.local or is_local()
    cluster_name, nodes = _find_nodes(resources, local)
    sizes = measure_model_sizes(generator, networks)
    placement = None
    if todo:
        placement = LOCAL_PLACEMENT if local else plan_placement(nodes, sizes, resources, len(todo))
    return ExtractionPlan(
        source=source,
        to=to,
        shards_to_make=len(todo),
        shards_present=sum(
            1 for ids in present if sample_ranges.overlaps(ids, requested_spec.samples)
        ),
        samples_to_make=rows,
        samples_present=sample_ranges.count_ids(requested_spec.samples) - rows,
        row_bytes=row_bytes(spec),
        shard_rows=spec.shard_rows,
        batch=resources.batch,
        free=free_bytes(store),
        cluster_name=cluster_name,
        nodes=tuple(nodes),
        sizes=sizes,
        placement=placement,
    )


def _existing_shards(
    store: Store, requested_spec: DatasetSpec, names: Collection[str]
) -> tuple[DatasetSpec, list[range]]:
    """Return the set and its existing shards, as `layout.open_for_writing`, but write nothing."""
    existing_spec = layout.read_spec(store)
    if existing_spec is None:
        return requested_spec, layout.shard_ranges(names)
    wanted = [*existing_spec.samples, *requested_spec.samples]
    present = present_ranges(store, names, wanted, existing_spec.shard_rows)
    if present:
        layout.require_same_spec(existing_spec, requested_spec, store)
    same = existing_spec.fingerprint == requested_spec.fingerprint
    return replace(
        requested_spec, shard_rows=existing_spec.shard_rows if same else requested_spec.shard_rows
    ), present


def _find_nodes(resources: Resources, local: bool) -> tuple[str, list[ClusterNode]]:
    """Return what the machines are called, and the machines that work would be placed on."""
    if local:
        return "this process", [this_machine(resources.gpu_memory)]
    if not ray_is_running() and os.environ.get("RAY_ADDRESS", "local") == "local":
        cluster_name, nodes = "this machine", [this_machine(resources.gpu_memory)]
    else:
        with session():
            cluster_name, nodes = (
                "the cluster",
                with_local_gpu_memory(cluster_nodes(resources.gpu_memory)),
            )
    larger = with_expected_gpus(nodes, resources)
    return (cluster_name if len(larger) == len(nodes) else f"{cluster_name}, grown"), larger


def _format_nodes(nodes: Sequence[ClusterNode]) -> str:
    """Format nodes as "1 x 2 CPUs, 21.6 GB free; 4 x 8 CPUs, 4 GPUs (80.0 GB each), 50 GB free"."""
    groups = itertools.groupby(sorted(nodes, key=_node_key), key=_node_key)
    return "; ".join(_format_equal_nodes(list(group)) for _, group in groups)


def _node_key(node: ClusterNode) -> tuple[float, int, int]:
    """Return the key of nodes that are shown together; -1 for an unknown GPU memory."""
    return node.cpus, node.gpus, node.gpu_memory or -1


def _format_equal_nodes(nodes: Sequence[ClusterNode]) -> str:
    """Return equal nodes as text, with the memory of the node that has least."""
    node = nodes[0]
    gpu_size = "unknown" if node.gpu_memory is None else format_bytes(node.gpu_memory)
    gpus = f", {node.gpus} GPUs ({gpu_size} each)" if node.gpus else ""
    least_memory = min((n.memory for n in nodes if n.memory is not None), default=None)
    free = "" if least_memory is None else f", {format_bytes(least_memory)} free"
    return f"{len(nodes)} x {node.cpus:g} CPUs{gpus}{free}"
