"""Generate batches of samples, in this process or in processes that do nothing else."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from raymetrics import sample_ranges
from raymetrics.devices.failures import is_device_lost, is_out_of_memory
from raymetrics.distributed.devices import (
    machine_kind,
    use_deterministic_kernels,
    worker_device,
)
from raymetrics.distributed.extraction.stream_control import MAX_ATTEMPTS
from raymetrics.distributed.reserved_gpus import SHARED_GPUS
from raymetrics.errors import (
    InsufficientResources,
    RaymetricsError,
    SourceError,
    TemporaryFailure,
)
from raymetrics.generators import Generator, open_source, quick_fingerprint
from raymetrics.generators.base import find_prompts, generate_tensors

_NO_IMAGES = torch.empty((0, 3, 0, 0), dtype=torch.uint8)


class GeneratedSamples(NamedTuple):
    """The samples that a generator made.

    sample_ids: int64 [n]. images: uint8 [n, 3, h, w], on any device. labels: int64 [n] or None.
    left_out: the requested samples that cannot be made, and why. one_by_one: whether they were
    generated one after another. made_on: the kind of machine, if it is not that of the caller.
    prompts: the texts that they were made from, or None.
    """

    sample_ids: np.ndarray
    images: Tensor
    labels: np.ndarray | None
    left_out: dict[int, str]
    one_by_one: bool
    made_on: tuple[str, ...] = ()
    prompts: list[str] | None = None


class SampleGenerator(Protocol):
    """Generates samples of the sources of a plan."""

    def generate(self, target: int, sample_ids: np.ndarray) -> GeneratedSamples:
        """Generate samples, int64 [n], of one source; RaymetricsError if none can be made."""


class LocalGenerator:
    """Generates in this process, and holds one generator at a time, as each takes memory.

    sources: the source of every target, with the quick fingerprint of its generator. threads: for
    the images of a data set.
    """

    def __init__(self, sources: Sequence[tuple[str, str]], threads: int = 1) -> None:
        use_deterministic_kernels()
        self.sources, self.threads = sources, threads
        self.target: int | None = None
        self.generator_or_error: Generator | RaymetricsError | None = None
        self._lock = threading.Lock()

    def generate(self, target: int, sample_ids: np.ndarray) -> GeneratedSamples:
        """Generate in several threads at a time, if the generator allows it."""
        with self._lock:
            generator = self._open_generator(target)
            if not is_thread_safe(generator):
                return generate_samples(generator, sample_ids)
        return generate_samples(generator, sample_ids)

    def _open_generator(self, target: int) -> Generator:
        """Return the generator of this target, or raise the error with which it was opened.

        The generator of the target before is released first.
        """
        if target != self.target:
            self.generator_or_error = None
            try:
                self.generator_or_error = open_verified_generator(*self.sources[target])
            except TemporaryFailure:
                raise
            except RaymetricsError as error:
                self.generator_or_error = error
            self.target = target
            if hasattr(self.generator_or_error, "threads"):
                self.generator_or_error.threads = self.threads
        if isinstance(self.generator_or_error, RaymetricsError):
            raise self.generator_or_error
        assert self.generator_or_error is not None
        return self.generator_or_error


class GeneratorProcess(LocalGenerator):
    """A `LocalGenerator` as an actor, whose images travel by the object store."""

    def generate(self, target: int, sample_ids: np.ndarray) -> GeneratedSamples:
        """Generate samples; the images are on the CPU."""
        samples = super().generate(target, sample_ids)
        return samples._replace(images=samples.images.cpu(), made_on=(machine_kind(),))


class RemoteGenerator:
    """Generates in processes of this worker's own, on its machine and on its GPUs.

    Ray reserves everything for the worker and ends the processes with it, so that a generator is
    never without its extractors, nor on another machine. gpus: of the machine, for each process one
    or none.
    """

    def __init__(self, sources: Sequence[tuple[str, str]], gpus: Sequence[str | None]) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for gpu in gpus:
            shown = {"CUDA_VISIBLE_DEVICES": gpu or "", SHARED_GPUS: gpu or ""}
            process = ray.remote(GeneratorProcess).options(
                num_cpus=0,
                max_restarts=-1,
                scheduling_strategy=here,
                runtime_env={"env_vars": shown},
            )
            self._idle.put(process.remote(sources))

    def generate(self, target: int, sample_ids: np.ndarray) -> GeneratedSamples:
        """Generate in the first process that is idle, and again in another one if it dies.

        Raises SourceError for samples that end their process `MAX_ATTEMPTS` times.
        """
        import ray

        for _ in range(MAX_ATTEMPTS):
            process = self._idle.get()
            try:
                samples: GeneratedSamples = ray.get(process.generate.remote(target, sample_ids))
                return samples
            except ray.exceptions.RayActorError:
                continue  # Ray starts the process again
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None
            finally:
                self._idle.put(process)
        raise worker_death_error(range(int(sample_ids[0]), int(sample_ids[-1]) + 1), MAX_ATTEMPTS)


def generate_samples(generator: Generator, sample_ids: np.ndarray) -> GeneratedSamples:
    """Generate the samples with these ids, int64 [n].

    If that fails, each sample is generated by itself: a failure that does not come again is
    ignored, and every sample that fails again is listed in `left_out`. Raises the failures of which
    no sample is the reason: a store that does not answer, memory that is too small for the images
    together, a GPU that was lost.
    """
    try:
        images, labels, prompts = _call_generator(generator, sample_ids)
        return GeneratedSamples(sample_ids, images, labels, {}, False, prompts=prompts)
    except RaymetricsError as error:
        if not _concerns_samples(error):
            raise
        return _generate_one_by_one(generator, sample_ids, error)


def _concerns_samples(error: RaymetricsError) -> bool:
    """Return whether samples may be the reason of an error."""
    if isinstance(error, TemporaryFailure | InsufficientResources):
        return False
    return not (is_device_lost(error) or is_out_of_memory(error))


def _generate_one_by_one(
    generator: Generator, sample_ids: np.ndarray, error: RaymetricsError
) -> GeneratedSamples:
    """Generate each sample by itself.

    error: the failure of all samples together, which is raised if the images of single samples have
    different shapes.
    """
    parts: list[tuple[Tensor, np.ndarray | None, list[str] | None]] = []
    left_out: dict[int, str] = {}
    for sample in sample_ids:
        try:
            parts.append(_call_generator(generator, np.array([sample])))
        except RaymetricsError as sample_error:
            alone = isinstance(sample_error, InsufficientResources)
            if not alone and not _concerns_samples(sample_error):
                raise
            left_out[int(sample)] = sample_error.message
    if not parts:
        return GeneratedSamples(sample_ids[:0], _NO_IMAGES, None, left_out, True)
    if len({images.shape for images, _, _ in parts}) > 1:
        raise error
    labels = [label for _, label, _ in parts if label is not None]
    prompts = [text for _, _, texts in parts if texts is not None for text in texts]
    return GeneratedSamples(
        np.array([sample for sample in sample_ids if sample not in left_out]),
        torch.cat([images for images, _, _ in parts]),
        np.concatenate(labels) if labels else None,
        left_out,
        True,
        prompts=prompts or None,
    )


def _call_generator(
    generator: Generator, sample_ids: np.ndarray
) -> tuple[Tensor, np.ndarray | None, list[str] | None]:
    """Return images, labels and prompts."""
    images = generate_tensors(generator, sample_ids)
    return images, generator.labels(sample_ids), find_prompts(generator, sample_ids)


def open_verified_generator(source: str, expected: str) -> Generator:
    """Open the generator. Raises SourceError if its quick fingerprint is not the expected one."""
    generator = open_source(source, worker_device())
    if quick_fingerprint(generator) != expected:
        raise SourceError(
            f"{source} on a worker is not what it is on the driver: another version of the code, "
            "or a file or folder that has changed; bring them in line and run the command again"
        )
    return generator


def is_thread_safe(model: object) -> bool:
    """Return whether several threads may call a generator or an extractor at a time.

    Code of the user may not: it may seed the random numbers that all threads share.
    """
    return bool(getattr(model, "thread_safe", False))


def worker_death_error(sample_ids: range, times: int) -> SourceError:
    """Return the error of samples with which every attempt ended its process."""
    return SourceError(
        f"samples {sample_ranges.format_range(sample_ids)} ended their worker {times} times, and "
        "are not begun again: the process crashed in native code, lost its GPU, was killed, or the "
        "machine had no memory left (Ray's logs say which); try a smaller --batch or other "
        "samples; if it was machines that were lost, run the same command again"
    )
