"""Open arrays of pixels as data sets: .npy, or .npz like the samples of ADM and its successors.

The images are the array `arr_0` (or `column=NAME`), uint8 [n, height, width, 3]. The classes are
the array `arr_1` (or `label=NAME`), int [n]; a file without it has no classes. The order is that of
the array.

Each image is read from its own position in the file. A compressed array has no such positions, so
each worker unpacks it into memory, up to 2 GiB.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import IO

import numpy as np

from raymetrics.errors import SourceError
from raymetrics.generators.image_datasets.decode import MAX_PIXELS, BrokenImage
from raymetrics.generators.image_datasets.file_access import COPY_HINT, DataLocation
from raymetrics.generators.image_datasets.image_list import ImageList, require_plausible_count
from raymetrics.generators.image_datasets.zip import open_safe_zip
from raymetrics.safe_archives import npy_headers
from raymetrics.safe_archives.damage import require_undamaged
from raymetrics.safe_archives.npy_headers import NpyHeader, read_npy_header

MAX_UNPACKED_BYTES = 2**31
_DOWNLOAD_HINT = "get the file again"


def open_npy(location: DataLocation) -> ImageList:
    """List the images in a .npy file; raise SourceError if it holds none."""
    with location.open("") as opened:
        npy_header = _read_header(opened, location.uri)
    _require_images(npy_header, location.files[""], location.uri)
    array = _UncompressedImages(location, npy_header.shape, npy_header.start)
    return _array_image_list(location, array, [None] * npy_header.shape[0], {})


def open_npz(location: DataLocation, column: str = "arr_0", label: str | None = None) -> ImageList:
    """List the images in a .npz file; raise SourceError if it holds none, or too many bytes."""
    archive = open_safe_zip(location)
    member = _find_member(archive, column, f"{location.uri}; choose the images with ?column=")
    where = f"{column} in {location.uri}"
    npy_header = _read_member_header(archive, member, where)
    _require_images(npy_header, member.file_size, where)
    array: _UncompressedImages | _CompressedImages
    if member.compress_type == zipfile.ZIP_STORED:
        array = _UncompressedImages(
            location, npy_header.shape, _data_offset(location, member) + npy_header.start
        )
    elif member.file_size <= MAX_UNPACKED_BYTES:
        array = _CompressedImages(archive, member, npy_header.shape, npy_header.start, where)
    else:
        raise SourceError(
            f"{where} is compressed, so that no image can be read alone, and would take "
            f"{member.file_size / 2**30:.1f} GiB of every worker's memory, at most "
            f"{MAX_UNPACKED_BYTES / 2**30:.0f} are given; write it again with numpy.savez"
        )
    labels = _read_labels(archive, label, npy_header.shape[0], location.uri)
    options = {"column": column} if label is None else {"column": column, "label": label}
    return _array_image_list(location, array, labels, options)


def _array_image_list(
    location: DataLocation,
    array: _UncompressedImages | _CompressedImages,
    labels: list[int | None],
    options: dict[str, str],
) -> ImageList:
    """List an array's images, named by their indices.

    Raises SourceError if the array has more images than the bytes of its file can hold.
    """
    require_plausible_count(array.shape[0], sum(location.files.values()), location.uri)
    names = [str(i) for i in range(array.shape[0])]
    return ImageList("array", location, location.files, names, labels, array.image, options)


@dataclass(frozen=True)
class _UncompressedImages:
    """Images uint8 [n, h, w, 3] that lie in a file uncompressed, from the byte `start` on."""

    location: DataLocation
    shape: tuple[int, ...]
    start: int

    def image(self, index: int) -> np.ndarray:
        height_width_3 = self.shape[1:]
        size = int(np.prod(height_width_3))
        begin = self.start + index * size
        data = self.location.read("", begin, begin + size)
        if len(data) != size:
            raise BrokenImage(f"{len(data)} bytes of {size} are there")
        return np.frombuffer(data, np.uint8).reshape(height_width_3)


@dataclass(frozen=True)
class _CompressedImages:
    """Images uint8 [n, h, w, 3] that lie in a file compressed; unpacked at the first access."""

    archive: zipfile.ZipFile
    member: zipfile.ZipInfo
    shape: tuple[int, ...]
    start: int
    where: str

    def image(self, index: int) -> np.ndarray:
        with _UNPACK_LOCK:
            return self._images[index]

    @cached_property
    def _images(self) -> np.ndarray:
        data = _unpack(self.archive, self.member, self.where)
        return np.frombuffer(data, np.uint8, offset=self.start).reshape(self.shape)


_UNPACK_LOCK = Lock()


def _find_member(archive: zipfile.ZipFile, name: str, where: str) -> zipfile.ZipInfo:
    """Return the archive's entry of an array; raise SourceError if no array has this name."""
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    if name not in members:
        raise SourceError(f"no array {name!r} among {', '.join(sorted(members))} of {where}")
    return members[name]


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: str) -> bytes:
    """Unpack a member's bytes; raise SourceError if they are damaged."""
    with require_undamaged(SourceError, f"cannot unpack {where}", _DOWNLOAD_HINT):
        data = archive.read(member)
        if len(data) != member.file_size:
            raise ValueError(f"{len(data)} bytes, {member.file_size} announced")
        return data


def _read_header(opened: IO[bytes], where: str) -> NpyHeader:
    """Read the header of an array; raise SourceError if the file has none."""
    with require_undamaged(SourceError, f"{where} is no array of numpy", _DOWNLOAD_HINT):
        return read_npy_header(opened)


def _read_member_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: str) -> NpyHeader:
    """Read the header of an array in a zip file; raise SourceError if it has none."""
    with (
        require_undamaged(SourceError, f"cannot read {where}", _DOWNLOAD_HINT),
        archive.open(member) as opened,
    ):
        start = opened.read(npy_headers.MAX_HEADER_BYTES)
    return _read_header(io.BytesIO(start), where)


def _require_images(npy_header: NpyHeader, size: int, where: str) -> None:
    """Raise SourceError unless an array of `size` bytes, with its header, holds images."""
    shape = npy_header.shape
    right = len(shape) == 4 and shape[3] == 3 and not npy_header.columns_first and min(shape) > 0
    if not right or npy_header.dtype != np.uint8:
        order = " in Fortran's order" if npy_header.columns_first else ""
        raise SourceError(
            f"{where} is {npy_header.dtype} {list(shape)}{order}, expected uint8 "
            "[n, height, width, 3]"
        )
    if shape[1] * shape[2] > MAX_PIXELS:
        raise SourceError(f"{where} has images of {shape[2]} x {shape[1]} pixels, too many to read")
    _require_bytes(npy_header, size, where)


def _require_bytes(npy_header: NpyHeader, size: int, where: str) -> None:
    """Raise SourceError unless `size` is the size of the header and of the numbers it states."""
    if size - npy_header.start != math.prod(npy_header.shape) * npy_header.dtype.itemsize:
        raise SourceError(
            f"{where} says that it holds {list(npy_header.shape)} numbers {npy_header.dtype}, but "
            f"there are {size - npy_header.start} bytes; {COPY_HINT}"
        )


def _data_offset(location: DataLocation, member: zipfile.ZipInfo) -> int:
    """Return the position in the file at which a stored member's bytes begin.

    They begin after the member's local header and its two fields of variable length, whose lengths
    are the last fields of the header (PKWARE's APPNOTE, 4.3.7). Raises SourceError if the bytes do
    not lie in the file.
    """
    local_header = location.read("", member.header_offset, member.header_offset + 30)
    with require_undamaged(SourceError, f"{location.uri} is no whole zip file", COPY_HINT):
        name_length, extra_length = struct.unpack("<HH", local_header[26:])
        start: int = member.header_offset + 30 + name_length + extra_length
        missing = start + member.file_size - location.files[""]
        if missing > 0 or member.compress_size != member.file_size:
            raise ValueError(f"the bytes of {member.filename!r} do not lie where it says")
    return start


def _read_labels(
    archive: zipfile.ZipFile, label: str | None, count: int, where: str
) -> list[int | None]:
    """Read the classes of the images; None for each if the file has no classes.

    Raises SourceError for an array of another shape or type.
    """
    names = {info.filename.removesuffix(".npy") for info in archive.infolist()}
    if label is None and "arr_1" not in names:
        return [None] * count
    name = label or "arr_1"
    member = _find_member(archive, name, where)
    where = f"{name} in {where}"
    npy_header = _read_member_header(archive, member, where)
    if npy_header.shape != (count,) or not np.issubdtype(npy_header.dtype, np.integer):
        raise SourceError(
            f"{where} is {npy_header.dtype} {list(npy_header.shape)}, expected whole numbers "
            f"[{count}], the classes of the images"
        )
    _require_bytes(npy_header, member.file_size, where)
    data = _unpack(archive, member, where)
    labels: list[int | None] = np.frombuffer(
        data, npy_header.dtype, offset=npy_header.start
    ).tolist()
    return labels
