"""What a worker computes on. Apart from `resources`, so that what knows those loads no torch."""

from __future__ import annotations

from functools import cache

import numpy as np
import PIL
import torch

from raymetrics.provenance import processor_name


def worker_device() -> torch.device:
    """The accelerator that Ray gave to this worker, or the CPU."""
    return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")


def device_name() -> str:
    """ "cpu", or what the accelerator calls itself."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


@cache
def machine_kind() -> str:
    """Name all that equal bits are promised for: the device, the processor and those of its
    instructions that torch uses, and the versions of what computes."""
    gpu = f"{device_name()}, " if torch.cuda.is_available() else ""
    instructions = torch.backends.cpu.get_cpu_capability()
    versions = f"torch {torch.__version__}, numpy {np.__version__}, pillow {PIL.__version__}"
    return f"{gpu}{processor_name()} with {instructions}, {versions}"


def use_deterministic_kernels() -> None:
    """One thread, true float32, no choice of kernels by timing: the same bits every time."""
    torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
