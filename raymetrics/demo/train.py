"""Train the digit generator and the digit classifier, in about a quarter of an hour.

    python -m raymetrics.demo.train raymetrics/weights/shipped

writes `digits-generator-NNNNNN.safetensors` for every snapshot (the number counts training steps;
the weights are their exponential moving average, in float16), `digits-classifier.safetensors`, and
their digests in SHA256SUMS.

The generator is a variational autoencoder (Kingma & Welling 2014) with a weak prior. A normalizing
flow (Dinh et al. 2017) learns to draw its latents w from noise z, class by class. Both are trained
together, so that every snapshot is a complete generator.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from raymetrics.extractors.digits import ClassifierNetwork
from raymetrics.generators.digits import SNAPSHOT_PREFIX, W_DIM, DigitsNetwork
from raymetrics.generators.mnist import load_digits

_SNAPSHOT_STEPS = (50, 100, 200, 400, 800, 1600, 3200, 5000)
_BATCH_SIZE = 64
_PRIOR_WEIGHT = 0.5  # of the autoencoder's Kullback-Leibler term
_EMA_DECAY = 0.995  # of the weights, per step


class _Encoder(nn.Module):
    """Images float32 [n, 1, 28, 28] in [0, 1] -> mean and log-variance of w, each [n, 20]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 32, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * 7 * 7, 128),
            nn.ReLU(),
            nn.Linear(128, 2 * W_DIM),
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.layers(images).chunk(2, dim=1)
        return mean, log_variance


def _shift_randomly(images: Tensor, rng: torch.Generator) -> Tensor:
    """Shift the images by -1, 0 or 1 pixels along both axes; the border of a digit is empty."""
    dy, dx = torch.randint(-1, 2, (2,), generator=rng).tolist()
    return torch.roll(images, (dy, dx), dims=(2, 3))


def _shuffled_batches(
    images: Tensor, labels: Tensor, rng: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield shuffled batches without end, each shifted by at most one pixel."""
    while True:
        for rows in torch.randperm(len(images), generator=rng).split(_BATCH_SIZE):
            if len(rows) == _BATCH_SIZE:
                yield _shift_randomly(images[rows], rng), labels[rows]


def _kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Compute the Kullback-Leibler divergence of N(mean, variance) from N(0, 1), [n]."""
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1) / 2


def _negative_log_likelihood(network: DigitsNetwork, w: Tensor, label: Tensor) -> Tensor:
    """Compute the negative log-likelihood of w under the mapping network's distribution, [n]."""
    z, log_determinant = network.mapping.inverse(w, label)
    return (z.square().sum(dim=1) + W_DIM * math.log(2 * math.pi)) / 2 - log_determinant


def _train_generator(images: Tensor, labels: Tensor, folder: Path, seed: int = 0) -> None:
    """Train the generator and write one file for each step in _SNAPSHOT_STEPS.

    images: float32 [n, 1, 28, 28] in [0, 1]; labels: int64 [n].
    """
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    network, encoder = DigitsNetwork(), _Encoder()
    average = copy.deepcopy(network).requires_grad_(False)
    parameters = [*network.parameters(), *encoder.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _SNAPSHOT_STEPS[-1], 1e-4)
    start = time.monotonic()
    for step, (x, label) in enumerate(_shuffled_batches(images, labels, rng), start=1):
        mean, log_variance = encoder(x)
        w = mean + (log_variance / 2).exp() * torch.randn(mean.shape, generator=rng)
        pixels = (
            binary_cross_entropy_with_logits(network.synthesis(w), x, reduction="sum") / _BATCH_SIZE
        )
        prior = _kl_divergence(mean, log_variance).mean()
        # The mapping learns the latents; its loss does not change them.
        mapping = _negative_log_likelihood(network, w.detach(), label).mean()
        optimizer.zero_grad(set_to_none=True)
        (pixels + _PRIOR_WEIGHT * prior + mapping).backward()
        nn.utils.clip_grad_norm_(parameters, 100.0)
        optimizer.step()
        schedule.step()
        _update_average(average, network, min(_EMA_DECAY, step / (step + 10)))

        if step in _SNAPSHOT_STEPS:
            name = f"{SNAPSHOT_PREFIX}{step:06d}.safetensors"
            save_file({k: v.half() for k, v in average.state_dict().items()}, folder / name)
            seconds = time.monotonic() - start
            print(
                f"{name}  pixels {pixels:.1f}  prior {prior:.1f}  mapping {mapping:.1f}  "
                f"{seconds:.0f} s",
                flush=True,
            )
        if step == _SNAPSHOT_STEPS[-1]:
            return


@torch.no_grad()
def _update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Set average = decay * average + (1 - decay) * network, weight by weight."""
    for slow, fast in zip(average.parameters(), network.parameters(), strict=True):
        slow.lerp_(fast, 1 - decay)


def _train_classifier(images: Tensor, labels: Tensor, folder: Path, seed: int = 0) -> None:
    """Train the classifier and write its file with its accuracy on held-out images.

    images: float32 [n, 1, 28, 28] in [0, 1]; labels: int64 [n]. Every fifth group of ten images is
    held out.
    """
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    held_out = (torch.arange(len(images)) // 10) % 5 == 4
    network = ClassifierNetwork()
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1200)
    for step, (x, y) in enumerate(
        _shuffled_batches(images[~held_out], labels[~held_out], rng), start=1
    ):
        loss = cross_entropy(network(x)["logits"], y, label_smoothing=0.05)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if step == 1200:
            break
    with torch.no_grad():
        correct = network(images[held_out])["logits"].argmax(dim=1) == labels[held_out]
    accuracy = f"{correct.float().mean():.4f}"
    state = {k: v.half() for k, v in network.state_dict().items()}
    save_file(state, folder / "digits-classifier.safetensors", {"held_out_accuracy": accuracy})
    print(f"digits-classifier.safetensors  accuracy on held-out digits {accuracy}", flush=True)


def main() -> None:
    """Train both networks and write their digests."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the checkpoints go")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    pixels, classes = load_digits()
    images = torch.from_numpy(pixels.astype(np.float32) / 255)[:, None]
    labels = torch.from_numpy(classes)
    _train_classifier(images, labels, folder)
    _train_generator(images, labels, folder)
    sums = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}"
        for file in sorted(folder.glob("*.safetensors"))
    ]
    (folder / "SHA256SUMS").write_text("\n".join(sums) + "\n")


if __name__ == "__main__":
    main()
