"""Generate images with a StyleGAN2 or a StyleGAN: the source `network.pkl`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from raymetrics.errors import SourceError
from raymetrics.generators import philox
from raymetrics.generators.base import SEED_COUNT, seeded_normals
from raymetrics.generators.class_labels import draw_class
from raymetrics.generators.network_files import load_once, read_bytes
from raymetrics.generators.stylegan2.block_size import default_block
from raymetrics.generators.stylegan2.load_pickle import (
    OTHER_NETWORKS_HINT,
    StyleGAN2Network,
    load_network,
)
from raymetrics.generators.tensor_generator import LatentTensorGenerator, as_tensor
from raymetrics.generators.uint8_rules import nvidia, require_finite, to_uint8

if TYPE_CHECKING:
    from raymetrics.generators.stylegan1.network import AdaINLayer, StyleGANNetwork
    from raymetrics.generators.stylegan2.layers import StyledConvolution

# The options of noise, and what the spec says of them. Noise of earlier versions was "random".
_NOISES = {"const": "const", "random": "random-philox", "none": "none"}
_PRECISIONS = ("float32", "nvidia")


class StyleGAN2(LatentTensorGenerator):
    """A latent generator around a StyleGAN2 from NVIDIA's pickle files, `network.pkl?psi=0.7`.

    A StyleGAN, its predecessor, is drawn from in the same way, also from GenForce's `network.pth`.

    Sample 107 is the image of NVIDIA's `generate.py --seeds=107`, up to the last bits of a float.
    If that program computes in float16, images differ by about one grey level; see `precision`.

    psi: truncation towards the average w. cutoff: the number of first layers to truncate; by
    default all.
    noise: "const", as stored with the network; "none"; or "random", drawn for each sample from its
    id by `philox`.
    label: the class of all samples (`--class` of that program). Without it, RandomState(k) draws
    the class of sample k of a conditional network, after z.
    precision: "float32"; or "nvidia", float16 in the last four blocks, as in the networks that
    NVIDIA published.
    block: the number of images that the network makes at a time; by default what fits the device.
    Another block changes the last bits of floats, and so a few pixels by one grey level.
    """

    length = None
    seeds = SEED_COUNT
    block_by_device = True  # the option `block` makes it the same on another device

    def __init__(
        self,
        path: str,
        device: torch.device,
        psi: str | float = 1.0,
        cutoff: str | int | None = None,
        noise: str = "const",
        label: str | int | None = None,
        precision: str = "float32",
        block: str | int | None = None,
    ) -> None:
        data = read_bytes(path)
        self.name = PurePosixPath(path).stem
        self.device = device
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.precision = precision
        key = ("stylegan2", self.sha256, device, precision)
        self.network = load_once(key, lambda: _load(data, path, precision).to(device))
        self.shape = self.network.shape
        self.psi = float(psi)
        self.cutoff = None if cutoff is None else int(cutoff)
        self.noise = noise
        self.label = None if label is None else int(label)
        self.block = default_block(self.shape, device) if block is None else int(block)
        self._require_valid_options(path)

    def _require_valid_options(self, path: str) -> None:
        if self.noise not in _NOISES:
            raise ValueError(f"noise is {self.noise!r}, expected one of {', '.join(_NOISES)}")
        if self.precision not in _PRECISIONS:
            raise ValueError(
                f"precision is {self.precision!r}, expected one of {', '.join(_PRECISIONS)}"
            )
        if self.block < 1:
            raise ValueError(f"block is {self.block}, expected how many images, from 1 on")
        if self.cutoff is not None and not 0 <= self.cutoff <= self.shape.num_ws:
            raise ValueError(f"cutoff is {self.cutoff}, the layers are 0-{self.shape.num_ws}")
        if self.label is not None and not 0 <= self.label < self.shape.classes:
            raise ValueError(f"label is {self.label}, the network has {self.shape.classes} classes")
        if self.shape.colors not in (1, 3):
            raise SourceError(
                f"{path} makes {self.shape.colors} channels, expected 3; {OTHER_NETWORKS_HINT}"
            )

    @property
    def spec(self) -> dict[str, object]:
        return {
            "name": self.network.family,
            "file_sha256": self.sha256,
            "psi": self.psi,
            "cutoff": self.cutoff,
            "noise": _NOISES[self.noise],
            "label": self.label,
            **({} if self.precision == _PRECISIONS[0] else {"precision": self.precision}),
        }

    def labels(self, sample_ids: np.ndarray) -> np.ndarray | None:
        """Return the class of each sample, int64 [n]; None for a network without classes."""
        if not self.shape.classes:
            return None
        if self.label is not None:
            return np.full(len(sample_ids), self.label, np.int64)
        z_dim, classes = self.shape.z_dim, self.shape.classes
        return np.array([draw_class(k, z_dim, classes) for k in sample_ids], np.int64)

    @property
    def not_latent_because(self) -> str | None:
        """The reason why no single w determines a sample's image; see `LatentGenerator`."""
        if self.cutoff is not None:
            return "with a cutoff its layers have different w; leave out the option cutoff"
        if self.noise == "random":
            return "random noise is of the sample's id and not of its w; take noise=const or none"
        return None

    def draw(self, sample_ids: np.ndarray) -> np.ndarray:
        """Draw z float32 [n, z_dim] for sample ids int64 [n]."""
        return seeded_normals(sample_ids, self.shape.z_dim)

    @property
    def layer_count(self) -> int:
        """The number of layers that take a w."""
        return self.shape.num_ws

    @property
    def map_scaled(self) -> Callable[..., np.ndarray] | None:
        """The function (z, labels, scale), which maps as `map` but multiplies the normalized z.

        None for networks that normalize z and the class together: there z moves to 0 before it.
        """
        return None if self.shape.joint else self._map_scaled

    def _map_scaled(self, z: np.ndarray, labels: np.ndarray | None, scale: float) -> np.ndarray:
        return self.map_samples(np.arange(len(z)), z, labels, scale).cpu().numpy()

    def map_samples(
        self,
        sample_ids: np.ndarray,
        z: np.ndarray,
        labels: np.ndarray | None,
        scale: float = 1.0,
    ) -> Tensor:
        """Map z float32 [n, z_dim] to w, truncated by psi; labels: int64 [n], or None.

        scale: a factor of the normalized z. Returns float32 [n, w_dim]; with a cutoff, [n, num_ws,
        w_dim], as layers then differ.
        """
        rows = z if labels is None else np.column_stack([z, np.eye(self.shape.classes)[labels]])
        tensor = as_tensor(rows.astype(np.float32)).to(self.device)
        return self.run(partial(self._map, scale=scale), sample_ids, tensor)["w"]

    def _map(self, rows: Tensor, scale: float) -> dict[str, Tensor]:
        z, classes = rows.split([self.shape.z_dim, self.shape.classes], dim=1)
        w = self.network.mapping(z, classes if self.shape.classes else None, scale)
        if self.cutoff is None:
            return {"w": self.network.mapping.truncate(w, self.psi)}
        ws = w[:, None].repeat(1, self.shape.num_ws, 1)
        ws[:, : self.cutoff] = self.network.mapping.truncate(ws[:, : self.cutoff], self.psi)
        return {"w": ws}

    def synthesize_tensors(self, w: np.ndarray) -> Tensor:
        """Synthesize images uint8 [n, 3, h, w] from w float32 [n, w_dim] or [n, num_ws, w_dim].

        Random noise is that of samples 0 to n - 1. Raises SourceError for another shape of w.
        """
        d, layers = self.shape.w_dim, self.shape.num_ws
        if w.shape[1:] not in ((d,), (layers, d)):
            raise SourceError(
                f"w for {self.name} is {list(w.shape)}, expected [n, {d}] or [n, {layers}, {d}]"
            )
        return super().synthesize_tensors(w)

    def synthesize_samples(self, sample_ids: np.ndarray, w: Tensor) -> Tensor:
        """Synthesize images uint8 [n, 3, h, w] from w [n, w_dim] or [n, num_ws, w_dim].

        Raises SourceError for numbers that are not finite.
        """
        # The noise needs the ids, so each row is an id and a w; float64 holds both without loss.
        ids = as_tensor(sample_ids).to(self.device)
        rows = torch.cat([ids.double()[:, None], w.flatten(1).double()], dim=1)
        return require_finite(self.run(self._synthesize, sample_ids, rows), sample_ids, self.name)

    def _synthesize(self, rows: Tensor) -> dict[str, Tensor]:
        w = rows[:, 1:].float().unflatten(1, (-1, self.shape.w_dim))
        ws = w.expand(-1, self.shape.num_ws, -1)
        images = self.network.synthesis(ws, self._noises(rows[:, 0].long()))
        return to_uint8(images.expand(-1, 3, -1, -1), nvidia)

    def _noises(self, sample_ids: Tensor) -> list[Tensor | None]:
        """Return the noise of each convolution, by the option `noise`; None for no noise."""
        layers: Sequence[StyledConvolution | AdaINLayer] = self.network.synthesis.convolutions()
        if self.noise == "none" or not self.shape.noise:
            return [None] * len(layers)
        if self.noise == "const":
            return [layer.noise_const for layer in layers]
        return [
            philox.normals(sample_ids, i, layer.noise_const.numel()).unflatten(
                1, (1, *layer.noise_const.shape)
            )
            for i, layer in enumerate(layers)
        ]


def _load(data: bytes, path: str, precision: str) -> StyleGAN2Network | StyleGANNetwork:
    """Load a network in one of the precisions."""
    network = load_network(data, path)
    if precision == "nvidia":
        network.synthesis.to_mixed_precision()
    return network
