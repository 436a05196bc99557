"""What phases compute on: images, features and networks, all drawn from seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.helpers import nvidia_pickles

_ROWS_AT_A_TIME = 50_000
_RANK, _CLUSTERS = 256, 200
_TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
_BUFFERS = ("w_avg", "noise_const", "resample_filter")


def random_images(count: int, size: int, seed: int = 0) -> np.ndarray:
    """Draw images of a few colored squares and noise, uint8 [n, 3, size, size]."""
    rng = np.random.default_rng(seed)
    squares = rng.integers(0, 200, (count, 3, 4, 4), np.uint8)
    images = squares.repeat(-(-size // 4), axis=2).repeat(-(-size // 4), axis=3)
    noise = rng.integers(0, 56, (count, 3, size, size), np.uint8)
    return np.ascontiguousarray(images[:, :, :size, :size] + noise)


def mixture_features(
    count: int, dimension: int, seed: int, device: torch.device, *, shift: float = 0.0
) -> np.ndarray:
    """Draw the ReLU of a mixture of 200 Gaussians, as pooled activations are, float32 [n, d].

    The variances follow a power law in 256 directions. All seeds have the same clusters; shift:
    how far the clusters of this set are moved, in units of their spread.
    """
    shape = torch.Generator(device).manual_seed(0)
    rank = min(_RANK, dimension)

    def normals(source: torch.Generator, *size: int) -> Tensor:
        return torch.randn(*size, generator=source, device=device)

    scale = torch.arange(1, rank + 1, device=device).float() ** -0.62
    directions = normals(shape, rank, dimension) / 16
    centers = normals(shape, _CLUSTERS, rank) * scale
    centers += shift * normals(shape, _CLUSTERS, rank) * scale
    draws = torch.Generator(device).manual_seed(seed)
    features = np.empty((count, dimension), np.float32)
    for start in range(0, count, _ROWS_AT_A_TIME):
        rows = min(_ROWS_AT_A_TIME, count - start)
        chosen = torch.randint(_CLUSTERS, (rows,), generator=draws, device=device)
        latents = centers[chosen] + 0.7 * scale * normals(draws, rows, rank)
        part = latents @ directions + 0.015 * normals(draws, rows, dimension)
        features[start : start + rows] = part.relu_().cpu().numpy()
    return features


def write_stylegan2(
    folder: Path,
    resolution: int,
    *,
    channel_base: int = 32768,
    largest: int = 512,
    w_dim: int = 512,
) -> str:
    """Write the pickle of a StyleGAN2 with random weights, and return its path.

    channel_base / resolution channels at each resolution, at most `largest`: by default those of
    config-f (Karras et al. 2020, appendix B).
    """
    path = folder / f"stylegan2-{resolution}-{channel_base}.pkl"
    if not path.exists():
        network = _stylegan2(resolution, channel_base, largest, w_dim)
        path.write_bytes(nvidia_pickles.dumps({"G": None, "D": None, "G_ema": network}))
    return str(path)


def _stylegan2(resolution: int, channel_base: int, largest: int, w_dim: int) -> Any:
    """Return a StyleGAN2 as NVIDIA's program pickles it."""
    source = torch.Generator().manual_seed(resolution)
    tensors: dict[str, Tensor] = {"mapping.w_avg": torch.zeros(w_dim)}

    def add(name: str, *shape: int, center: float = 0.0, scale: float = 1.0) -> None:
        tensors[f"{name}.weight"] = torch.randn(*shape, generator=source) * scale
        tensors[f"{name}.bias"] = torch.full((shape[0],), center)

    for layer in range(8):
        add(f"mapping.fc{layer}", w_dim, w_dim, scale=100.0)  # the learning rate is 0.01
    before = 0
    for size in (2**power for power in range(2, resolution.bit_length())):
        block, channels = f"synthesis.b{size}", min(channel_base // size, largest)
        inputs = {"conv0": before} if before else {}
        for name, channels_in in (inputs | {"conv1": channels}).items():
            layer_name = f"{block}.{name}"
            add(layer_name, channels, channels_in, 3, 3)
            add(f"{layer_name}.affine", channels_in, w_dim, center=1.0)
            tensors[f"{layer_name}.noise_const"] = torch.randn(size, size, generator=source)
            tensors[f"{layer_name}.noise_strength"] = torch.tensor(0.1)
            tensors[f"{layer_name}.resample_filter"] = torch.outer(_TAPS, _TAPS)
        if not before:
            tensors[f"{block}.const"] = torch.randn(channels, 4, 4, generator=source)
        add(f"{block}.torgb", 3, channels, 1, 1, scale=0.1)
        add(f"{block}.torgb.affine", channels, w_dim, center=1.0)
        tensors[f"{block}.resample_filter"] = torch.outer(_TAPS, _TAPS)
        before = channels
    layers = {"activation": "lrelu", "conv_clamp": None}
    about: dict[str, dict[str, Any]] = {
        "mapping.fc0": {"activation": "lrelu", "bias_gain": 0.01},
        "synthesis.b4.conv1": layers,
    }
    return nvidia_pickles.network("Generator", tensors, _BUFFERS, about, z_dim=w_dim)
