"""Time heatmaps, compared with features alone and with autograd.

    python benchmarks/heatmaps.py [--networks inception,efficientnet-lite0] [--rounds 3]

A block of images of 256 x 256 goes through a network with random weights: for its features alone,
and for heatmaps, features and Top-3 classes; one thread, CPU seconds, the best of several rounds.
Autograd follows section 2.1 of Kynkaanniemi et al. (2023) literally: for every image the moments
are updated, the distance is computed from eigenvalues, and its gradient is propagated back through
the root to the map. It is timed for two images. Fails if heatmaps take more than 1.3 times as long
as features, or if both ways disagree.

Beside that: the sums of a range of 1024 images of 1024 x 1024 in four groups with the bytes of its
file, and exact gradients of added images at 2048 dimensions.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from raymetrics.extractors import make_extractor
from raymetrics.extractors.base import NetworkExtractor
from raymetrics.heatmaps import Averages, HeatmapExtractor, Heatmaps
from raymetrics.metrics import Gaussian
from raymetrics.metrics.frechet_sensitivity import AddedSensitivity, Sensitivity
from raymetrics.npz_files import npz_bytes
from raymetrics.statistics import Moments, to_arrays

BATCH, RANGE = 64, 1024  # images, as in `raymetrics.studies.heatmap.compute`
MAX_RATIO = 1.3
GENERATED_COUNT = 50_000  # generated images in the moments
AUTOGRAD_IMAGES = 2
MAX_DIFFERENCE = 1e-3  # of float32's gradient through an eigendecomposition


def random_moments(dimension: int, seed: int, center: np.ndarray, scale: float) -> Moments:
    """Make moments of features about as spread out as the network's."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, scale, (2 * dimension, dimension)) + center
    sample_moments = Moments.from_samples(x * rng.uniform(0.5, 1.5, dimension))
    return Moments(
        GENERATED_COUNT,
        sample_moments.mean,
        sample_moments.scatter * (GENERATED_COUNT / sample_moments.count),
    )


def autograd_heatmaps(
    extractor: NetworkExtractor, images: np.ndarray, real: Gaussian, generated: Moments
) -> np.ndarray:
    """Compute heatmaps [n, h, w] of images of the generated set, one image at a time."""
    network: Any = extractor.network
    root = torch.linalg.cholesky(torch.from_numpy(real.covariance))
    mean_real, trace = torch.from_numpy(real.mean), float(np.trace(real.covariance))
    maps = []
    for image in images:
        with torch.no_grad():
            x = extractor.prepare(torch.from_numpy(image[None]))
            activations = network.activations(x)
        activations.requires_grad_()
        features = activations.mean(dim=(2, 3))[0].double()
        mean, covariance = leave_one_out(generated, features.detach().numpy())
        n = generated.count
        deviation = features - mean
        updated_mean = mean + deviation / n
        updated_covariance = (
            covariance * ((n - 2) / (n - 1)) + torch.outer(deviation, deviation) / n
        )
        overlap = (
            torch.linalg.eigvalsh(root.T @ updated_covariance @ root).clamp(min=0).sqrt().sum()
        )
        shift = updated_mean - mean_real
        (shift @ shift + trace + updated_covariance.trace() - 2 * overlap).backward()
        maps.append(weighted_map(activations))
    return np.stack(maps)


def leave_one_out(generated: Moments, features: np.ndarray) -> tuple[Tensor, Tensor]:
    """Compute the mean and covariance of the set without one of its images."""
    n = generated.count
    mean = (n * generated.mean - features) / (n - 1)
    deviation = features - mean
    scatter = generated.scatter - np.outer(deviation, deviation) * ((n - 1) / n)
    return torch.from_numpy(mean), torch.from_numpy(scatter / (n - 2))


def weighted_map(activations: Tensor) -> np.ndarray:
    """Compute the map [h, w] of an image from the gradient at its activations."""
    assert activations.grad is not None
    alpha = activations.grad.square().mean(dim=(2, 3), keepdim=True)
    return (alpha * activations.detach()).sum(dim=1)[0].numpy()


def best_seconds(run: Callable[[], object], rounds: int) -> float:
    """Return the smallest CPU seconds of a call over some rounds."""
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
    return best


def compare_network(name: str, rounds: int) -> bool:
    """Print the times of a network; return whether the promise is kept."""
    extractor = make_extractor(f"untrained-{name}", torch.device("cpu"))
    assert isinstance(extractor, NetworkExtractor)
    size = extractor.block
    images = np.random.default_rng(0).integers(0, 256, (size, 3, 256, 256), np.uint8)
    ids = np.arange(size)
    features = next(iter(extractor(images).values())).astype(np.float64)
    scale, center = float(features.std()), features.mean(axis=0)
    real = Gaussian.from_moments(random_moments(features.shape[1], 1, center, scale), ddof=1)
    generated = random_moments(features.shape[1], 2, center * 1.1, scale)
    start = time.process_time()
    extract_heatmaps = HeatmapExtractor(extractor, Sensitivity.for_members(real, generated))
    setup_seconds = time.process_time() - start
    heatmaps: list[Heatmaps] = []
    features_seconds = best_seconds(lambda: extractor(images), rounds) / size
    heatmap_seconds = (
        best_seconds(lambda: heatmaps.append(extract_heatmaps(ids, images)), rounds) / size
    )
    start = time.process_time()
    autograd_maps = autograd_heatmaps(extractor, images[:AUTOGRAD_IMAGES], real, generated)
    autograd_seconds = (time.process_time() - start) / AUTOGRAD_IMAGES
    our_maps = heatmaps[0].maps[:AUTOGRAD_IMAGES]
    difference = np.abs(autograd_maps - our_maps).max() / np.abs(our_maps).max()
    print(f"{name}, a block of {size}; the map between the sets takes {setup_seconds:.1f} s once")
    print(f"  features alone   {1e3 * features_seconds:8.1f} ms an image   1")
    print(
        f"  heatmaps         {1e3 * heatmap_seconds:8.1f} ms an image   "
        f"{heatmap_seconds / features_seconds:.2f}"
    )
    print(
        f"  by autograd      {1e3 * autograd_seconds:8.1f} ms an image   "
        f"{autograd_seconds / features_seconds:.2f}",
        flush=True,
    )
    print(f"  largest difference between the two {difference:.0e}")
    return heatmap_seconds / features_seconds <= MAX_RATIO and difference < MAX_DIFFERENCE


def time_sums() -> None:
    """Print what the sums of large images and their file cost for each image."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (BATCH, 3, 1024, 1024), np.uint8)
    classes = rng.choice(1000, (BATCH, 3), replace=True)
    classes[:12, 0] = np.arange(12) % 3
    heat = rng.random((BATCH, 8, 8)).astype(np.float32)
    seen = Heatmaps(np.arange(BATCH), heat, np.ones(BATCH), classes, np.ones((BATCH, 3)))
    start = time.process_time()
    sums = Averages.from_images(images, seen, (0, 1, 2))
    for _ in range(RANGE // BATCH - 1):
        sums = sums.merge(Averages.from_images(images, seen, (0, 1, 2)))
    summed = time.process_time()
    size = len(npz_bytes(to_arrays(sums.to_numpy())))
    end = time.process_time()
    print(
        f"sums of {RANGE} images of 1024 x 1024 in four groups: {summed - start:.1f} s, "
        f"their file {end - summed:.1f} s and {size / 1e6:.0f} MB"
    )


def time_added(count: int = 64) -> None:
    """Print what exact gradients of added images cost at 2048 dimensions."""
    real = Gaussian.from_moments(random_moments(2048, 1, np.ones(2048), 0.5), ddof=1)
    base = random_moments(2048, 2, np.ones(2048), 0.5)
    images = np.random.default_rng(3).normal(1, 0.5, (count, 2048))
    start = time.process_time()
    derivative = AddedSensitivity.from_moments(real, base)
    prepared = time.process_time()
    derivative.gradient(images)
    seconds = (time.process_time() - prepared) / count
    print(
        f"exact gradients of added images, 2048 dimensions: {prepared - start:.1f} s once, "
        f"{1e3 * seconds:.1f} ms an image"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", default="inception,efficientnet-lite0")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with threadpool_limits(1, user_api="blas"):
        promises_kept = [compare_network(name, args.rounds) for name in args.networks.split(",")]
        time_sums()
        time_added()
    if not all(promises_kept):
        sys.exit("not as promised: see the numbers above")


if __name__ == "__main__":
    main()
