"""The source `network.ts`: a generator as torch.jit saved it."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath

import numpy as np
import torch
from torch import Tensor

from raymetrics.errors import SourceError
from raymetrics.fixed_batches import run_in_fixed_batches
from raymetrics.generators.base import SEED_COUNT, seeded_normals
from raymetrics.generators.network_files import load_once, read_bytes
from raymetrics.generators.uint8_rules import nvidia, require_finite, to_uint8
from raymetrics.weights.torchscript_network import USER_CLASS_ADVICE, load_torchscript


class TorchScript:
    """z -> images, saved by `torch.jit.save`; `network.ts?z=128` takes z of 128 numbers.

    The program maps z float32 [n, z], standard normal, to images [n, 3, h, w], uint8 or floats
    in -1..1. Sample k has the z that RandomState(k) draws, as NVIDIA's generators do. A latent
    generator without a space W that is known.
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
        """Not known."""

    def draw(self, sample_ids: np.ndarray) -> np.ndarray:
        """sample_ids int64 [n] -> z float32 [n, z]."""
        return seeded_normals(sample_ids, self.z_dim)

    def map(self, z: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        """z, as it is."""
        return z

    def synthesize(self, w: np.ndarray) -> np.ndarray:
        """w float32 [n, z] -> images uint8 [n, 3, h, w]. SourceError for anything else."""
        return self._synthesize_samples(np.arange(len(w)), w)

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        """sample_ids int64 [n] -> images uint8 [n, 3, h, w]. SourceError for anything else."""
        return self._synthesize_samples(sample_ids, self.draw(sample_ids))

    def _synthesize_samples(self, sample_ids: np.ndarray, w: np.ndarray) -> np.ndarray:
        outputs = run_in_fixed_batches(self._generate, sample_ids, w, self.block)
        return require_finite(outputs, sample_ids, self.path)

    def _generate(self, z: np.ndarray) -> dict[str, np.ndarray]:
        try:
            images = self.network(torch.from_numpy(z).to(self.device))
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
            f"{self.path} gave {received} for {self.block} samples, expected uint8 or floats in -1..1 "
            f"[{self.block}, 3, height, width]; for others, {USER_CLASS_ADVICE}"
        )
