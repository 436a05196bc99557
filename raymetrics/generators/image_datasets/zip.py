"""A zip file: every image in it, in the order of the paths, with the classes of a folder.

Nothing is extracted: an image is unpacked in memory, from its own place in the file. Names
that lead outside, encrypted or repeated ones are refused before anything is read.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence

from raymetrics.errors import SourceError
from raymetrics.generators.image_datasets.decode import MAX_BYTES, BrokenImage
from raymetrics.generators.image_datasets.file_access import (
    COPY_HINT,
    DataLocation,
    escapes_archive,
)
from raymetrics.generators.image_datasets.image_list import (
    LABELS_FILE,
    ImageList,
    is_image,
    labels_by_file,
    labels_by_folder,
    require_encoded_size,
    require_label_bytes,
)
from raymetrics.safe_archives.damage import require_undamaged
from raymetrics.safe_archives.zip_members import require_honest_packing


def open_zip(location: DataLocation) -> ImageList:
    """The images in a zip file; SourceError if it is none, is not safe, or has no images."""
    archive = open_safe_zip(location)
    members = {info.filename: info for info in archive.infolist() if not info.is_dir()}
    names = sorted(filter(is_image, members))
    if not names:
        raise SourceError(f"no images in {location.uri}")
    labels: Sequence[int | str | None] = labels_by_folder(names)
    if LABELS_FILE in members:
        where = f"{LABELS_FILE} in {location.uri}"
        require_label_bytes(members[LABELS_FILE].file_size, names, where)
        try:
            labels = labels_by_file(_unpack(archive, members[LABELS_FILE]), names, where)
        except BrokenImage as error:
            raise SourceError(f"cannot read {where}: {error}") from None

    def read(index: int) -> bytes:
        return _unpack(archive, members[names[index]])

    return ImageList("zip", location, location.files, names, labels, read)


def open_safe_zip(location: DataLocation) -> zipfile.ZipFile:
    """The archive, whose table of contents is sound; SourceError if it is not."""
    with require_undamaged(SourceError, f"{location.uri} is no whole zip file", COPY_HINT):
        archive = zipfile.ZipFile(location.open(""))
    seen = set()
    for info in archive.infolist():
        name = info.orig_filename
        problem = (
            "has no name" if not info.filename
            else "leads outside of the file" if escapes_archive(name)
            else "is encrypted" if info.flag_bits & 1
            else "is there twice" if info.filename in seen
            else None
        )  # fmt: skip
        if problem:
            raise SourceError(
                f"{name!r} in {location.uri} {problem}; expected a plain zip of images"
            )
        seen.add(info.filename)
    return archive


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """A member's bytes, no more than it claims; BrokenImage if they are damaged or too many."""
    require_encoded_size(member.file_size, MAX_BYTES)
    with require_undamaged(BrokenImage, "it cannot be unpacked"):
        require_honest_packing(member)
        return archive.read(member)
