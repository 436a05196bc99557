"""Files of neighbors beside the shards, and the checks that they pass before they are used.

A set may come from elsewhere, with its files. The name of a file holds a digest of the search; a
digest inside the file covers the name and the arrays. A file with another digest, or with arrays
that cannot be neighbors, is not used: a line says so, and the search is done again. This finds
every accident. Against a forged file with a true digest see
`raymetrics.distributed.neighbor_spot_checks`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from hashlib import sha256

import numpy as np

from raymetrics.errors import StorageError
from raymetrics.npz_files import DAMAGE_ERRORS, Arrays, npz_bytes, parse_npz
from raymetrics.shards.store import Store

NEIGHBORS_FOLDER = "neighbours"
NEIGHBORS_VERSION = 4  # of the files there; another version is not read
_DIGEST_KEY = "digest"

ArraysCheck = Callable[[Arrays], str | None]  # what is wrong with arrays, in words

log = logging.getLogger(__name__)


def read_neighbor_file(store: Store, name: str, check: ArraysCheck) -> Arrays | None:
    """Read the arrays of a file; return None if it does not exist, is damaged, or fails the check.

    A warning names a file that is damaged or fails the check.
    """
    data = store.read(name)
    if data is None:
        return None
    problem, arrays = parse_neighbor_file(data, name)
    problem = problem or check(arrays)
    if problem:
        log.warning("%s is not used and is made again: %s", store.path(name), problem)
    return None if problem else arrays


def parse_neighbor_file(data: bytes, name: str) -> tuple[str | None, Arrays]:
    """Parse a file of `write_neighbor_file`; return what is wrong with it, or None, and arrays."""
    try:
        arrays = parse_npz(data)
        stated_digest = str(arrays.pop(_DIGEST_KEY))
    except DAMAGE_ERRORS as error:
        return f"it is damaged ({type(error).__name__}: {error})", {}
    unchanged = stated_digest == _arrays_digest(name, arrays)
    return (None if unchanged else "its arrays are not the ones that were written"), arrays


def write_neighbor_file(store: Store, name: str, arrays: Arrays) -> None:
    """Write arrays for a rerun, if the store can be written to."""
    digest = np.array(_arrays_digest(name, arrays))
    try:
        store.replace(name, npz_bytes({**arrays, _DIGEST_KEY: digest}, compress=True))
    except StorageError:
        return


def _arrays_digest(name: str, arrays: Arrays) -> str:
    """Return the SHA-256 of a file's name and of its arrays."""
    hasher = sha256(name.encode())
    for key in sorted(arrays):
        array = np.ascontiguousarray(arrays[key])
        hasher.update(f"{key} {array.dtype.str} {array.shape};".encode())
        hasher.update(array.tobytes())
    return hasher.hexdigest()


def problem_with_distances(
    arrays: Arrays, shape: tuple[int, int], *, all_finite: bool, name: str = "distances"
) -> str | None:
    """Say why arrays cannot be the distances to nearest neighbors, float64 of this shape.

    all_finite: whether each sample has so many neighbors; otherwise some may be infinitely far.
    """
    distances = arrays.get(name)
    if distances is None or distances.dtype != np.float64 or distances.shape != shape:
        return f"it holds no {name} float64 {list(shape)}"
    if (
        np.isnan(distances).any()
        or (distances < 0).any()
        or (distances[:, 1:] < distances[:, :-1]).any()
    ):
        return "its distances are not numbers of at least 0 that ascend"
    return (
        "some of its distances are infinite" if all_finite and np.isinf(distances).any() else None
    )


def problem_with_misses(arrays: Arrays, side: str, count: int) -> str | None:
    """Say why arrays cannot be products of distance / reach, float64 [count]."""
    misses = arrays.get(f"{side}_misses")
    if misses is None or misses.dtype != np.float64 or misses.shape != (count,):
        return f"it holds no {side}_misses float64 {[count]}"
    return (
        None if ((misses >= 0) & (misses <= 1)).all() else f"its {side}_misses are not from 0 to 1"
    )


def problem_with_neighbors(arrays: Arrays, shape: tuple[int, int], base_rows: int) -> str | None:
    """Say why arrays cannot be `NearestNeighbors` of this shape among so many rows."""
    rows = arrays.get("rows")
    if rows is None or rows.dtype != np.int64 or rows.shape != shape:
        return f"it holds no rows int64 {list(shape)}"
    if (rows < -1).any() or (rows >= base_rows).any():
        return f"its rows are not from 0 to {base_rows - 1}"
    return problem_with_distances(arrays, shape, all_finite=False)


def problem_with_balls(
    arrays: Arrays, side: str, points: int, balls: int, radii: int
) -> str | None:
    """Say why arrays cannot be a `BallMembership` of so many points and balls."""
    shapes = {
        "hits": (np.int64, (points, radii)),
        "occupancy": (np.int64, (balls, radii)),
        "realism": (np.float64, (points,)),
    }
    for name, (dtype, shape) in shapes.items():
        array = arrays.get(f"{side}_{name}")
        if array is None or array.dtype != dtype or array.shape != shape:
            return f"it holds no {side}_{name} {np.dtype(dtype)} {list(shape)}"
    for name, most in (("hits", balls), ("occupancy", points)):
        counts = arrays[f"{side}_{name}"]
        if (counts < 0).any() or (counts > most).any():
            return f"its {side}_{name} is not from 0 to {most}"
    realism = arrays[f"{side}_realism"]
    return None if (realism >= 0).all() else f"its {side}_realism is not at least 0"
