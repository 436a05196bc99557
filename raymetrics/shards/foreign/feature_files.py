"""Features of another program as a side: an array in .npz or .npy, or a folder of .npy files.

They are kept as a shard set in the cache, so that every metric takes them that needs no images:
FVD's logits of clips, VGGish's embeddings of audio, or those of any network of one's own.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raymetrics.errors import ShardError, StorageError
from raymetrics.npz_files import DAMAGE_ERRORS, NpzArrays, parse_npy
from raymetrics.option_strings import format_options, parse_options
from raymetrics.provenance import fingerprint
from raymetrics.safe_archives.damage import require_undamaged
from raymetrics.safe_archives.npy_headers import NpyHeader, read_npy_header
from raymetrics.shards.foreign.atomic_folder import new_folder
from raymetrics.shards.layout import FINGERPRINT_PLACEHOLDER
from raymetrics.shards.open_view import open_view
from raymetrics.shards.schema import make_columns, require_distinct_names
from raymetrics.shards.set_cache import cache_folder, set_place
from raymetrics.shards.store import Store
from raymetrics.shards.view import View
from raymetrics.shards.write_features import write_features

_OPTIONS = ("column", "space")
_NPY, _NPZ = ".npy", ".npz"
_SPACE = "features"  # the name of a space that nobody names
_OUTPUT = "features"


@dataclass(frozen=True)
class FeatureFile:
    """A file of features as a user names it: where it is, which array, and the name of its space.

    column: the name of the array in a .npz; "" for the only one of features.
    """

    place: str
    column: str
    space: str

    @classmethod
    def parse(cls, text: str) -> FeatureFile:
        """Parse "clips.npz?column=features&space=i3d-k400". ShardError for another option."""
        place, options = parse_options(text, ShardError)
        unknown = options.keys() - set(_OPTIONS)
        if unknown:
            raise ShardError(
                f"{place} is a file of features, which has no option {', '.join(sorted(unknown))}; "
                f"there are {', '.join(_OPTIONS)}"
            )
        return cls(place, options.get("column", ""), options.get("space", _SPACE))

    @property
    def source(self) -> str:
        """The text by which a result names it."""
        place = self.place if "://" in self.place else str(Path(self.place).resolve())
        column = {"column": self.column} if self.column else {}
        return format_options(place, {**column, "space": self.space})


def names_features(text: str) -> bool:
    """Return whether a text names features: by its space, or by what a local file holds.

    A file without a space has features if it is one array of floats [n, d], or a .npz with one such
    array, or with such a column, and none of images.
    """
    place, options = parse_options(text, ShardError)
    is_file = place.endswith((_NPY, _NPZ))
    if "space" in options:
        return is_file or os.path.isdir(place)
    if not is_file or options.keys() - set(_OPTIONS) or not os.path.isfile(place):
        return False
    try:
        with open(place, "rb") as file:
            headers = _headers(file, place)
    except DAMAGE_ERRORS:
        return False
    if "column" in options:
        return options["column"] in headers and _is_matrix(headers[options["column"]])
    images = any(len(header.shape) > 2 for header in headers.values())
    return not images and sum(map(_is_matrix, headers.values())) == 1


def _headers(file: io.BufferedIOBase, place: str) -> Mapping[str, NpyHeader]:
    """Return the headers of the arrays in a file, by their keys."""
    if place.endswith(_NPY):
        return {"": read_npy_header(file)}  # type: ignore[arg-type]
    arrays = NpzArrays(file)  # type: ignore[arg-type]
    return {name: arrays.header(name) for name in arrays}


def _is_matrix(header: NpyHeader) -> bool:
    return len(header.shape) == 2 and header.dtype.kind == "f"


def open_features(text: str) -> View:
    """Open features as a shard set in the cache, which is written if it is not there.

    StorageError if there is no file, ShardError for another array than floats [n, d], for values
    that float32 cannot hold, and for several arrays of which none is named.
    """
    file = FeatureFile.parse(text)
    features = read_features(file)
    spec = {"name": file.space, "resize": "not stated by the file", "dimension": features.shape[1]}
    columns = make_columns(file.space, {_OUTPUT: features.shape[1]})
    require_distinct_names(columns)
    digest = hashlib.sha256(np.ascontiguousarray(features).data).hexdigest()
    identity = fingerprint({"source": file.source, "space": spec, "sha256": digest})
    name = parse_options(file.source)[0]
    place = set_place(str(cache_folder()), name).replace(FINGERPRINT_PLACEHOLDER, identity[:16])
    if not os.path.isdir(place):
        with new_folder(place) as folder:
            values = {columns[0].name: features}
            write_features(str(folder), columns, spec, values, source=file.source)
    return open_view(place)


def read_features(file: FeatureFile) -> np.ndarray:
    """Read features, float32 [n, d]; those of a folder one file after another, by name."""
    if not os.path.isdir(file.place):
        return _read_file(file.place, file.column)
    places = sorted(map(str, Path(file.place).glob(f"*{_NPY}")))
    if not places:
        raise StorageError(f"there is no {_NPY} file in {file.place}; expected one of features")
    parts = [_read_file(place, "") for place in places]
    for place, part in zip(places, parts, strict=True):
        if part.shape[1] != parts[0].shape[1]:
            raise ShardError(
                f"{place} holds features of {part.shape[1]} dimensions, {places[0]} of "
                f"{parts[0].shape[1]}; keep one network's in a folder"
            )
    return np.concatenate(parts)


def _read_file(place: str, column: str) -> np.ndarray:
    """Read the features in one file, float32 [n, d]."""
    folder, _, name = place.rpartition("/")
    store = Store(folder or ("/" if place.startswith("/") else "."))
    data = store.read(name)
    if data is None:
        raise StorageError(f"there is no file {place}; expected features as .npz or .npy")
    with require_undamaged(ShardError, f"cannot read features from {place}", "make the file again"):
        if place.endswith(_NPY):
            return _as_float32(parse_npy(data, place), place)
        arrays = NpzArrays(io.BytesIO(data))
        chosen = _choose_column(arrays, column, place)
        return _as_float32(arrays[chosen], f"{chosen} in {place}")


def _choose_column(arrays: NpzArrays, column: str, place: str) -> str:
    """Return the name of the features. ShardError if they are not there, or not the only ones."""
    if column in arrays:
        return column
    matrices = [name for name in arrays if _is_matrix(arrays.header(name))]
    if column or len(matrices) != 1:
        found = f"no array {column!r}" if column else f"{len(matrices)} arrays of floats [n, d]"
        raise ShardError(
            f"{place} has {found}; it holds {', '.join(arrays) or 'nothing'}: choose with "
            "?column=NAME"
        )
    return matrices[0]


def _as_float32(array: np.ndarray, where: str) -> np.ndarray:
    """Return features in float32. ShardError for another array, and for values beyond float32."""
    if array.ndim != 2 or array.dtype.kind != "f" or not array.size:
        raise ShardError(
            f"{where} is {array.dtype} {list(array.shape)}, expected floats [samples, dimension]"
        )
    with np.errstate(over="ignore"):
        features = array.astype(np.float32, copy=False)
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if bad.size:
        raise ShardError(
            f"{where} holds NaN, infinite values, or values beyond float32 in {bad.size} of "
            f"{len(features)} rows, first row {bad[0]}; remove those samples"
        )
    return features
