"""Make the images of a result's samples again from their ids, and lay them out as pictures."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from raymetrics import sample_ranges
from raymetrics.errors import ProgramRefused, RaymetricsError
from raymetrics.generators import Generator, open_source
from raymetrics.permissions import Permission
from raymetrics.provenance import fingerprint
from raymetrics.results import Side
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.selection_files import read_selection
from raymetrics.shards.shard_set import open_shards
from raymetrics.shards.view import CHOSEN_AT_RANDOM, Selection, View

_MIN_TILE_SIZE, MAX_TILE_SIZE = 56, 112  # pixels of a tile
_TILE_GAP = 2
GRID_COLUMNS = 10
IMAGES_FOLDER = "images"  # where samples are saved in full size
_RESULTS_FILE = "the file of results"

log = logging.getLogger(__name__)


class SampleImages:
    """The images of results' samples, as far as there is permission to make them again.

    A result says where its shards are, and what they were made from. Neither is opened unless it
    is data on this machine, or `permission` allows it. Every refusal is logged once.
    """

    def __init__(self, permission: Permission) -> None:
        self.permission = permission
        self._logged: set[str] = set()
        self._generators: dict[tuple[str, str], Generator] = {}

    def sample_ids(self, side: Side, count: int) -> np.ndarray:
        """Return so many of the ids of a side, evenly spaced, int64 [count], ascending; all ids if
        there are fewer.

        Raise RaymetricsError if they cannot be read, ProgramRefused if they lie on another machine.
        """
        if side.selection:
            return evenly_spaced(self._selected_ids(side, str(side.selection["file"])), count)
        if not side.samples:
            raise RaymetricsError(f"{side.source} is a file of statistics, which holds no samples")
        ranges = [sample_ranges.parse_range(text) for text in side.samples]
        indices = _evenly_spaced_indices(sample_ranges.count_ids(ranges), count)
        return np.array([sample_ranges.id_at(ranges, index) for index in indices])

    def regenerate_images(self, side: Side, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """Make samples again: uint8 [n, 3, h, w].

        Raise RaymetricsError if the set or its source is another one by now, ProgramRefused if a
        program or another machine would be needed.
        """
        self._require_permission(self.permission.require_address, side.uri)
        spec = open_shards(side.uri).spec
        if (spec.source, spec.fingerprint) != (side.source, side.fingerprint):
            raise RaymetricsError(f"{side.uri} is no longer the set that was measured")
        self._require_permission(self.permission.require_source, side.source)
        return self.open_generator(side.uri, spec)(np.asarray(ids, np.int64))

    def open_generator(self, uri: str, spec: DatasetSpec) -> Generator:
        """Open the source of a set, once for all of its samples.

        Raise RaymetricsError if it has changed. The caller asks for permission.
        """
        if (uri, spec.fingerprint) not in self._generators:
            from raymetrics.distributed.devices import worker_device  # loads torch

            generator = open_source(spec.source, worker_device())
            if fingerprint(generator.spec) != fingerprint(spec.generator):
                raise RaymetricsError(f"{spec.source} is no longer what the shards were made from")
            self._generators[uri, spec.fingerprint] = generator
        return self._generators[uri, spec.fingerprint]

    def image_grid_uri(self, side: Side, ids: Sequence[int] | np.ndarray) -> str:
        """Return samples as a grid inside a page. Raise the errors of `regenerate_images`."""
        tiles = [thumbnail(image) for image in self.regenerate_images(side, ids)]
        return data_uri(tile_grid(tiles, GRID_COLUMNS))

    def _selected_ids(self, side: Side, file: str) -> np.ndarray:
        chosen = CHOSEN_AT_RANDOM.fullmatch(file)
        if chosen:
            self._require_permission(self.permission.require_address, side.uri)
            whole = View.from_shards(open_shards(side.uri))
            ids = whole.choose(int(chosen["count"]), int(chosen["seed"])).sample_ids
        else:
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
    """Return so many of the ids, evenly spaced; all if there are fewer."""
    return ids[_evenly_spaced_indices(len(ids), count)]


def _evenly_spaced_indices(length: int, count: int) -> np.ndarray:
    return np.linspace(0, length - 1, min(count, length)).astype(int)


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Return an image uint8 [3, h, w] as a tile uint8 [h', w', 3]."""
    pixels = np.ascontiguousarray(image.transpose(1, 2, 0))
    return resize_picture(pixels, max(1, _MIN_TILE_SIZE // max(pixels.shape[:2])), MAX_TILE_SIZE)


def resize_picture(pixels: np.ndarray, factor: int, max_size: int) -> np.ndarray:
    """Return pixels uint8 [h, w, 3] enlarged by a whole factor, so that every pixel stays visible.

    A picture that is wider or higher than max_size is made smaller instead, to max_size.
    """
    if max(pixels.shape[:2]) > max_size:
        picture = Image.fromarray(pixels)
        picture.thumbnail((max_size, max_size), Image.Resampling.LANCZOS)
        return np.asarray(picture)
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def tile_grid(tiles: Sequence[np.ndarray], columns: int) -> Image.Image:
    """Return tiles uint8 [h, w, 3] of one size side by side, row by row, on white."""
    height, width, _ = tiles[0].shape
    step_y, step_x = height + _TILE_GAP, width + _TILE_GAP
    rows = -(-len(tiles) // columns)
    canvas = np.full((rows * step_y - _TILE_GAP, columns * step_x - _TILE_GAP, 3), 255, np.uint8)
    for i, tile in enumerate(tiles):
        y, x = i // columns * step_y, i % columns * step_x
        canvas[y : y + height, x : x + width] = tile
    return Image.fromarray(canvas)


def png_bytes(picture: Image.Image) -> bytes:
    """Return the picture as the bytes of a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def image_png(image: np.ndarray) -> bytes:
    """Return an image uint8 [3, h, w] of full size as the bytes of a PNG file."""
    return png_bytes(Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))))


def data_uri(picture: Image.Image) -> str:
    """Return the picture as a PNG inside a page."""
    return "data:image/png;base64," + base64.b64encode(png_bytes(picture)).decode()
