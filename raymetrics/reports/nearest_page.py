"""Write a page of generated samples beside their nearest training samples."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from raymetrics.errors import RaymetricsError
from raymetrics.permissions import Permission
from raymetrics.reports.figures import COLORS, new_axes, svg
from raymetrics.reports.html import render_template, write_page
from raymetrics.reports.sample_images import SampleImages, data_uri, resize_picture
from raymetrics.reports.terminal import format_convention, format_value
from raymetrics.results import Result

_RATIO_METRIC, _TEST_METRIC = "nearest_ratio", "c_t"
_MIN_TILE_SIZE, _MAX_TILE_SIZE = 112, 160  # pixels of a picture


@dataclass(frozen=True)
class _Pair:
    """A generated sample and its nearest training sample, as pictures."""

    generated: str
    real: str
    generated_id: int
    real_id: int
    distance: str
    ratio: str


@dataclass(frozen=True)
class _NearestSection:
    """The numbers of a space with its closest pairs, or the reason why they are not shown."""

    results: list[Result]
    readings: list[str]
    histogram: str
    pairs: list[_Pair]
    why_no_images: str | None


def write_nearest_page(
    results: Sequence[Result],
    *,
    to: str | Path,
    run_code: bool = False,
    written: Collection[str] = (),
) -> Path:
    """Write results of `raymetrics nearest` as `to`/index.html; return its path.

    Images are made again from their ids, if the sources and the shards can be opened; else the page
    states the reason. Programs and other machines are opened as `report` opens them. The page loads
    no other file. Raise StorageError if it cannot be written.
    """
    images = SampleImages(Permission(run_code, frozenset(written)))
    by_space = groupby(results, lambda result: (result.space["name"], result.space["output"]))
    text = render_template(
        "nearest_page.html",
        sections=[_nearest_section([*group], images) for _, group in by_space],
        number=format_value,
        protocol=format_convention,
    )
    return write_page(text, to)


def nearest_sentences(results: Sequence[Result]) -> list[str]:
    """Return a sentence for every result about a closest pair, or about a test."""
    return [
        _sentence(result) for result in results if result.metric in (_RATIO_METRIC, _TEST_METRIC)
    ]


def _sentence(result: Result) -> str:
    details = result.details
    if result.metric == _TEST_METRIC:
        return (
            f"{result.space_name}: where nothing is copied, a C_T of {result.value:.4g} or lower "
            f"has the probability {details['p_value']:.3g}."
        )
    generated_id, real_id, distance, _ = details["closest"][0]
    copies, count = details["copies"], result.generated.count
    return (
        f"{result.space_name}: the closest pair is generated sample {generated_id} and training "
        f"sample {real_id}, at distance {distance:.4g}; {copies} of {count} generated samples are "
        "at distance 0 of a training sample."
    )


def _nearest_section(results: list[Result], images: SampleImages) -> _NearestSection:
    """Return the results of one space with its closest pairs for the page."""
    ratio = next(result for result in results if result.metric == _RATIO_METRIC)
    pairs: list[_Pair] = []
    why_no_images = None
    try:
        pairs = _picture_pairs(ratio, images)
    except RaymetricsError as error:
        why_no_images = str(error)
    histogram = _ratio_histogram(ratio.details["histogram"])
    return _NearestSection(results, nearest_sentences(results), histogram, pairs, why_no_images)


def _picture_pairs(result: Result, images: SampleImages) -> list[_Pair]:
    """Return the closest pairs as pictures. Raise RaymetricsError if they cannot be made again."""
    closest: Sequence[Sequence[Any]] = result.details["closest"]
    sides = zip(
        images.regenerate_images(result.generated, [pair[0] for pair in closest]),
        images.regenerate_images(result.real, [pair[1] for pair in closest]),
        strict=True,
    )
    return [
        _Pair(
            picture_uri(generated),
            picture_uri(real),
            generated_id,
            real_id,
            f"{distance:.4g}",
            "0 / 0" if ratio is None else f"{ratio:.3f}",
        )
        for (generated, real), (generated_id, real_id, distance, ratio) in zip(
            sides, closest, strict=True
        )
    ]


def picture_uri(image: np.ndarray) -> str:
    """Return an image uint8 [3, h, w] as a picture inside a page."""
    pixels = np.ascontiguousarray(image.transpose(1, 2, 0))
    factor = max(1, _MIN_TILE_SIZE // max(pixels.shape[:2]))
    return data_uri(Image.fromarray(resize_picture(pixels, factor, _MAX_TILE_SIZE)))


def _ratio_histogram(histogram: dict[str, list[float]]) -> str:
    """Draw how many generated samples have which ratio."""
    figure, axes = new_axes(
        "distance to the nearest / mean of the next", "generated samples", (6.4, 1.8)
    )
    axes.stairs(histogram["counts"], histogram["edges"], fill=True, color=COLORS[0])
    axes.set_xlim(0, 1)
    return svg(figure)
