"""The StyleGAN2 phase: images as on the CPU, images a second, and the kernels that take longest."""

from __future__ import annotations

import numpy as np
import torch

from gpu_acceptance.inputs import write_stylegan2
from gpu_acceptance.phase import PhaseRun
from gpu_acceptance.timing import record_gpu, seconds_per_call
from raymetrics.distributed.devices import use_deterministic_kernels
from raymetrics.errors import SourceError
from raymetrics.generators import Generator, open_source
from raymetrics.generators.base import generate_tensors

# Multiplications and additions for an image of config-f, by its size; the audit counted them.
_OPERATIONS = {256: 2 * 45.1e9, 512: 2 * 59.7e9, 1024: 2 * 74.3e9}
_VARIANTS = ("block=1", "block=4", "block=16", "block=32", "precision=nvidia&block=32")
_TINY_VARIANTS = ("block=1", "block=4", "precision=nvidia&block=4")
_MAX_GREY_LEVELS = 1
_LARGEST_KERNELS = 8
_VARIANT_SECONDS = 4.0


def measure_stylegan2(run: PhaseRun) -> None:
    """Compare with the CPU, and measure all block sizes and precisions."""
    use_deterministic_kernels()
    for resolution in run.size((256, 1024), (32,)):
        path = network_file(run, resolution)
        compare_with_cpu(run, path, resolution)
        for options in run.size(_VARIANTS, _TINY_VARIANTS):
            measure_variant(run, path, resolution, options)
        if run.needs_gpu(f"StyleGAN2 {resolution}, its kernels", "a profile of a GPU's kernels"):
            profile_kernels(run, path, resolution)


def network_file(run: PhaseRun, resolution: int) -> str:
    """Write a network: config-f, or a narrow one if the run is tiny."""
    if run.tiny:
        return write_stylegan2(run.folder, resolution, channel_base=256, largest=16, w_dim=32)
    return write_stylegan2(run.folder, resolution)


def compare_with_cpu(run: PhaseRun, path: str, resolution: int) -> None:
    """Check that grey levels differ by one at most, and write down how many are equal."""
    ids = np.arange(run.size(4 if resolution < 1024 else 1, 2))
    images = generate(open_source(path, run.device), ids)
    spread = float(np.ptp(images.astype(np.int16)))
    run.check(f"StyleGAN2 {resolution} draws something", spread > 64, f"{spread:.0f} grey levels")
    name = f"StyleGAN2 {resolution}, grey levels as on the CPU"
    if not run.needs_gpu(name, "the device is the CPU"):
        return
    torch.set_num_threads(16)  # the CPU need not repeat its bits
    expected = generate(open_source(path, torch.device("cpu")), ids)
    torch.set_num_threads(1)
    difference = np.abs(images.astype(np.int16) - expected)
    run.check_below(name, float(difference.max()), _MAX_GREY_LEVELS)
    run.figure(f"StyleGAN2 {resolution}, equal pixels", float((difference == 0).mean()), "")


def generate(generator: Generator, ids: np.ndarray) -> np.ndarray:
    """Generate images, uint8 [n, 3, h, w]."""
    return generate_tensors(generator, ids).cpu().numpy()


def measure_variant(run: PhaseRun, path: str, resolution: int, options: str) -> None:
    """Measure images a second with some options."""
    name = f"StyleGAN2 {resolution}, {options}"
    if not run.has_seconds(_VARIANT_SECONDS, name):
        return
    try:
        generator = open_source(f"{path}?{options}", run.device)
    except SourceError as error:
        run.check(f"{name} can be opened", False, str(error))
        return
    ids = np.arange(run.size(32, 4))
    seconds = seconds_per_call(lambda: generate_tensors(generator, ids), run.device)
    run.figure(
        name,
        len(ids) / seconds,
        "images/s",
        ceiling="float16" if "precision" in options else "float32",
        work=_OPERATIONS.get(resolution, 0.0),
    )


def profile_kernels(run: PhaseRun, path: str, resolution: int) -> None:
    """Write down which kernels take the most time, and how busy they keep the GPU."""
    generator = open_source(path, run.device)
    ids = np.arange(32)
    generate_tensors(generator, ids)
    with record_gpu(run.device) as timeline:
        generate_tensors(generator, ids)
    run.figure(f"StyleGAN2 {resolution}, GPU busy", timeline.busy_share, "")
    total = sum(timeline.kernels.values())
    longest = sorted(timeline.kernels.items(), key=lambda item: -item[1])[:_LARGEST_KERNELS]
    for kernel, seconds in longest:
        run.figure(f"StyleGAN2 {resolution}, share of {kernel[:60]}", seconds / total, "")
