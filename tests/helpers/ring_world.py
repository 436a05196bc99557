"""Define samples on a ring in the plane, so that paths through the middle leave the ring."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow.parquet as pq

from raymetrics.distributed.extraction import extract
from raymetrics.distributed.session import session

EXTRACTOR = "ring_world:Place"
COLUMN = "Place_pre_logits"


def ring_points(sample_ids: np.ndarray, seed: int) -> np.ndarray:
    """Return points near a ring, float32 [n, 2].

    The angle grows slowly with the id, and every seventh sample lies on the other side.
    """
    widths = [np.random.default_rng([seed, k]).normal(90, 6) for k in sample_ids.tolist()]
    angle = 0.03 * sample_ids + np.pi * (sample_ids % 7 == 3)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1) * np.array(widths)[:, None]
    return (128 + ring).astype(np.float32)


def paint_images(w: np.ndarray) -> np.ndarray:
    """Return images uint8 [n, 3, 4, 4] of w [n, 2], with the points in the first two channels."""
    pixels = np.zeros((len(w), 3, 4, 4), np.uint8)
    pixels[:, :2] = np.rint(w).clip(0, 255).astype(np.uint8)[:, :, None, None]
    return pixels


class RealSource:
    """The source of the real samples."""

    length = 300
    spec: ClassVar[dict[str, object]] = {}

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        return paint_images(ring_points(sample_ids, 1))


class LatentSource:
    """A latent generator whose W is the plane; another shift is another generator."""

    block = 4

    def __init__(self, shift: str = "0") -> None:
        self.shift = float(shift)
        self.spec: dict[str, object] = {"shift": self.shift}

    def draw(self, sample_ids: np.ndarray) -> np.ndarray:
        return ring_points(sample_ids, 2)

    def map(self, z: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        return z + np.float32(self.shift)

    def synthesize(self, w: np.ndarray) -> np.ndarray:
        return paint_images(w)

    def labels(self, sample_ids: np.ndarray) -> np.ndarray:
        return sample_ids % 3

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        return self.synthesize(self.map(self.draw(sample_ids), None))


class CopyingSource(LatentSource):
    """A generator whose sample 17 is a copy of the real sample 123."""

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        copies = RealSource()(np.full(len(sample_ids), 123))
        return np.where(
            (sample_ids == 17)[:, None, None, None], copies, super().__call__(sample_ids)
        )


class Place:
    """An extractor that reads the point from the image; the class is left or right."""

    columns: ClassVar[dict[str, int]] = {"pre_logits": 2, "logits": 2}
    class_names = ("left", "right")
    spec: ClassVar[dict[str, object]] = {}

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        places = images[:, :2, 0, 0].astype(np.float32)
        logits = np.stack([255 - places[:, 0], places[:, 0]], axis=1)
        return {"pre_logits": places, "logits": logits}


def expected_path(ends: Path, steps: int) -> np.ndarray:
    """Return the points of the images between the ends in a file, in pixels, [paths, steps, 2]."""
    table = pq.read_table(ends)
    start, end = (ring_points(table[name].to_numpy(), 2)[:, None] for name in ("start", "end"))
    t = (np.arange(1, steps + 1) / (steps + 1))[:, None]
    return np.rint((1 - t) * start + t * end)


def realism(real: np.ndarray, generated: np.ndarray, k: int = 3) -> np.ndarray:
    """Compute Equation 3 by its text, float64 [m], without the half of the larger balls."""
    pair_distances = np.linalg.norm(real[:, None].astype(np.float64) - real, axis=2)
    radii = np.sort(pair_distances, axis=1)[:, k]  # the first is the sample itself
    is_small = radii <= np.median(radii)
    distances = np.linalg.norm(generated[:, None].astype(np.float64) - real[is_small], axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(distances > 0, radii[is_small] / distances, np.inf)
    scores: np.ndarray = ratios.max(axis=1)
    return scores


@contextmanager
def disable_ray() -> Iterator[None]:
    """Make samples and search in this process."""
    with session(local=True):
        yield


def write_sets(folder: Path, generated: int = 200) -> dict[str, str]:
    """Write both sides as shards; return their URIs."""
    uris = {side: str(folder / side) for side in ("real", "generated")}
    extract.extract("ring_world:RealSource", [EXTRACTOR], uris["real"], shard_rows=64)
    extract.extract(
        "ring_world:LatentSource", [EXTRACTOR], uris["generated"], range(generated), shard_rows=64
    )
    return uris
