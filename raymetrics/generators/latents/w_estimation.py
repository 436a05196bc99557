"""Estimate the distribution of w once, and keep it in memory and in a file beside the weights."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, fields
from functools import lru_cache
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from raymetrics.errors import StorageError
from raymetrics.files import write_atomically
from raymetrics.generators.base import LatentGenerator
from raymetrics.generators.latents.latent_batches import map_at_places
from raymetrics.generators.latents.random_streams import Purpose, sample_stream
from raymetrics.generators.latents.w_distribution import Distribution
from raymetrics.npz_files import DAMAGE_ERRORS, npz_bytes, parse_npz
from raymetrics.provenance import fingerprint
from raymetrics.weights.locate import weights_folder

DRAWS = 10_000  # for the moments; as many again are held out for the thresholds
# Another estimate gives other images, and so needs another number.
_MEAN_VERSION = 1
_THRESHOLDS_VERSION = 2  # 1 took the thresholds from the draws that gave the moments
# A distribution of w with 512 numbers takes 2 MB, and a generator may have a thousand classes.
_MAX_IN_MEMORY = 64


class DistributionCache:
    """A cache of the distributions of w, of each class or of all classes together.

    `for_class(label)` returns the distribution of a class, or of all samples for None. Generators
    with labels need one for each class: the mean over all classes is an image of no class.
    """

    def __init__(self, generator: LatentGenerator) -> None:
        self.generator = generator
        self.for_class = lru_cache(_MAX_IN_MEMORY)(self._load_or_estimate)

    def _load_or_estimate(self, label: int | None) -> Distribution:
        """Read the distribution of a class (None: of all samples) from its file, or estimate it."""
        file = self.file(label)
        distribution = _load(file)
        if distribution is None:
            distribution = self.estimate(label)
            _save(file, distribution)
        return distribution

    def file(self, label: int | None) -> Path:
        """Return the path of a class's file, named by everything that changes the distribution."""
        device = getattr(self.generator, "device", None)
        identity: dict[str, object] = {
            "of": dict(self.generator.spec),
            "label": label,
            # The last bits depend on the kind of device.
            "device": getattr(device, "type", None),
            **estimation_settings(thresholds=True),
        }
        return weights_folder() / "latents" / f"{fingerprint(identity)}.npz"

    def estimate(self, label: int | None) -> Distribution:
        """Estimate the distribution of a class (None: of all samples) from twice `DRAWS` draws.

        The draws have their own stream, so that no sample's z is among them.
        """
        size = self.generator.draw(np.arange(1)).shape[1]
        z = sample_stream(0, Purpose.DISTRIBUTION).randn(2 * DRAWS, size).astype(np.float32)
        w, held_out = (
            self._map_draws(z[draws], draws, label)
            for draws in np.arange(2 * DRAWS).reshape(2, DRAWS)
        )
        with threadpool_limits(1, user_api="blas"):
            return Distribution.from_samples(w, held_out)

    def _map_draws(self, z: np.ndarray, draws: np.ndarray, label: int | None) -> np.ndarray:
        """Map z float32 [n, z] of draws, int64 [n], to w float32 [n, w]."""
        length = self.generator.length
        if label is None:
            labels = self.generator.labels(draws if length is None else draws % length)
        else:
            labels = np.full(len(draws), label, np.int64)
        return map_at_places(self.generator, draws % self.generator.block, z, labels)


def estimation_settings(*, thresholds: bool) -> dict[str, object]:
    """Return the settings that change the estimate of the mean, or also that of the thresholds."""
    return {"draws": DRAWS, "version": _THRESHOLDS_VERSION if thresholds else _MEAN_VERSION}


def _load(file: Path) -> Distribution | None:
    """Load a distribution from a file; None if the file does not exist or cannot be used."""
    try:
        arrays = parse_npz(file.read_bytes())
        return Distribution(**{field.name: arrays[field.name] for field in fields(Distribution)})
    except DAMAGE_ERRORS:
        return None


def _save(file: Path, distribution: Distribution) -> None:
    """Write a distribution to a file, in one step; do nothing if the folder cannot be written.

    Without the file, the next process estimates the distribution again.
    """
    with contextlib.suppress(StorageError):
        write_atomically(file, npz_bytes(asdict(distribution)))
