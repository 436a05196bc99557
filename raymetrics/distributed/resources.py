"""Records of a layout on a cluster: requested resources, existing nodes, planned pools."""

from __future__ import annotations

from dataclasses import dataclass

from raymetrics.errors import SampleRangeError

# More than any cluster has; plans hold something for each.
_MAX_VALUES = {
    "actors": 10**6,
    "batch": 10**6,
    "generators": 10**6,
    "gpus": 10**6,
    "gpu_memory": 10**15,
}


@dataclass(frozen=True)
class Resources:
    """What a user asks for; None: raymetrics chooses. No field changes a number.

    actors: workers that extract; None: one per GPU, or per CPU without any.
    batch: samples that go through an actor at a time.
    fused: both networks in one actor, so that images never leave it; False: two pools.
    generators: workers of the other pool; None: as many.
    gpus: on how many to count, of a cluster that grows to them.
    gpu_memory: bytes of each GPU, where its name does not tell.
    local: compute in this process, and start no Ray; False: on Ray; None: in this process if the
    work is small.
    """

    actors: int | None = None
    batch: int = 64
    fused: bool | None = None
    generators: int | None = None
    gpus: int | None = None
    gpu_memory: int | None = None
    local: bool | None = None

    def __post_init__(self) -> None:
        for name, maximum in _MAX_VALUES.items():
            value = getattr(self, name)
            if value is not None and not 1 <= value <= maximum:
                raise SampleRangeError(f"{name} is {value}, expected 1 to {maximum}")
        if self.local:
            self._require_no_workers()
        if self.fused and self.generators is not None:
            raise SampleRangeError("generators are a pool of their own, so they cannot be fused")

    def _require_no_workers(self) -> None:
        """Raise SampleRangeError if a local run is given a number of workers."""
        for name in ("actors", "fused", "generators", "gpus"):
            if getattr(self, name) is not None:
                raise SampleRangeError(
                    f"local computes in this process, without workers; leave {name} out"
                )

    @property
    def in_process(self) -> bool | None:
        """Whether the work runs in this process: never with workers; None: raymetrics chooses."""
        workers = (self.actors, self.fused, self.generators, self.gpus)
        return self.local if all(value is None for value in workers) else False

    @property
    def two_pools(self) -> bool | None:
        """Whether the user asks for two pools; None: raymetrics chooses."""
        if self.generators is not None:
            return True
        return None if self.fused is None else not self.fused


@dataclass(frozen=True)
class ClusterNode:
    """A machine of the cluster. memory: bytes; gpu_memory: bytes of each GPU; None: unknown."""

    cpus: float
    gpus: int = 0
    memory: int | None = None
    gpu_memory: int | None = None


@dataclass(frozen=True)
class ModelSizes:
    """Bytes of the weights, without what networks need to compute; None: unknown."""

    generator: int | None = None
    extractors: int | None = None

    @property
    def total(self) -> int:
        """The known bytes of both."""
        return (self.generator or 0) + (self.extractors or 0)

    @property
    def maximum(self) -> int:
        """The known bytes of the larger one."""
        return max(self.generator or 0, self.extractors or 0)


UNKNOWN_SIZES = ModelSizes()


@dataclass(frozen=True)
class ActorPool:
    """Actors that ask Ray for equal resources.

    memory: bytes; 0: they ask for no memory. threads: for the decoding of images in each actor;
    they are not reserved, as one CPU each is enough for everything else.
    """

    actors: int
    cpus: float
    gpus: float = 0.0
    memory: int = 0
    threads: int = 1

    @property
    def resources_text(self) -> str:
        """The resources of one actor, in words."""
        gpus = f"{self.gpus:.4g} GPU, " if self.gpus else ""
        return f"{gpus}{self.cpus:.4g} CPU each"

    def max_actors_on(self, node: ClusterNode) -> int:
        """Return how many of the actors a node can have."""
        requirements = ((self.cpus, node.cpus), (self.gpus, node.gpus), (self.memory, node.memory))
        room = [int((has + 1e-9) / part) for part, has in requirements if part and has is not None]
        return min([self.actors, *room])


@dataclass(frozen=True)
class Placement:
    """Where shards are made, and the reason for it.

    workers: make and commit shards. generators: the processes of each worker that generate for it,
    on its machine and with its resources; with 0 it generates itself. generator_gpus: whole GPUs of
    each of these, which are among those of the worker; with 0 they share its one, or take none.
    """

    workers: ActorPool
    reason: str
    generators: int = 0
    generator_gpus: int = 0

    @property
    def fused(self) -> bool:
        """Whether images stay in the process that generates them."""
        return not self.generators

    @property
    def generator_count(self) -> int:
        """The processes that generate alone."""
        return self.workers.actors * self.generators

    def __str__(self) -> str:
        """Return "2 to generate, extract and commit (1 CPU each)"."""
        actors, text = self.workers.actors, self.workers.resources_text
        if self.fused:
            return f"{actors} to generate, extract and commit ({text})"
        gpu_text = "a GPU" if self.generator_gpus else "no GPU of its own"
        extra = f", with {gpu_text}" if self.workers.gpus else ""
        return (
            f"{actors} to extract and commit ({text}), {self.generators} to generate for "
            f"each{extra}"
        )


LOCAL_PLACEMENT = Placement(ActorPool(1, 1.0), "all stages run in this process")


def format_bytes(size: int) -> str:
    """Return a size in words: 1_234_567 -> "1.2 MB"."""
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size / 1000:.1f} kB"
