"""Generate handwritten digits with a small class-conditional latent generator, z -> w -> image.

With this generator, every feature of raymetrics that needs a generator (streams of samples,
truncation in W, snapshots of a training run) works on any machine without a network connection.
`python -m raymetrics.demo.train` trained it on 5,000 digits; the snapshots of that training are
shipped with raymetrics.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from raymetrics.errors import SourceError
from raymetrics.generators.base import SEED_COUNT, seeded_normals
from raymetrics.generators.tensor_generator import LatentTensorGenerator, as_tensor
from raymetrics.generators.uint8_rules import nvidia
from raymetrics.weights.locate import WeightsFile
from raymetrics.weights.shipped import SHIPPED_FOLDER, shipped_weights
from raymetrics.weights.state_dict import load_state_dict

SNAPSHOT_PREFIX = "digits-generator-"
_Z_DIM = W_DIM = 20
_CLASSES = 10
_COUPLINGS = 8


class _Coupling(nn.Module):
    """An affine coupling layer (Dinh et al. 2017), invertible in closed form.

    The layer shifts and scales one half of a vector by functions of the other half and the class.
    """

    def __init__(self, flipped: bool) -> None:
        super().__init__()
        self.flipped = flipped
        self.layers = nn.Sequential(
            nn.Linear(W_DIM // 2 + _CLASSES, 128),
            nn.ReLU(),
            nn.Linear(128, 128),
            nn.ReLU(),
            nn.Linear(128, W_DIM),
        )

    def shift_and_log_scale(self, fixed: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the shift and the log-scale of the half that moves, each [n, 10]."""
        one_hot = nn.functional.one_hot(label, _CLASSES).to(fixed.dtype)
        shift, log_scale = self.layers(torch.cat([fixed, one_hot], dim=1)).chunk(2, dim=1)
        return shift, torch.tanh(log_scale)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        fixed, moved = self.split_halves(x)
        shift, log_scale = self.shift_and_log_scale(fixed, label)
        return self.join_halves(fixed, moved * log_scale.exp() + shift)

    def inverse(self, y: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Compute x, [n, 20], and the logarithm of |dx / dy|, [n]."""
        fixed, moved = self.split_halves(y)
        shift, log_scale = self.shift_and_log_scale(fixed, label)
        return self.join_halves(fixed, (moved - shift) * (-log_scale).exp()), -log_scale.sum(dim=1)

    def split_halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the half that stays fixed and the half that moves."""
        first, second = x.chunk(2, dim=1)
        return (second, first) if self.flipped else (first, second)

    def join_halves(self, fixed: Tensor, moved: Tensor) -> Tensor:
        """Join the half that stays fixed and the half that moves to one vector."""
        return torch.cat([moved, fixed] if self.flipped else [fixed, moved], dim=1)


class MappingNetwork(nn.Module):
    """A normalizing flow: z float32 [n, 20] and a class int64 [n] -> w float32 [n, 20]."""

    def __init__(self) -> None:
        super().__init__()
        self.couplings = nn.ModuleList(_Coupling(i % 2 == 1) for i in range(_COUPLINGS))

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        for coupling in self.couplings:
            z = coupling(z, label)
        return z

    def inverse(self, w: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Compute z, [n, 20], and the logarithm of |dz / dw|, [n]."""
        total = torch.zeros(len(w))
        for coupling in reversed(self.couplings):
            w, log_determinant = coupling.inverse(w, label)  # type: ignore[operator]
            total = total + log_determinant
        return w, total


class _StyledUpsampling(nn.Module):
    """An upsampling by two of a feature map whose channels are scaled by a style of w."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.style = nn.Linear(W_DIM, channels_in)
        self.convolution = nn.ConvTranspose2d(
            channels_in, channels_out, kernel_size=4, stride=2, padding=1
        )

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        styled = x * (1 + self.style(w))[:, :, None, None]
        return nn.functional.leaky_relu(self.convolution(styled), 0.2)


class SynthesisNetwork(nn.Module):
    """The synthesis network: w float32 [n, 20] -> logits of pixels, float32 [n, 1, 28, 28]."""

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Linear(W_DIM, 64 * 7 * 7)
        self.block14 = _StyledUpsampling(64, 48)
        self.block28 = _StyledUpsampling(48, 24)
        self.to_grey = nn.Conv2d(24, 1, kernel_size=3, padding=1)

    def forward(self, w: Tensor) -> Tensor:
        x = nn.functional.leaky_relu(self.start(w), 0.2).view(-1, 64, 7, 7)
        logits: Tensor = self.to_grey(self.block28(self.block14(x, w), w))
        return logits


class DigitsNetwork(nn.Module):
    """The whole generator: `mapping` and `synthesis`."""

    def __init__(self) -> None:
        super().__init__()
        self.mapping = MappingNetwork()
        self.synthesis = SynthesisNetwork()


def shipped_snapshots() -> list[int]:
    """Return the training steps whose snapshots are shipped, ascending."""
    return sorted(
        int(path.stem.rsplit("-", 1)[1]) for path in SHIPPED_FOLDER.glob(f"{SNAPSHOT_PREFIX}*")
    )


def _snapshot_weights(snapshot: int) -> WeightsFile:
    """Return the weights of one snapshot; raise SourceError if no snapshot has this number."""
    path = SHIPPED_FOLDER / f"{SNAPSHOT_PREFIX}{snapshot:06d}.safetensors"
    if not path.is_file():
        known = ", ".join(map(str, shipped_snapshots()))
        raise SourceError(f"digits has no snapshot {snapshot}; there are {known}")
    return shipped_weights(path.name)


class Digits(LatentTensorGenerator):
    """The source `digits`, a latent generator.

    `digits?snapshot=400` is the generator after 400 training steps.
    """

    name = "digits"
    thread_safe = True
    length = None
    seeds = SEED_COUNT
    block = 64

    def __init__(self, device: torch.device, snapshot: int | None = None) -> None:
        self.device = device
        self.weights = _snapshot_weights(
            shipped_snapshots()[-1] if snapshot is None else int(snapshot)
        )
        self.network = DigitsNetwork()
        self.network.load_state_dict(load_state_dict(self.weights))
        self.network.eval().requires_grad_(False).to(device)

    @property
    def spec(self) -> dict[str, object]:
        return {"name": self.name, "weights_sha256": self.weights.sha256}

    def labels(self, sample_ids: np.ndarray) -> np.ndarray:
        """Return the class of each sample, int64 [n] in 0..9: its seed's next draw after z."""
        labels = []
        for seed in sample_ids:
            rng = np.random.RandomState(seed)
            rng.randn(_Z_DIM)
            labels.append(rng.randint(_CLASSES))
        return np.array(labels, np.int64)

    def draw(self, sample_ids: np.ndarray) -> np.ndarray:
        """Draw z float32 [n, 20] for sample ids int64 [n]."""
        return seeded_normals(sample_ids, _Z_DIM)

    def map_samples(
        self, sample_ids: np.ndarray, z: np.ndarray, labels: np.ndarray | None
    ) -> Tensor:
        """Map z float32 [n, 20] and labels int64 [n] in 0..9 to w float32 [n, 20]."""
        assert labels is not None
        rows = np.column_stack([z, labels]).astype(np.float32)
        return self.run(self._map, sample_ids, as_tensor(rows).to(self.device))["w"]

    def _map(self, z_and_label: Tensor) -> dict[str, Tensor]:
        return {"w": self.network.mapping(z_and_label[:, :-1], z_and_label[:, -1].long())}

    def synthesize_samples(self, sample_ids: np.ndarray, w: Tensor) -> Tensor:
        """Synthesize images uint8 [n, 3, 28, 28], with three equal channels, from w [n, 20]."""
        return self.run(self._synthesize, sample_ids, w)["images"]

    def _synthesize(self, w: Tensor) -> dict[str, Tensor]:
        gray = torch.sigmoid(self.network.synthesis(w)) * 2 - 1
        return {"images": nvidia(gray).expand(-1, 3, -1, -1)}
