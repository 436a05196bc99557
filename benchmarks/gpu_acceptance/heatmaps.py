"""The heatmaps phase: maps as on the CPU, and images a second beside features alone."""

from __future__ import annotations

import numpy as np
import torch

from gpu_acceptance.extractors import images_per_second, largest_difference, make_network
from gpu_acceptance.inputs import random_images
from gpu_acceptance.phase import PhaseRun
from gpu_acceptance.timing import seconds_per_call
from raymetrics.distributed.devices import use_deterministic_kernels
from raymetrics.heatmaps import HeatmapExtractor
from raymetrics.metrics import Gaussian
from raymetrics.metrics.frechet_sensitivity import Sensitivity
from raymetrics.statistics import Moments

_OPTIONS = "columns=pre_logits"
_MAX_DIFFERENCE = 1e-4
_COMPARED = 4  # images
_GENERATED = 50_000  # images in the moments


def measure_heatmaps(run: PhaseRun) -> None:
    """Compare maps with those of the CPU, and measure them at two sizes."""
    use_deterministic_kernels()
    network = run.size("inception", "efficientnet-lite0")
    extractor = make_network(network, _OPTIONS, run.device)
    torch.set_num_threads(run.size(16, 2))
    sensitivity = random_sensitivity(next(iter(extractor.columns.values())))
    extract_heatmaps = HeatmapExtractor(extractor, sensitivity)
    if run.needs_gpu("maps as on the CPU", "the device is the CPU"):
        images, ids = random_images(_COMPARED, 256), np.arange(_COMPARED)
        cpu = HeatmapExtractor(make_network(network, _OPTIONS, torch.device("cpu")), sensitivity)
        difference = largest_difference(extract_heatmaps(ids, images).maps, cpu(ids, images).maps)
        run.check_below("maps as on the CPU", difference, _MAX_DIFFERENCE)
    torch.set_num_threads(1)
    for size in run.size((256, 1024), (64,)):
        images = random_images(extractor.block, size)
        ids = np.arange(len(images))
        found = extract_heatmaps(ids, images)
        passed = bool(np.isfinite(found.maps).all() and (found.norms > 0).all())
        run.check(f"maps of {size} pixels are finite", passed)
        seconds = seconds_per_call(lambda ids=ids, x=images: extract_heatmaps(ids, x), run.device)  # type: ignore[misc]
        rate = len(images) / seconds
        run.figure(f"{network} with maps, {size} pixels", rate, "images/s")
        alone = images_per_second(extractor, size)
        run.figure(f"of the rate of features alone, {size} pixels", rate / alone, "")


def random_sensitivity(dimension: int) -> Sensitivity:
    """Return the sensitivity of two sets of random moments."""
    moments = []
    for seed in (1, 2):
        rng = np.random.default_rng(seed)
        x = rng.normal(0.5, 0.5, (2 * dimension, dimension)) * rng.uniform(0.5, 1.5, dimension)
        drawn = Moments.from_samples(x)
        scale = _GENERATED / drawn.count
        moments.append(Moments(_GENERATED, drawn.mean, drawn.scatter * scale))
    real = Gaussian.from_moments(moments[0], ddof=1)
    return Sensitivity.for_members(real, moments[1])
