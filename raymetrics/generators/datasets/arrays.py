"""Arrays of pixels: .npy, or .npz as ADM's and its successors' samples are.

`arr_0` (or `column=NAME`) is uint8 [n, height, width, 3]; `arr_1` (or `label=NAME`), if it is
there, int [n]. The order is the array's.

An image is read from its own place in the file. An array that was compressed has no such
places: it is unpacked into the memory of each worker, up to 2 GiB.
"""

from __future__ import annotations

import io
import struct
import zipfile
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import IO

import numpy as np
from numpy.lib import format as npy

from raymetrics.errors import SourceError
from raymetrics.generators.datasets.entries import Entries
from raymetrics.generators.datasets.files import Place
from raymetrics.generators.datasets.images import MAX_PIXELS
from raymetrics.generators.datasets.zips import checked_zip

MAX_UNPACKED = 2**31


def open_npy(place: Place) -> Entries:
    """The images in a .npy file; SourceError if it holds none."""
    with place.open("") as opened:
        shape, start = header(opened, place.uri)
    check_bytes(place.files[""] - start, shape, place.uri)
    return of_array(place, Stored(place, shape, start), [None] * shape[0], {})


def open_npz(place: Place, column: str = "arr_0", label: str | None = None) -> Entries:
    """The images in a .npz file; SourceError if it holds none, or more than fits."""
    archive = checked_zip(place)
    member = member_of(archive, column, f"{place.uri}; choose the images with ?column=")
    where = f"{column} in {place.uri}"
    with archive.open(member) as opened:
        shape, start = header(opened, where)
    check_bytes(member.file_size - start, shape, where)
    array: Stored | Packed
    if member.compress_type == zipfile.ZIP_STORED:
        array = Stored(place, shape, start_of(place, member) + start)
    elif member.file_size <= MAX_UNPACKED:
        array = Packed(archive, member, shape, start)
    else:
        raise SourceError(
            f"{where} is compressed, so that no image can be read alone, and would take "
            f"{member.file_size / 2**30:.1f} GiB of every worker's memory, at most "
            f"{MAX_UNPACKED / 2**30:.0f} are given; write it again with numpy.savez"
        )
    labels = labels_in(archive, label, shape[0], place.uri)
    options = {"column": column} if label is None else {"column": column, "label": label}
    return of_array(place, array, labels, options)


def of_array(
    place: Place, array: Stored | Packed, labels: list[int | None], options: dict[str, str]
) -> Entries:
    """An array's images, named by their indices."""
    names = [str(i) for i in range(array.shape[0])]
    return Entries("array", place, place.files, names, labels, array.image, options)


@dataclass(frozen=True)
class Stored:
    """Images uint8 [n, h, w, 3] that lie in a file from `start` on."""

    place: Place
    shape: tuple[int, ...]
    start: int

    def image(self, index: int) -> np.ndarray:
        height_width_3 = self.shape[1:]
        size = int(np.prod(height_width_3))
        begin = self.start + index * size
        data = self.place.read("", begin, begin + size)
        return np.frombuffer(data, np.uint8).reshape(height_width_3)


@dataclass(frozen=True)
class Packed:
    """The same, compressed; unpacked when the first image is asked for."""

    archive: zipfile.ZipFile
    member: zipfile.ZipInfo
    shape: tuple[int, ...]
    start: int

    def image(self, index: int) -> np.ndarray:
        with UNPACKING:
            return self._images[index]

    @cached_property
    def _images(self) -> np.ndarray:
        try:
            data = self.archive.read(self.member)
        except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
            raise SourceError(f"cannot unpack {self.member.filename}: {error}") from None
        return np.frombuffer(data, np.uint8, offset=self.start).reshape(self.shape)


UNPACKING = Lock()


def member_of(archive: zipfile.ZipFile, name: str, where: str) -> zipfile.ZipInfo:
    """The file of an array; SourceError if there is none of that name."""
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    if name not in members:
        raise SourceError(f"no array {name!r} among {', '.join(sorted(members))} of {where}")
    return members[name]


def header(opened: IO[bytes], where: str) -> tuple[tuple[int, ...], int]:
    """The shape of an array of images, and the bytes before its pixels."""
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    try:
        shape, columns_first, dtype = readers[npy.read_magic(opened)](opened)
    except (ValueError, KeyError, EOFError) as error:
        raise SourceError(f"{where} is no array of numpy: {error}") from None
    right = len(shape) == 4 and shape[3] == 3 and not columns_first and min(shape) > 0
    if not right or dtype != np.uint8:
        order = " in Fortran's order" if columns_first else ""
        raise SourceError(
            f"{where} is {dtype} {list(shape)}{order}, expected uint8 [n, height, width, 3]"
        )
    if shape[1] * shape[2] > MAX_PIXELS:
        raise SourceError(f"{where} has images of {shape[2]} x {shape[1]} pixels, too many to read")
    return shape, opened.tell()


def check_bytes(found: int, shape: tuple[int, ...], where: str) -> None:
    """SourceError if the file does not hold as many pixels as it says."""
    if found != int(np.prod(shape, dtype=np.int64)):
        raise SourceError(
            f"{where} says that it holds {list(shape)} bytes of pixels, but there are {found}; "
            "was it copied to the end?"
        )


def start_of(place: Place, member: zipfile.ZipInfo) -> int:
    """Where a stored member's bytes begin: after its own header, whose two last fields are the
    lengths of what follows it (PKWARE's APPNOTE, 4.3.7)."""
    own = place.read("", member.header_offset, member.header_offset + 30)
    name_length, extra_length = struct.unpack("<HH", own[26:])
    return member.header_offset + 30 + name_length + extra_length


def labels_in(
    archive: zipfile.ZipFile, label: str | None, count: int, where: str
) -> list[int | None]:
    """The classes of the images; None each if there are none."""
    names = {info.filename.removesuffix(".npy") for info in archive.infolist()}
    if label is None and "arr_1" not in names:
        return [None] * count
    name = label or "arr_1"
    member = member_of(archive, name, where)
    try:
        values = np.load(io.BytesIO(archive.read(member)), allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise SourceError(f"cannot read {name} in {where}: {error}") from None
    if values.shape != (count,) or not np.issubdtype(values.dtype, np.integer):
        raise SourceError(
            f"{name} in {where} is {values.dtype} {list(values.shape)}, expected whole numbers "
            f"[{count}], the classes of the images"
        )
    found: list[int | None] = values.tolist()
    return found
