"""What heatmaps cost above the features, and above what autograd takes for them.

    python benchmarks/heatmaps.py [--networks inception,efficientnet-lite0] [--rounds 3]

A block of images of 256 x 256 goes through a network with random weights: for its features alone,
and for heatmaps, features and Top-3 classes; one thread, CPU seconds, the best of some rounds.
The other way is that of section 2.1 of Kynkaanniemi et al. (2023) as it is written: for every image
the moments are updated, the distance is computed from eigenvalues, and its gradient goes back
through the root to the map. It is timed for two images. It fails if heatmaps take more than 1.3
times as long as the features, or if the two ways say different things.
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
from raymetrics.heatmaps import Heatmaps, Lens
from raymetrics.metrics import Gaussian
from raymetrics.metrics.frechet_sensitivity import Sensitivity
from raymetrics.statistics import Moments

MOST = 1.3
COUNT = 50_000  # generated images that the moments are taken for
BY_AUTOGRAD = 2
APART = 1e-3  # of float32's gradient through an eigendecomposition


def moments(dimension: int, seed: int, centre: np.ndarray, scale: float) -> Moments:
    """Of features about as spread out as the network's."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, scale, (2 * dimension, dimension)) + centre
    found = Moments.of(x * rng.uniform(0.5, 1.5, dimension))
    return Moments(COUNT, found.mean, found.scatter * (COUNT / found.count))


def by_autograd(
    extractor: NetworkExtractor, images: np.ndarray, real: Gaussian, generated: Moments
) -> np.ndarray:
    """Heatmaps [n, h, w] of images that are members of the generated set, one after another."""
    network: Any = extractor.network
    root = torch.linalg.cholesky(torch.from_numpy(real.covariance))
    mean_real, trace = torch.from_numpy(real.mean), float(np.trace(real.covariance))
    found = []
    for image in images:
        with torch.no_grad():
            x = extractor.prepare(torch.from_numpy(image[None]))
            activations = network.activations(x)
        activations.requires_grad_()
        features = activations.mean(dim=(2, 3))[0].double()
        mean, covariance = without(generated, features.detach().numpy())
        n = generated.count
        apart = features - mean
        updated = mean + apart / n
        spread = covariance * ((n - 2) / (n - 1)) + torch.outer(apart, apart) / n
        overlap = torch.linalg.eigvalsh(root.T @ spread @ root).clamp(min=0).sqrt().sum()
        shift = updated - mean_real
        (shift @ shift + trace + spread.trace() - 2 * overlap).backward()
        found.append(weighted(activations))
    return np.stack(found)


def without(generated: Moments, features: np.ndarray) -> tuple[Tensor, Tensor]:
    """Mean and covariance of the set without one of its images."""
    n = generated.count
    mean = (n * generated.mean - features) / (n - 1)
    apart = features - mean
    scatter = generated.scatter - np.outer(apart, apart) * ((n - 1) / n)
    return torch.from_numpy(mean), torch.from_numpy(scatter / (n - 2))


def weighted(activations: Tensor) -> np.ndarray:
    """The map [h, w] of an image, by the gradient at its activations."""
    assert activations.grad is not None
    alpha = activations.grad.square().mean(dim=(2, 3), keepdim=True)
    return (alpha * activations.detach()).sum(dim=1)[0].numpy()


def best_seconds(run: Callable[[], object], rounds: int) -> float:
    """Of one thread's CPU."""
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
    return best


def compare(name: str, rounds: int) -> bool:
    """Prints the times of a network; whether the promise is kept."""
    extractor = make_extractor(f"untrained-{name}", torch.device("cpu"))
    assert isinstance(extractor, NetworkExtractor)
    size = extractor.block
    images = np.random.default_rng(0).integers(0, 256, (size, 3, 256, 256), np.uint8)
    ids = np.arange(size)
    features = next(iter(extractor(images).values())).astype(np.float64)
    scale, centre = float(features.std()), features.mean(axis=0)
    real = Gaussian.fitted(moments(features.shape[1], 1, centre, scale), ddof=1)
    generated = moments(features.shape[1], 2, centre * 1.1, scale)
    start = time.process_time()
    lens = Lens(extractor, Sensitivity.of_members(real, generated))
    once = time.process_time() - start
    seen: list[Heatmaps] = []
    alone = best_seconds(lambda: extractor(images), rounds) / size
    ours = best_seconds(lambda: seen.append(lens(ids, images)), rounds) / size
    start = time.process_time()
    theirs = by_autograd(extractor, images[:BY_AUTOGRAD], real, generated)
    other = (time.process_time() - start) / BY_AUTOGRAD
    mine = seen[0].maps[:BY_AUTOGRAD]
    apart = np.abs(theirs - mine).max() / np.abs(mine).max()
    print(f"{name}, a block of {size}; the map between the sets takes {once:.1f} s once")
    print(f"  features alone   {1e3 * alone:8.1f} ms an image   1")
    print(f"  heatmaps         {1e3 * ours:8.1f} ms an image   {ours / alone:.2f}")
    print(f"  by autograd      {1e3 * other:8.1f} ms an image   {other / alone:.2f}", flush=True)
    print(f"  largest difference between the two {apart:.0e}")
    return ours / alone <= MOST and apart < APART


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", default="inception,efficientnet-lite0")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with threadpool_limits(1, user_api="blas"):
        kept = [compare(name, asked.rounds) for name in asked.networks.split(",")]
    if not all(kept):
        sys.exit("not as promised: see the numbers above")


if __name__ == "__main__":
    main()
