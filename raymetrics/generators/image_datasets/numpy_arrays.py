"""Arrays of pixels: .npy, or .npz as ADM's and its successors' samples are.

`arr_0` (or `column=NAME`) is uint8 [n, height, width, 3]; `arr_1` (or `label=NAME`), if it is
there, int [n]. The order is the array's.

An image is read from its own place in the file. An array that was compressed has no such
places: it is unpacked into the memory of each worker, up to 2 GiB.
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
from raymetrics.generators.image_datasets.file_access import COPIED, Place
from raymetrics.generators.image_datasets.image_list import Entries, require_plausible_count
from raymetrics.generators.image_datasets.zip import checked_zip
from raymetrics.safe_archives import npy_headers
from raymetrics.safe_archives.damage import refuse_damage
from raymetrics.safe_archives.npy_headers import NpyHeader, read_npy_header

MAX_UNPACKED = 2**31
AGAIN = "get the file again"


def open_npy(place: Place) -> Entries:
    """The images in a .npy file; SourceError if it holds none."""
    with place.open("") as opened:
        found = header(opened, place.uri)
    check_images(found, place.files[""], place.uri)
    array = Stored(place, found.shape, found.start)
    return of_array(place, array, [None] * found.shape[0], {})


def open_npz(place: Place, column: str = "arr_0", label: str | None = None) -> Entries:
    """The images in a .npz file; SourceError if it holds none, or more than fits."""
    archive = checked_zip(place)
    member = member_of(archive, column, f"{place.uri}; choose the images with ?column=")
    where = f"{column} in {place.uri}"
    found = header_in(archive, member, where)
    check_images(found, member.file_size, where)
    array: Stored | Packed
    if member.compress_type == zipfile.ZIP_STORED:
        array = Stored(place, found.shape, start_of(place, member) + found.start)
    elif member.file_size <= MAX_UNPACKED:
        array = Packed(archive, member, found.shape, found.start, where)
    else:
        raise SourceError(
            f"{where} is compressed, so that no image can be read alone, and would take "
            f"{member.file_size / 2**30:.1f} GiB of every worker's memory, at most "
            f"{MAX_UNPACKED / 2**30:.0f} are given; write it again with numpy.savez"
        )
    labels = labels_in(archive, label, found.shape[0], place.uri)
    options = {"column": column} if label is None else {"column": column, "label": label}
    return of_array(place, array, labels, options)


def of_array(
    place: Place, array: Stored | Packed, labels: list[int | None], options: dict[str, str]
) -> Entries:
    """An array's images, named by their indices; SourceError for more than it can hold."""
    require_plausible_count(array.shape[0], sum(place.files.values()), place.uri)
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
        if len(data) != size:
            raise BrokenImage(f"{len(data)} bytes of {size} are there")
        return np.frombuffer(data, np.uint8).reshape(height_width_3)


@dataclass(frozen=True)
class Packed:
    """The same, compressed; unpacked when the first image is asked for."""

    archive: zipfile.ZipFile
    member: zipfile.ZipInfo
    shape: tuple[int, ...]
    start: int
    where: str

    def image(self, index: int) -> np.ndarray:
        with UNPACKING:
            return self._images[index]

    @cached_property
    def _images(self) -> np.ndarray:
        data = unpacked(self.archive, self.member, self.where)
        return np.frombuffer(data, np.uint8, offset=self.start).reshape(self.shape)


UNPACKING = Lock()


def member_of(archive: zipfile.ZipFile, name: str, where: str) -> zipfile.ZipInfo:
    """The file of an array; SourceError if there is none of that name."""
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    if name not in members:
        raise SourceError(f"no array {name!r} among {', '.join(sorted(members))} of {where}")
    return members[name]


def unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: str) -> bytes:
    """A member's bytes; SourceError if they are damaged."""
    with refuse_damage(SourceError, f"cannot unpack {where}", AGAIN):
        data = archive.read(member)
        if len(data) != member.file_size:
            raise ValueError(f"{len(data)} bytes, {member.file_size} announced")
        return data


def header(opened: IO[bytes], where: str) -> NpyHeader:
    """The header of an array; SourceError if there is none."""
    with refuse_damage(SourceError, f"{where} is no array of numpy", AGAIN):
        return read_npy_header(opened)


def header_in(archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: str) -> NpyHeader:
    """The header of an array in a zip file."""
    with refuse_damage(SourceError, f"cannot read {where}", AGAIN), archive.open(member) as opened:
        start = opened.read(npy_headers.MAX_BYTES)
    return header(io.BytesIO(start), where)


def check_images(found: NpyHeader, there: int, where: str) -> None:
    """SourceError unless these are images, and `there` bytes the size of header and pixels."""
    shape = found.shape
    right = len(shape) == 4 and shape[3] == 3 and not found.columns_first and min(shape) > 0
    if not right or found.dtype != np.uint8:
        order = " in Fortran's order" if found.columns_first else ""
        raise SourceError(
            f"{where} is {found.dtype} {list(shape)}{order}, expected uint8 [n, height, width, 3]"
        )
    if shape[1] * shape[2] > MAX_PIXELS:
        raise SourceError(f"{where} has images of {shape[2]} x {shape[1]} pixels, too many to read")
    check_bytes(found, there, where)


def check_bytes(found: NpyHeader, there: int, where: str) -> None:
    """SourceError if the file does not hold as many numbers as it says."""
    if there - found.start != math.prod(found.shape) * found.dtype.itemsize:
        raise SourceError(
            f"{where} says that it holds {list(found.shape)} numbers {found.dtype}, but there are "
            f"{there - found.start} bytes; was it copied to the end?"
        )


def start_of(place: Place, member: zipfile.ZipInfo) -> int:
    """Where a stored member's bytes begin: after its own header, whose two last fields are the
    lengths of what follows it (PKWARE's APPNOTE, 4.3.7). SourceError if they end elsewhere."""
    own = place.read("", member.header_offset, member.header_offset + 30)
    with refuse_damage(SourceError, f"{place.uri} is no whole zip file", COPIED):
        name_length, extra_length = struct.unpack("<HH", own[26:])
        start: int = member.header_offset + 30 + name_length + extra_length
        missing = start + member.file_size - place.files[""]
        if missing > 0 or member.compress_size != member.file_size:
            raise ValueError(f"the bytes of {member.filename!r} do not lie where it says")
    return start


def labels_in(
    archive: zipfile.ZipFile, label: str | None, count: int, where: str
) -> list[int | None]:
    """The classes of the images; None each if there are none."""
    names = {info.filename.removesuffix(".npy") for info in archive.infolist()}
    if label is None and "arr_1" not in names:
        return [None] * count
    name = label or "arr_1"
    member = member_of(archive, name, where)
    where = f"{name} in {where}"
    found = header_in(archive, member, where)
    if found.shape != (count,) or not np.issubdtype(found.dtype, np.integer):
        raise SourceError(
            f"{where} is {found.dtype} {list(found.shape)}, expected whole numbers [{count}], the "
            "classes of the images"
        )
    check_bytes(found, member.file_size, where)
    data = unpacked(archive, member, where)
    labels: list[int | None] = np.frombuffer(data, found.dtype, offset=found.start).tolist()
    return labels
