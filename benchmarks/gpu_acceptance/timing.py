"""Measure seconds of calls on a device, and for which share of them a GPU computes."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def wall_seconds(call: Callable[[], Any], device: torch.device) -> float:
    """Return the seconds of one call, until the device is done."""
    synchronize(device)
    start = time.perf_counter()
    call()
    synchronize(device)
    return time.perf_counter() - start


def seconds_per_call(
    call: Callable[[], Any], device: torch.device, *, budget: float = 0.5, at_most: int = 50
) -> float:
    """Return the median seconds of a call, after one that warms up.

    budget: seconds for all calls; at least one is measured.
    """
    wall_seconds(call, device)
    seconds: list[float] = []
    while not seconds or (sum(seconds) < budget and len(seconds) < at_most):
        seconds.append(wall_seconds(call, device))
    return statistics.median(seconds)


@dataclass
class GpuTimeline:
    """What a GPU did in some time: the seconds of each kernel by name, and the time in all."""

    seconds: float = 0.0
    kernels: dict[str, float] = field(default_factory=dict)
    busy_seconds: float = 0.0
    copy_seconds: float = 0.0  # between host and device

    @property
    def busy_share(self) -> float:
        """The share of the time in which a kernel or a copy ran."""
        return self.busy_seconds / self.seconds


@contextmanager
def record_gpu(device: torch.device) -> Iterator[GpuTimeline]:
    """Record the kernels of a block; the timeline is filled in at the end of the block."""
    from torch.profiler import ProfilerActivity, profile

    timeline = GpuTimeline()
    synchronize(device)
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        start = time.perf_counter()
        yield timeline
        synchronize(device)
        timeline.seconds = time.perf_counter() - start
    intervals = []
    for event in profiler.events() or []:
        if event.device_type != torch._C._autograd.DeviceType.CUDA:
            continue
        seconds = event.time_range.elapsed_us() / 1e6
        timeline.kernels[event.name] = timeline.kernels.get(event.name, 0.0) + seconds
        intervals.append((event.time_range.start, event.time_range.end))
        if "Memcpy HtoD" in event.name or "Memcpy DtoH" in event.name:
            timeline.copy_seconds += seconds
    timeline.busy_seconds = union_length(intervals) / 1e6


def union_length(intervals: list[tuple[float, float]]) -> float:
    """Return the length of the union of intervals (start, end)."""
    length, reach = 0.0, float("-inf")
    for start, end in sorted(intervals):
        length += max(0.0, end - max(start, reach))
        reach = max(reach, end)
    return length


@contextmanager
def sample_utilization(device: torch.device, hertz: float = 20) -> Iterator[list[float]]:
    """Ask NVML how busy the GPU is, 20 times a second; the list stays empty without pynvml.

    A sample is the share of the driver's last period, a sixth of a second or more, in which any
    kernel ran.
    """
    samples: list[float] = []
    if device.type != "cuda" or find_spec("pynvml") is None:
        yield samples
        return
    pynvml = import_module("pynvml")
    pynvml.nvmlInit()
    # By its identifier, as NVML does not know CUDA_VISIBLE_DEVICES.
    uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
    handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(1 / hertz):
            samples.append(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()
        pynvml.nvmlShutdown()
