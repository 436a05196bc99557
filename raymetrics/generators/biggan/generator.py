"""Generate images with a BigGAN-deep: the source `pytorch_model.bin`."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath

import numpy as np
import torch
from scipy.special import ndtr, ndtri
from torch import Tensor

from raymetrics.generators.base import SEED_COUNT, require_seeds
from raymetrics.generators.biggan.load_weights import config_path, load_network
from raymetrics.generators.class_labels import parse_classes, take_turns
from raymetrics.generators.network_files import load_once, read_bytes
from raymetrics.generators.stylegan2.block_size import default_block
from raymetrics.generators.tensor_generator import LatentTensorGenerator, as_tensor
from raymetrics.generators.uint8_rules import biggan, require_finite, to_uint8

_LIMIT = 2.0  # deviations, at which the published generators truncate z before psi scales it
_SMALLEST_UNIFORM = 2.0**-54  # half of the smallest number above 0 that numpy draws


def truncated_normals(z: np.ndarray, psi: float) -> np.ndarray:
    """Map standard normal numbers to psi times normal ones truncated to -2..2, float32.

    z: floats of any shape. Each number keeps its rank in its distribution, so the map is monotone:
    F^-1(Phi(z)), where F is the distribution of the truncated normal.
    """
    tail = ndtr(-_LIMIT)
    inside = ndtri(tail + ndtr(z.astype(np.float64)) * (1 - 2 * tail))
    scaled: np.ndarray = psi * np.clip(inside, -_LIMIT, _LIMIT)
    return scaled.astype(np.float32)


class BigGAN(LatentTensorGenerator):
    """A latent generator around a BigGAN-deep, `biggan-deep-256-pytorch_model.bin?psi=0.5`.

    The inputs of sample 107 are those of `truncated_noise_sample(truncation=psi, seed=107)` of the
    package pytorch-pretrained-biggan, up to the last bits of a float. The latent z is standard
    normal, and the space W is the network's input: psi times z truncated to -2..2, and the class's
    embedding behind it.

    psi: the truncation, above 0 and up to 1. The statistics of batch normalization are those that
    the file stores for this psi, or lie between two of them.
    label: the classes that the samples take in turn, "207", "207,281" or "all". Without it,
    RandomState(k) draws the class of sample k, after z.
    block: the number of images that the network makes at a time; by default what fits the device.
    """

    length = None
    seeds = SEED_COUNT
    block_by_device = True  # the option `block` makes it the same on another device

    def __init__(
        self,
        path: str,
        device: torch.device,
        psi: str | float = 1.0,
        label: str | int | None = None,
        block: str | int | None = None,
    ) -> None:
        config, weights = read_bytes(config_path(path)), read_bytes(path)
        self.name = PurePosixPath(path).stem
        self.device = device
        self.sha256, self.config_sha256 = (
            hashlib.sha256(data).hexdigest() for data in (weights, config)
        )
        self.psi = float(psi)
        if not 0 < self.psi <= 1:
            raise ValueError(f"psi is {psi}, expected a number above 0 and up to 1")
        key = ("biggan", self.sha256, self.config_sha256, device)
        self.network = load_once(key, lambda: load_network(weights, config, path).to(device))
        self.shape = self.network.shape
        self.classes = parse_classes(label, self.shape.classes)
        self.block = default_block(self.shape, device) if block is None else int(block)
        if self.block < 1:
            raise ValueError(f"block is {self.block}, expected how many images, from 1 on")

    @property
    def spec(self) -> dict[str, object]:
        return {
            "name": "biggan",
            "file_sha256": self.sha256,
            "config_sha256": self.config_sha256,
            "psi": self.psi,
            "label": None if self.classes is None else list(self.classes),
        }

    def labels(self, sample_ids: np.ndarray) -> np.ndarray:
        """Return the class of each sample, int64 [n]."""
        if self.classes is not None:
            return take_turns(sample_ids, self.classes)
        return np.array([self._draw_class(k) for k in sample_ids], np.int64)

    def _draw_class(self, seed: int) -> int:
        rng = np.random.RandomState(seed)
        rng.random_sample(self.shape.z_dim)
        return int(rng.randint(self.shape.classes))

    def draw(self, sample_ids: np.ndarray) -> np.ndarray:
        """Draw z float32 [n, z_dim], standard normal, for sample ids int64 [n].

        The numbers are the quantiles of those that RandomState(k) draws uniformly, as the
        published program draws its truncated ones. Raises SampleRangeError for ids that are no
        seeds.
        """
        require_seeds(sample_ids)
        size = self.shape.z_dim
        rows = [np.random.RandomState(k).random_sample(size) for k in sample_ids]
        quantiles: np.ndarray = ndtri(np.maximum(np.stack(rows), _SMALLEST_UNIFORM))
        return quantiles.astype(np.float32)

    def map_samples(
        self, sample_ids: np.ndarray, z: np.ndarray, labels: np.ndarray | None
    ) -> Tensor:
        """Map z float32 [n, z_dim] and labels int64 [n] to w, the network's input on the device.

        Returns float32 [n, 2 z_dim]: z, truncated by psi, and the embedded class.
        """
        assert labels is not None
        truncated = as_tensor(truncated_normals(z, self.psi)).to(self.device)
        embedded = self.network.embed(as_tensor(labels).to(self.device))
        return torch.cat([truncated, embedded], dim=1)

    def synthesize_samples(self, sample_ids: np.ndarray, w: Tensor) -> Tensor:
        """Synthesize images uint8 [n, 3, h, w] of samples from w float32 [n, 2 z_dim].

        Raises SourceError for numbers that are not finite.
        """
        return require_finite(self.run(self._synthesize, sample_ids, w), sample_ids, self.name)

    def _synthesize(self, w: Tensor) -> dict[str, Tensor]:
        return to_uint8(self.network(w, self.psi), biggan)
