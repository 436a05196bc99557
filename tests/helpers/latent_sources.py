"""Define latent generators as users write them, in closed forms that show a wrong place."""

from __future__ import annotations

import numpy as np

from raymetrics.generators.base import seeded_normals

SCALES = np.array([1, 4, 0.25])
CENTER = np.array([5, 0, -3])


def expected_w(z: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """Compute a skewed w, with axes of different lengths; class c moves it by 20 c everywhere."""
    w = np.expm1(z.astype(np.float64) / 2) * SCALES + CENTER
    return w if labels is None else w + 20 * labels[:, None]


class Flow:
    """A generator with z and w of 3 numbers and images of one pixel.

    Each place in a batch moves w by another millionth.
    """

    def __init__(self, classes: str = "0", block: str = "64", length: str = "") -> None:
        self.classes, self.block = int(classes), int(block)
        self.length = int(length) if length else None
        self.spec = {"classes": self.classes, "block": self.block}

    def labels(self, sample_ids: np.ndarray) -> np.ndarray | None:
        return sample_ids * 7 // 3 % self.classes if self.classes else None

    def draw(self, sample_ids: np.ndarray) -> np.ndarray:
        return seeded_normals(sample_ids, 3)

    def map(self, z: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        return self._map(np.arange(len(z)), z, labels)

    def _map(self, places: np.ndarray, z: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        moved = expected_w(z, labels) + 1e-6 * (places % self.block)[:, None]
        return moved.astype(np.float32)

    def synthesize(self, w: np.ndarray) -> np.ndarray:
        return self._paint(np.arange(len(w)), w)

    def _paint(self, places: np.ndarray, w: np.ndarray) -> np.ndarray:
        gray = np.clip(np.abs(w) * 11 + places[:, None] % self.block, 0, 255).astype(np.uint8)
        return gray[:, :, None, None]

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        w = self._map(sample_ids, self.draw(sample_ids), self.labels(sample_ids))
        return self._paint(sample_ids, w)


class Sphere(Flow):
    """A generator whose mapping normalizes z first, as StyleGAN's does."""

    def map(self, z: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        length = np.sqrt(np.square(z).mean(axis=1, keepdims=True) + 1e-8)
        return super().map((z / length).astype(np.float32), labels)


class BlankFlow(Flow):
    """A generator whose images are not finite for a negative w."""

    def synthesize(self, w: np.ndarray) -> np.ndarray:
        if (w < 0).any():
            raise RuntimeError("negative")
        return super().synthesize(w)


class CrookedFlow(Flow):
    """A generator that breaks the contract: `map` returns one w too many."""

    def map(self, z: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        return super().map(np.concatenate([z, z[:1]]), labels)


class Linear:
    """A generator whose w is a random linear map of z, and so Gaussian; images of one pixel."""

    length, block = None, 64

    def __init__(self, d: str) -> None:
        self.d, self.spec = int(d), {"d": d}
        self.mixing = np.random.default_rng(0).normal(size=(self.d, self.d))

    def draw(self, sample_ids: np.ndarray) -> np.ndarray:
        return seeded_normals(sample_ids, self.d)

    def map(self, z: np.ndarray, labels: None) -> np.ndarray:
        return (z @ self.mixing).astype(np.float32)

    def synthesize(self, w: np.ndarray) -> np.ndarray:
        return np.clip(np.abs(w[:, :3]), 0, 255).astype(np.uint8)[:, :, None, None]

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        return self.synthesize(self.map(self.draw(sample_ids), None))


class ScaledSphere(Sphere):
    """A Sphere that can also move z after it is normalized."""

    def map_scaled(self, z: np.ndarray, labels: np.ndarray | None, scale: float) -> np.ndarray:
        length = np.sqrt(np.square(z).mean(axis=1, keepdims=True) + 1e-8)
        return Flow.map(self, (scale * (z / length)).astype(np.float32), labels)

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        z, labels = self.draw(sample_ids), self.labels(sample_ids)
        length = np.sqrt(np.square(z).mean(axis=1, keepdims=True) + 1e-8)
        return self._paint(
            sample_ids, self._map(sample_ids, (z / length).astype(np.float32), labels)
        )


class LayeredFlow(Flow):
    """A generator of four layers, each with a w; every layer gives a column of the image."""

    layer_count = 4

    def synthesize(self, w: np.ndarray) -> np.ndarray:
        by_layers = w if w.ndim == 3 else np.repeat(w[:, None], self.layer_count, axis=1)
        columns = [super(LayeredFlow, self).synthesize(part) for part in by_layers.swapaxes(0, 1)]
        return np.concatenate(columns, axis=3)

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        return np.repeat(super().__call__(sample_ids), self.layer_count, axis=3)
