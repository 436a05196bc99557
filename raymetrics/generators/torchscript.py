"""Generate images with a network that torch.jit saved: the source `network.ts`."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath

import numpy as np
import torch
from torch import Tensor

from raymetrics.errors import SourceError
from raymetrics.generators.base import SEED_COUNT, seeded_normals
from raymetrics.generators.network_files import load_once, read_bytes
from raymetrics.generators.tensor_generator import LatentTensorGenerator
from raymetrics.generators.uint8_rules import nvidia, require_finite, to_uint8
from raymetrics.weights.torchscript_network import USER_CLASS_ADVICE, load_torchscript


class TorchScript(LatentTensorGenerator):
    """A network from `torch.jit.save`; `network.ts?z=128` takes z of 128 numbers.

    The network maps z float32 [n, z], standard normal, to images [n, 3, h, w], uint8 or floats in
    -1..1. RandomState(k) draws the z of sample k, as in NVIDIA's generators. The source is a latent
    generator whose space W is Z, as the network's own W is not known.
    """

    length = None
    seeds = SEED_COUNT
    block = 16

    def __init__(self, path: str, device: torch.device, z: str | int = 512) -> None:
        self.z_dim = int(z)
        if self.z_dim < 1:
            raise ValueError(f"z is {z}, expected the numbers that the network takes, at least 1")
        data = read_bytes(path)
        self.path, self.device = path, device
        self.name = PurePosixPath(path).stem
        self.sha256 = hashlib.sha256(data).hexdigest()
        key = ("torchscript", self.sha256, device)
        self.network = load_once(key, lambda: load_torchscript(data, path, device))

    @property
    def spec(self) -> dict[str, object]:
        return {"name": "torchscript", "file_sha256": self.sha256, "z": self.z_dim}

    def labels(self, sample_ids: np.ndarray) -> None:
        """Return None: the classes are not known."""

    def draw(self, sample_ids: np.ndarray) -> np.ndarray:
        """Draw z float32 [n, z] for sample ids int64 [n]."""
        return seeded_normals(sample_ids, self.z_dim)

    def synthesize_samples(self, sample_ids: np.ndarray, w: Tensor) -> Tensor:
        """Synthesize images uint8 [n, 3, h, w] of samples from w float32 [n, z] on the device.

        Raises SourceError if the network fails, or gives other outputs than finite images.
        """
        outputs = self.run(self._generate, sample_ids, w)
        return require_finite(outputs, sample_ids, self.path)

    def _generate(self, z: Tensor) -> dict[str, Tensor]:
        try:
            images = self.network(z)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise SourceError(
                f"{self.path} failed on z float32 {list(z.shape)}: {reason}; another size of z "
                "is given as ?z=128"
            ) from None
        return to_uint8(self._require_images(images), nvidia)

    def _require_images(self, images: object) -> Tensor:
        if not isinstance(images, Tensor):
            raise self._output_error(type(images).__name__)
        floats = images.is_floating_point()
        if images.ndim != 4 or images.shape[1] != 3 or not (floats or images.dtype == torch.uint8):
            raise self._output_error(f"{images.dtype} {list(images.shape)}")
        return images

    def _output_error(self, received: str) -> SourceError:
        return SourceError(
            f"{self.path} gave {received} for {self.block} samples, expected uint8 or floats in "
            f"-1..1 [{self.block}, 3, height, width]; for others, {USER_CLASS_ADVICE}"
        )
