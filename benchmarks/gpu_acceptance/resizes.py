"""The resize phase: every convention on the device, against the CPU."""

from __future__ import annotations

import torch

from gpu_acceptance.inputs import random_images
from gpu_acceptance.phase import PhaseRun
from gpu_acceptance.timing import seconds_per_call
from raymetrics.extractors.resize import CONVENTIONS, resize

_SIZE = 224
_BATCH = 64
# Those that repeat Pillow's whole numbers have the same bits everywhere; the others are floats.
_EXACT = ("clip", "pillow-bicubic", "shorter-side")
_MAX_DIFFERENCE = 1e-3  # grey levels


def check_resizes(run: PhaseRun) -> None:
    """Compare all conventions with the CPU, and measure them from two sizes."""
    for convention in CONVENTIONS:
        if run.needs_gpu(f"{convention} as on the CPU", "the device is the CPU"):
            compare_with_cpu(run, convention)
        for size in run.size((256, 1024), (64,)):
            measure_resize(run, convention, size)


def measure_resize(run: PhaseRun, convention: str, size: int) -> None:
    """Write down the microseconds for an image of this size."""
    images = torch.from_numpy(random_images(run.size(_BATCH, 4), size)).to(run.device)
    seconds = seconds_per_call(
        lambda: resize(images.float(), _SIZE, convention), run.device, budget=0.1
    )
    microseconds = 1e6 * seconds / len(images)
    run.figure(f"{convention}, {size} to {_SIZE} pixels", microseconds, "us/image")


def compare_with_cpu(run: PhaseRun, convention: str) -> None:
    """Check that the device gives the bits of the CPU, or nearly so."""
    images = torch.from_numpy(random_images(4, 331)).float()
    difference = resize(images.to(run.device), _SIZE, convention).cpu() - resize(
        images, _SIZE, convention
    )
    limit = 0.0 if convention in _EXACT else _MAX_DIFFERENCE
    run.check_below(f"{convention} as on the CPU", difference.abs().max().item(), limit)
