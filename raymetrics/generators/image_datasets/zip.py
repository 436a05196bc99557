"""Open a zip file of images as a data set.

The set holds every image in the file, in the order of the paths, with the same classes as a folder
would have. Nothing is extracted to a disk: an image is unpacked in memory, from its own position in
the file. Names that lead outside of the archive, encrypted members and repeated names are refused
before any image is read.
"""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Sequence

from raymetrics.errors import SourceError
from raymetrics.generators.image_datasets.decode import BrokenImage
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
from raymetrics.generators.image_datasets.prompts import prompts_beside_images
from raymetrics.safe_archives.damage import require_undamaged
from raymetrics.safe_archives.zip_members import require_honest_packing


def open_zip(location: DataLocation, prompts: str | None = None) -> ImageList:
    """List the images in a zip file.

    prompts: where their prompts are, see `image_datasets.prompts`. Raises SourceError if the file
    is no zip file, is not safe, or holds no images.
    """
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

    if prompts is None:
        return ImageList("zip", location, location.files, names, labels, read)
    sizes = {name: info.file_size for name, info in members.items()}

    def read_text(name: str) -> bytes:
        try:
            return _unpack(archive, members[name])
        except BrokenImage as error:
            raise SourceError(f"cannot read {name} in {location.uri}: {error}") from None

    texts, _ = prompts_beside_images(prompts, names, sizes, read_text, location.uri)
    options = {"prompts": prompts}
    return ImageList("zip", location, location.files, names, labels, read, options, texts)


def open_safe_zip(location: DataLocation) -> zipfile.ZipFile:
    """Open a zip file and check its table of contents; raise SourceError if it is unsafe."""
    with require_undamaged(SourceError, f"{location.uri} is no whole zip file", COPY_HINT):
        archive = zipfile.ZipFile(location.open(""))
    seen: set[str] = set()
    for info in archive.infolist():
        if problem := _member_problem(info, seen):
            raise SourceError(
                f"{info.orig_filename!r} in {location.uri} {problem}; expected a plain zip of "
                "images"
            )
        seen.add(info.filename)
    return archive


def _member_problem(info: zipfile.ZipInfo, seen: Collection[str]) -> str | None:
    """Return the reason to refuse a member, after members of the names `seen`; None if it is fine.

    The original name is checked, as zipfile cuts names at a null byte.
    """
    if not info.filename:
        return "has no name"
    if escapes_archive(info.orig_filename):
        return "leads outside of the file"
    if info.flag_bits & 1:
        return "is encrypted"
    return "is there twice" if info.filename in seen else None


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Unpack a member's bytes, at most as many as its header states.

    Raises BrokenImage if they are damaged or more than `MAX_BYTES`.
    """
    require_encoded_size(member.file_size)
    with require_undamaged(BrokenImage, "it cannot be unpacked"):
        require_honest_packing(member)
        return archive.read(member)
