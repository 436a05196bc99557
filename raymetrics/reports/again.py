"""Images of a result's samples, made again from their ids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from raymetrics import ranges
from raymetrics.errors import RaymetricsError
from raymetrics.generators import open_source
from raymetrics.provenance import fingerprint
from raymetrics.reports.grids import data_uri, grid, thumbnail
from raymetrics.results import Side
from raymetrics.shards.choices import read_choice
from raymetrics.shards.reader import open_shards
from raymetrics.shards.view import Selection

COLUMNS = 10


def sample_ids(side: Side) -> np.ndarray:
    """The ids of a side, int64 [n], ascending. RaymetricsError if they are not to be had."""
    if side.selection:
        ids = read_choice(str(side.selection["file"]), partial=True).sample_ids
        chosen = Selection(np.sort(ids)[: side.count])
        if chosen.digest != side.selection["digest"]:
            raise RaymetricsError(f"{side.selection['file']} holds other samples by now")
        return chosen.ids
    if not side.samples:
        raise RaymetricsError(f"{side.source} is a file of statistics, which holds no samples")
    parts = map(ranges.parse, side.samples)
    return np.concatenate([np.arange(part.start, part.stop) for part in parts])


def images_of(side: Side, ids: Sequence[int] | np.ndarray) -> np.ndarray:
    """uint8 [n, 3, h, w]. RaymetricsError if they would not be the ones that were measured."""
    spec = open_shards(side.uri).spec
    generator = open_source(side.source, torch.device("cpu"))
    same_set = spec.fingerprint == side.fingerprint
    if not same_set or fingerprint(generator.spec) != fingerprint(spec.generator):
        raise RaymetricsError(f"{side.source} is no longer what the shards were made from")
    return generator(np.asarray(ids, np.int64))


def picture(side: Side, ids: Sequence[int] | np.ndarray) -> str:
    """A grid of these samples, as a picture inside a page. RaymetricsError as above."""
    tiles = [thumbnail(image) for image in images_of(side, ids)]
    return data_uri(grid(tiles, COLUMNS))


def evenly(ids: np.ndarray, count: int) -> np.ndarray:
    """So many of the ids, evenly spaced; all if there are fewer."""
    return ids[np.linspace(0, len(ids) - 1, min(count, len(ids))).astype(int)]
