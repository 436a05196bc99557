"""Save the most and the least realistic samples as PNG files, with R in their names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from raymetrics import option_strings
from raymetrics.errors import RaymetricsError
from raymetrics.files import write_atomically
from raymetrics.permissions import Permission
from raymetrics.reports.sample_images import IMAGES_FOLDER, SampleImages, image_png
from raymetrics.results import Result, Side
from raymetrics.shards.schema import Column
from raymetrics.shards.shard_set import open_shards

_IMAGES_PER_BATCH = 64  # images in memory at a time
_MAX_FOLDER_NAME = 60  # letters


def require_savable_images(generated: str, to: str, permission: Permission) -> None:
    """Check that images of a shard set can be made again from their ids, and saved.

    generated: as "SHARDS" or "SHARDS?ids=FILE". Raise ProgramRefused if the source is a program
    without permission, and other RaymetricsErrors if `to` is no local folder, or if the source
    cannot be opened or has changed.
    """
    if "://" in to:
        raise RaymetricsError(f"images are saved into a local folder; --to is {to}")
    shards = open_shards(option_strings.parse_options(generated)[0])
    permission.require_address(shards.uri, "--generated")
    permission.require_source(shards.spec.source, shards.uri)
    SampleImages(permission).open_generator(shards.uri, shards.spec)


def save_realism_images(results: Sequence[Result], to: str, permission: Permission) -> int:
    """Save the samples that results of `realism` show, in full size; return how many.

    They go to `to`/images/COLUMN, where samples are grouped to a folder below it for each group.
    Raise RaymetricsError if they cannot be made again.
    """
    images = SampleImages(permission)
    return sum(
        _save_samples(
            images, result.generated, samples, Path(to, IMAGES_FOLDER, _column_name(result), group)
        )
        for result in results
        for group, samples in _shown_samples(result)
    )


def _shown_samples(result: Result) -> Iterator[tuple[str, list[Any]]]:
    """Yield the folder of every group, "" without groups, with its samples [id, R]."""
    details = result.details
    if "groups" in details:
        for group in details["groups"]:
            yield _folder_name(str(group["name"])), [*group["highest"], *group["lowest"]]
    elif "highest" in details:
        yield "", [*details["highest"], *details["lowest"]]


def _save_samples(
    images: SampleImages, side: Side, samples: Sequence[Sequence[Any]], folder: Path
) -> int:
    """Save samples [id, R] into a folder; return how many."""
    for start in range(0, len(samples), _IMAGES_PER_BATCH):
        batch = samples[start : start + _IMAGES_PER_BATCH]
        pixels = images.regenerate_images(side, [sample_id for sample_id, _ in batch])
        for image, (sample_id, realism) in zip(pixels, batch, strict=True):
            write_atomically(folder / image_name(sample_id, realism), image_png(image))
    return len(samples)


def image_name(sample_id: int, realism: float | None) -> str:
    """Return a name such as "R-1.0234-id-000123.png"; None is an infinite R."""
    value = "inf" if realism is None else f"{realism:.4f}"
    return f"R-{value}-id-{sample_id:06d}.png"


def _column_name(result: Result) -> str:
    space = result.space
    return Column(str(space["name"]), str(space["output"]), int(space["dimension"])).name


def _folder_name(text: str) -> str:
    """Return a text as the name of a folder: letters, digits and hyphens."""
    return re.sub(r"[^\w]+", "-", text).strip("-_")[:_MAX_FOLDER_NAME] or "group"
