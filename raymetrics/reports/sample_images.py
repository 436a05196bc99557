"""Images of a result's samples, made again from their ids."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
import torch

from raymetrics import sample_ranges
from raymetrics.errors import ProgramRefused, RaymetricsError
from raymetrics.generators import open_source
from raymetrics.permissions import Permission
from raymetrics.provenance import fingerprint
from raymetrics.reports.grids import data_uri, thumbnail, tile_grid
from raymetrics.results import Side
from raymetrics.shards.selection_files import read_selection
from raymetrics.shards.shard_set import open_shards
from raymetrics.shards.view import Selection

_GRID_COLUMNS = 10
_RESULTS_FILE = "the file of results"

log = logging.getLogger(__name__)


class SampleImages:
    """The images of results' samples, as far as there is permission to make them again.

    A result says where its shards are, and what they were made from. Neither is opened unless it
    is data on this machine, or `permission` allows it. What is refused is logged, a line each.
    """

    def __init__(self, permission: Permission) -> None:
        self.permission = permission
        self._logged: set[str] = set()

    def sample_ids(self, side: Side, count: int) -> np.ndarray:
        """Give so many of the ids of a side, evenly spaced, int64 [count], ascending; all if there
        are fewer. RaymetricsError if they cannot be read, ProgramRefused if they lie on another
        machine."""
        if side.selection:
            return evenly_spaced(self._selected_ids(side, str(side.selection["file"])), count)
        if not side.samples:
            raise RaymetricsError(f"{side.source} is a file of statistics, which holds no samples")
        ranges = [sample_ranges.parse_range(text) for text in side.samples]
        return np.array(
            [
                sample_ranges.id_at(ranges, index)
                for index in _evenly_spaced_indices(sample_ranges.count_ids(ranges), count)
            ]
        )

    def regenerate_images(self, side: Side, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """Make samples again: uint8 [n, 3, h, w]. RaymetricsError if they would not be the ones
        that were measured, ProgramRefused if that takes a program or another machine."""
        self._require_permission(self.permission.require_address, side.uri)
        spec = open_shards(side.uri).spec
        if (spec.source, spec.fingerprint) != (side.source, side.fingerprint):
            raise RaymetricsError(f"{side.uri} is no longer the set that was measured")
        self._require_permission(self.permission.require_source, side.source)
        generator = open_source(side.source, torch.device("cpu"))
        if fingerprint(generator.spec) != fingerprint(spec.generator):
            raise RaymetricsError(f"{side.source} is no longer what the shards were made from")
        return generator(np.asarray(ids, np.int64))

    def image_grid_uri(self, side: Side, ids: Sequence[int] | np.ndarray) -> str:
        """Draw samples as a grid inside a page. Errors of `images`."""
        tiles = [thumbnail(image) for image in self.regenerate_images(side, ids)]
        return data_uri(tile_grid(tiles, _GRID_COLUMNS))

    def _selected_ids(self, side: Side, file: str) -> np.ndarray:
        self._require_permission(self.permission.require_address, file)
        ids = read_selection(file, partial=True).sample_ids
        selection = Selection(np.sort(ids)[: side.count])
        if selection.digest != side.selection["digest"]:
            raise RaymetricsError(f"{file} holds other samples by now")
        return selection.ids

    def _require_permission(self, require: Callable[[str, str], None], text: str) -> None:
        try:
            require(text, _RESULTS_FILE)
        except ProgramRefused as error:
            if str(error) not in self._logged:
                self._logged.add(str(error))
                log.warning("samples are not shown: %s", error)
            raise


def evenly_spaced(ids: np.ndarray, count: int) -> np.ndarray:
    """So many of the ids, evenly spaced; all if there are fewer."""
    return ids[_evenly_spaced_indices(len(ids), count)]


def _evenly_spaced_indices(length: int, count: int) -> np.ndarray:
    return np.linspace(0, length - 1, min(count, length)).astype(int)
