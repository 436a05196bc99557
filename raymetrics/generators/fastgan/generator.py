"""Generate images with a Projected FastGAN: the source `network.pkl`."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath

import numpy as np
import torch
from torch import Tensor

from raymetrics.errors import SourceError
from raymetrics.generators import philox
from raymetrics.generators.base import SEED_COUNT, seeded_normals
from raymetrics.generators.class_labels import draw_class, parse_classes, take_turns
from raymetrics.generators.fastgan.load_pickle import load_network
from raymetrics.generators.network_files import load_once, read_bytes
from raymetrics.generators.stylegan2.block_size import default_block
from raymetrics.generators.tensor_generator import LatentTensorGenerator, as_tensor
from raymetrics.generators.uint8_rules import nvidia, require_finite, to_uint8

_NOISES = ("random", "const", "none")


class FastGAN(LatentTensorGenerator):
    """A latent generator around a FastGAN from Projected GAN's pickle files, `network.pkl`.

    Sample 107 has the z of that program's `gen_images.py --seeds=107`. Its noise is another: the
    program draws noise without a seed in every call.

    noise: "random", drawn for each sample from its id by `philox`; "const", the noise of sample 0
    for all samples; or "none".
    label: the classes that the samples take in turn, "3", "3,5" or "all". Without it,
    RandomState(k) draws the class of sample k of a conditional network, after z.
    block: the number of images that the network makes at a time; by default what fits the device.

    W is the space of z divided by its length, and the class's embedding behind it.
    """

    length = None
    seeds = SEED_COUNT
    block_by_device = True  # the option `block` makes it the same on another device

    def __init__(
        self,
        path: str,
        device: torch.device,
        noise: str = _NOISES[0],
        label: str | int | None = None,
        block: str | int | None = None,
    ) -> None:
        data = read_bytes(path)
        self.name = PurePosixPath(path).stem
        self.device = device
        self.sha256 = hashlib.sha256(data).hexdigest()
        key = ("fastgan", self.sha256, device)
        self.network = load_once(key, lambda: load_network(data, path).to(device))
        self.shape = self.network.shape
        self.noise = noise
        self.classes = parse_classes(label, self.shape.classes)
        self.block = default_block(self.shape, device) if block is None else int(block)
        self._require_valid_options(path)

    def _require_valid_options(self, path: str) -> None:
        if self.noise not in _NOISES:
            raise ValueError(f"noise is {self.noise!r}, expected one of {', '.join(_NOISES)}")
        if self.block < 1:
            raise ValueError(f"block is {self.block}, expected how many images, from 1 on")
        if self.shape.colors not in (1, 3):
            raise SourceError(f"{path} makes {self.shape.colors} channels, expected 1 or 3")

    @property
    def spec(self) -> dict[str, object]:
        return {
            "name": "fastgan",
            "file_sha256": self.sha256,
            "noise": self.noise,
            "label": None if self.classes is None else list(self.classes),
        }

    @property
    def not_latent_because(self) -> str | None:
        """The reason why no single w determines a sample's image; see `LatentGenerator`."""
        if self.noise == "random" and any(self.network.noise_resolutions()):
            return "random noise is of the sample's id and not of its w; take noise=const or none"
        return None

    def labels(self, sample_ids: np.ndarray) -> np.ndarray | None:
        """Return the class of each sample, int64 [n]; None for a network without classes."""
        if not self.shape.classes:
            return None
        if self.classes is not None:
            return take_turns(sample_ids, self.classes)
        z_dim, classes = self.shape.z_dim, self.shape.classes
        return np.array([draw_class(k, z_dim, classes) for k in sample_ids], np.int64)

    def draw(self, sample_ids: np.ndarray) -> np.ndarray:
        """Draw z float32 [n, z_dim] for sample ids int64 [n]."""
        return seeded_normals(sample_ids, self.shape.z_dim)

    def map_samples(
        self, sample_ids: np.ndarray, z: np.ndarray, labels: np.ndarray | None
    ) -> Tensor:
        """Map z float32 [n, z_dim] to w float32 [n, w_dim]; labels: int64 [n], or None."""
        numbers = z if labels is None else np.column_stack([z, labels])
        rows = as_tensor(numbers.astype(np.float64)).to(self.device)
        return self.run(self._map, sample_ids, rows)["w"]

    def _map(self, rows: Tensor) -> dict[str, Tensor]:
        z = rows[:, : self.shape.z_dim].float()
        labels = rows[:, -1].long() if self.shape.classes else None
        return {"w": self.network.map(z, labels)}

    def synthesize_samples(self, sample_ids: np.ndarray, w: Tensor) -> Tensor:
        """Synthesize images uint8 [n, 3, h, w] of samples from w float32 [n, w_dim].

        Raises SourceError for numbers that are not finite.
        """
        # The noise needs the ids, so each row is an id and a w; float64 holds both without loss.
        ids = as_tensor(sample_ids).to(self.device)
        rows = torch.cat([ids.double()[:, None], w.double()], dim=1)
        return require_finite(self.run(self._synthesize, sample_ids, rows), sample_ids, self.name)

    def _synthesize(self, rows: Tensor) -> dict[str, Tensor]:
        images = self.network(rows[:, 1:].float(), self._noises(rows[:, 0].long()))
        return to_uint8(images.expand(-1, 3, -1, -1), nvidia)

    def _noises(self, sample_ids: Tensor) -> list[Tensor | None]:
        """Return the noise of each stage, by the option `noise`; None for no noise."""
        ids = torch.zeros_like(sample_ids[:1]) if self.noise == "const" else sample_ids
        return [
            philox.normals(ids, i, size**2).unflatten(1, (1, size, size))
            if size and self.noise != "none"
            else None
            for i, size in enumerate(self.network.noise_resolutions())
        ]
