"""Visit all pairs of rows tile by tile on all cores, never all of them at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TypeVar

from raymetrics.metrics.threads import map_on_cores

TILE_ROWS = 1024

_Result = TypeVar("_Result")


def map_tiles(function: Callable[[slice, slice], _Result], count: int, other: int) -> list[_Result]:
    """Return `function` of the tiles of `count` rows of one set with `other` rows of another."""
    tiles = list(itertools.product(_row_ranges(count), _row_ranges(other)))
    return map_on_cores(lambda tile: function(*tile), tiles)


def map_upper_tiles(function: Callable[[slice, slice], _Result], count: int) -> list[_Result]:
    """Return `function` of the tiles of `count` rows with themselves, each pair in one of them.

    A tile on the diagonal has the same rows twice.
    """
    tiles = list(itertools.combinations_with_replacement(_row_ranges(count), 2))
    return map_on_cores(lambda tile: function(*tile), tiles)


def _row_ranges(count: int) -> list[slice]:
    """Cut rows into parts of TILE_ROWS."""
    return [slice(i, min(i + TILE_ROWS, count)) for i in range(0, count, TILE_ROWS)]
