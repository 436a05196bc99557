"""Tell the failures of a GPU apart: a lost one, one without memory left, one that torch cannot use.

After an illegal access or a fault of the hardware every later call of the process fails, whatever
its samples are; only another process can use the GPU again.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

log = logging.getLogger(__name__)

LOST_DEVICE_EXIT = 70  # the exit status of a worker that ends itself, as it has lost its GPU

# As torch and its libraries begin their messages of a device that does not answer any more.
_LOST_TEXTS = re.compile(
    r"CUDA error|CUDA driver error|device-side assert|unspecified launch failure"
    r"|CUDNN_STATUS_(EXECUTION_FAILED|INTERNAL_ERROR|MAPPING_ERROR)"
    r"|CUBLAS_STATUS_(EXECUTION_FAILED|INTERNAL_ERROR|MAPPING_ERROR)"
)


def is_device_lost(error: BaseException) -> bool:
    """Return whether an error, or one below it, says that this process has lost its GPU."""
    return not is_out_of_memory(error) and any(map(_tells_of_loss, _walk_causes(error)))


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error, or one below it, says that a GPU has no memory left."""
    return any(isinstance(cause, torch.OutOfMemoryError) for cause in _walk_causes(error))


def first_line(error: BaseException) -> str:
    """Return the kind of an error and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


@contextmanager
def end_process_if_device_lost() -> Iterator[None]:
    """End this process if the block loses its GPU, so that Ray starts another in its place."""
    try:
        yield
    except Exception as error:
        if is_device_lost(error):
            log.error("the GPU of this process was lost (%s)", first_line(error))
            os._exit(LOST_DEVICE_EXIT)
        raise


def _tells_of_loss(error: BaseException) -> bool:
    if isinstance(error, torch.AcceleratorError):
        return True
    return isinstance(error, RuntimeError) and bool(_LOST_TEXTS.search(str(error)))


def _walk_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and what it was raised from or beside, each once.

    An error that was raised `from None` hides what it replaces, and still refers to it.
    """
    todo: list[BaseException | None] = [error]
    seen: set[int] = set()
    while todo:
        cause = todo.pop()
        if cause is not None and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            todo += [cause.__cause__, cause.__context__]


def describe_memory(device: torch.device) -> str:
    """Return how full a device is, in words: "71.2 GB of 79.1 GB in use by torch at the most"."""
    if device.type != "cuda":
        return "the memory of the CPU"
    total = torch.cuda.get_device_properties(device).total_memory
    most = torch.cuda.max_memory_allocated(device)
    return f"{most / 1e9:.1f} GB of {total / 1e9:.1f} GB in use by torch at the most"


def describe_build() -> str:
    """Return what torch was built for, and the driver: "torch 2.14.1 for CUDA 13.0, driver ..."."""
    built_for = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPUs alone"
    return f"torch {torch.__version__} for {built_for}, driver {driver_version()}"


def driver_version() -> str:
    """Return the version of NVIDIA's driver on this machine; "not found" if it has none."""
    try:
        with open("/proc/driver/nvidia/version", encoding="utf-8") as file:
            version = re.search(r"Kernel Module.*?\s(\d+\.[\d.]+)", file.read())
    except OSError:
        return "not found"
    return version[1] if version else "not found"
