"""The machine phase: what this GPU reaches at most, by which later figures are divided."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gpu_acceptance.phase import PhaseRun
from gpu_acceptance.timing import seconds_per_call

_PRODUCTS = {
    "float64": torch.float64,
    "float32": torch.float32,
    "tf32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def measure_machine(run: PhaseRun) -> None:
    """Check that torch can use the device; measure copies and products of matrices."""
    check_device(run)
    size = run.size(2**30, 2**24)
    bytes_copied = torch.empty(size, dtype=torch.uint8, device=run.device)
    target = torch.empty_like(bytes_copied)
    rate = 2 * size / seconds_per_call(lambda: target.copy_(bytes_copied), run.device)
    run.figure("copy on the device, read and written", rate / 1e12, "TB/s")
    run.ceiling("copy", rate)
    for name in _PRODUCTS:
        measure_product(run, name, run.size(8192, 512))


def check_device(run: PhaseRun) -> None:
    """Check that the device computes, and write down what it is."""
    ones = torch.ones(8, device=run.device)
    versions = f"torch {torch.__version__}, CUDA {torch.version.cuda}"
    if run.on_gpu:
        versions = (
            f"{torch.cuda.get_device_name(run.device)}, driver {driver_version()}, {versions}, "
            f"cuDNN {torch.backends.cudnn.version()}"
        )
    run.check("torch computes on the device", ones.sum().item() == 8, versions)
    if run.needs_gpu("memory of the GPU"):
        total = torch.cuda.get_device_properties(run.device).total_memory
        run.figure("memory of the GPU", total / 1e9, "GB")


def driver_version() -> str:
    """Return the version of the GPU's driver, as nvidia-smi tells it."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.split()[0]


def measure_product(run: PhaseRun, name: str, size: int) -> None:
    """Measure products of square matrices of one kind of numbers."""
    label = f"product of {size} x {size}, {name}"
    if name == "tf32" and not run.needs_gpu(label, "a CPU has no such numbers"):
        return
    source = torch.Generator(run.device).manual_seed(0)
    matrix = torch.randn(size, size, generator=source, device=run.device)
    matrix = matrix.to(_PRODUCTS[name])
    with use_tf32(name == "tf32"):
        seconds = seconds_per_call(lambda: matrix @ matrix, run.device)
    rate = 2 * size**3 / seconds
    run.figure(label, rate / 1e12, "TFLOP/s")
    run.ceiling(name, rate)


@contextmanager
def use_tf32(allowed: bool) -> Iterator[None]:
    """Let products of float32 round to TF32, or not, in the block."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
