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

DRAWS = 10_000
_VERSION = 1  # another estimate gives other images, and so needs another number
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
            **estimation_settings(),
        }
        return weights_folder() / "latents" / f"{fingerprint(identity)}.npz"

    def estimate(self, label: int | None) -> Distribution:
        """Estimate the distribution of a class (None: of all samples) from `DRAWS` draws.

        The draws have their own stream, so that no sample's z is among them.
        """
        generator, ids = self.generator, np.arange(DRAWS)
        size = generator.draw(ids[:1]).shape[1]
        z = sample_stream(0, Purpose.DISTRIBUTION).randn(DRAWS, size).astype(np.float32)
        if label is None:
            labels = generator.labels(ids if generator.length is None else ids % generator.length)
        else:
            labels = np.full(DRAWS, label, np.int64)
        w = map_at_places(generator, ids % generator.block, z, labels)
        with threadpool_limits(1, user_api="blas"):
            return Distribution.from_samples(w)


def estimation_settings() -> dict[str, object]:
    """Return the settings that change the estimate; a part of specs."""
    return {"draws": DRAWS, "version": _VERSION}


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
