"""A generator asked for the samples of a unit: together, and if that fails one after another."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from raymetrics.errors import InsufficientResources, RaymetricsError, TemporaryFailure
from raymetrics.generators import Generator

_NO_IMAGES = np.empty((0, 3, 0, 0), np.uint8)


class GeneratedSamples(NamedTuple):
    """What a generator made.

    sample_ids: int64 [n]. images: uint8 [n, 3, h, w]. labels: int64 [n] or None. left_out: the
    samples that were asked for and cannot be made, and why. again: asked for one by one.
    """

    sample_ids: np.ndarray
    images: np.ndarray
    labels: np.ndarray | None
    left_out: dict[int, str]
    one_by_one: bool


def generate_samples(generator: Generator, sample_ids: np.ndarray) -> GeneratedSamples:
    """The samples, int64 [n]; of those that fail each is named. What fails only once is made all
    the same. TemporaryFailure where a store does not answer, PlanTooLarge where the images take
    too much room together: neither is a sample's fault."""
    try:
        return GeneratedSamples(sample_ids, *_call_generator(generator, sample_ids), {}, False)
    except (TemporaryFailure, InsufficientResources):
        raise
    except RaymetricsError as error:
        return _generate_one_by_one(generator, sample_ids, error)


def _generate_one_by_one(
    generator: Generator, sample_ids: np.ndarray, error: RaymetricsError
) -> GeneratedSamples:
    """The same, each sample by itself. error: what they gave together, which is raised where they
    do not fit together."""
    parts: list[tuple[np.ndarray, np.ndarray | None]] = []
    left_out: dict[int, str] = {}
    for sample in sample_ids:
        try:
            parts.append(_call_generator(generator, np.array([sample])))
        except TemporaryFailure:
            raise
        except RaymetricsError as sample_error:
            left_out[int(sample)] = sample_error.message
    if not parts:
        return GeneratedSamples(sample_ids[:0], _NO_IMAGES, None, left_out, True)
    if len({images.shape for images, _ in parts}) > 1:
        raise error
    labels = [label for _, label in parts if label is not None]
    return GeneratedSamples(
        np.array([sample for sample in sample_ids if sample not in left_out]),
        np.concatenate([images for images, _ in parts]),
        np.concatenate(labels) if labels else None,
        left_out,
        True,
    )


def _call_generator(
    generator: Generator, sample_ids: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Images and labels."""
    return generator(sample_ids), generator.labels(sample_ids)
