"""The device of a worker, in a module of its own, so that `resources` loads no torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
import PIL
import torch

from raymetrics.devices.failures import describe_build, driver_version
from raymetrics.distributed.reserved_gpus import reserved_gpus
from raymetrics.distributed.session import is_local, ray_is_running
from raymetrics.errors import InsufficientResources
from raymetrics.provenance import processor_name

DEVICE_VARIABLE = "RAYMETRICS_DEVICE"


def worker_device() -> torch.device:
    """Return the accelerator that Ray gave to this worker, this process's own, or the CPU.

    A process to which Ray gave no GPU sees all GPUs of its machine, and takes none of them. With
    RAYMETRICS_DEVICE=cpu in the environment the CPU is returned. Raises InsufficientResources, with
    driver and build, for a GPU that torch cannot use.
    """
    if os.environ.get(DEVICE_VARIABLE) == "cpu":
        return torch.device("cpu")
    if not ray_is_running() or is_local():
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    gpus = reserved_gpus()
    if not gpus:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise InsufficientResources(
            f"this worker was given GPU {', '.join(gpus)} of its machine, and torch cannot use it "
            f"({describe_build()}); install a driver that fits this torch, or a torch that fits "
            f"the driver, or compute on CPUs: {DEVICE_VARIABLE}=cpu in the environment of all "
            "machines"
        )
    return torch.device("cuda:0")


def device_name() -> str:
    """Return "cpu", or the name of this worker's accelerator."""
    device = worker_device()
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


@cache
def machine_kind() -> str:
    """Return the kind of machine, as text; machines of one kind give equal bits.

    It names the device, the processor with the instructions that torch uses, and the versions of
    the libraries that compute; for a GPU also those of CUDA, cuDNN and the driver.
    """
    gpu = ""
    if worker_device().type == "cuda":
        cuda = f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
        gpu = f"{device_name()} with {cuda}, driver {driver_version()}, "
    instructions = torch.backends.cpu.get_cpu_capability()
    versions = f"torch {torch.__version__}, numpy {np.__version__}, pillow {PIL.__version__}"
    return f"{gpu}{processor_name()} with {instructions}, {versions}"


def use_deterministic_kernels() -> None:
    """Make torch give the same bits every time.

    It computes in one thread and in true float32, and chooses no kernel by timing.
    """
    torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


@contextmanager
def restore_kernels() -> Iterator[None]:
    """Restore what `use_deterministic_kernels` changes: a user's process goes on after it."""
    threads = torch.get_num_threads()
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    flags = matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = flags
