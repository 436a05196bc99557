"""WebDataset: tar files of samples; one tar, a pattern as `shard-{000..009}.tar`, or a folder.

A sample is the files that share a key, which is the path up to the first dot of the file's
name: `dogs/07.jpg` and `dogs/07.cls`. The order is that of the tars' paths, then of the keys,
however they were written. The class is the whole number in `.cls`, or "label" in `.json`.
A sample of several images needs `image=EXT`, which names one of them; a sample of none is
left out. Links, sparse files and names that lead outside are refused; compressed tars are,
as no image in them can be reached alone.

Every worker goes through the headers once, then reads each image by its place. Where a tar
is not local that fetches most of it; a set of many small images is better off in a zip.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from raymetrics.errors import SourceError
from raymetrics.generators.image_datasets.decode import MAX_BYTES
from raymetrics.generators.image_datasets.file_access import (
    COPY_HINT,
    DataLocation,
    escapes_archive,
)
from raymetrics.generators.image_datasets.image_list import (
    ImageList,
    is_image,
    require_class_number,
    require_encoded_size,
)
from raymetrics.safe_archives.damage import require_undamaged
from raymetrics.safe_archives.tar_headers import open_tar, tar_members

_MAX_LABEL_BYTES = 2**20
_READ_AHEAD_BYTES = 2**23  # bytes fetched at a time on the way through a tar that is not local
_KEY = re.compile(r"((?:.*/)?\.*[^./]*)\.([^/]*)")


@dataclass
class _Sample:
    """The files of one key: by what follows the key, (member's name, offset, bytes)."""

    images: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    label: int | None = None


def open_tars(location: DataLocation, image: str | None = None) -> ImageList:
    """The samples of all tars; SourceError if there are none or one is ambiguous."""
    files = {
        name: size for name, size in location.files.items() if not name or name.endswith(".tar")
    }
    names: list[str] = []
    labels: list[int | None] = []
    spans: list[tuple[str, int, int]] = []  # file, offset, bytes
    for file in files:
        where = location.display_path(file)
        for key, sample in sorted(_read_samples(location, file).items()):
            if sample.images:
                name, offset, size = _choose_image(sample, image, f"{key!r} in {where}")
                names.append(f"{file}/{name}" if file else name)
                labels.append(sample.label)
                spans.append((file, offset, size))
    if not names:
        raise SourceError(f"no images in {location.uri}")

    def read(index: int) -> bytes:
        file, offset, size = spans[index]
        require_encoded_size(size, MAX_BYTES)
        return location.read(file, offset, offset + size)

    options = {} if image is None else {"image": image}
    return ImageList("tar", location, files, names, labels, read, options)


def _choose_image(sample: _Sample, image: str | None, where: str) -> tuple[str, int, int]:
    """The image that stands for a sample; SourceError if that is not clear."""
    if image is None and len(sample.images) == 1:
        return next(iter(sample.images.values()))
    if image in sample.images:
        return sample.images[image]
    raise SourceError(
        f"the sample {where} has the images {', '.join(sorted(sample.images))}, "
        f"{'more than one' if image is None else 'but none called ' + image}; "
        f"choose one for all with ?image={min(sample.images)}"
    )


def _read_samples(location: DataLocation, file: str) -> dict[str, _Sample]:
    """The samples of one tar, by their keys; SourceError if it is none, not whole, or not safe."""
    samples_by_key: dict[str, _Sample] = {}
    where = location.display_path(file)
    with location.open(file, _READ_AHEAD_BYTES) as opened:
        with require_undamaged(SourceError, f"{where} is no plain tar file"):
            tar = open_tar(opened)
        with tar, require_undamaged(SourceError, f"{where} is no whole tar file", COPY_HINT):
            for member in _safe_members(tar, location.files[file], where):
                _add_member(member, tar, samples_by_key, where)
            _require_end_mark(tar, opened)
    return samples_by_key


def _add_member(
    member: tarfile.TarInfo, tar: tarfile.TarFile, samples_by_key: dict[str, _Sample], where: str
) -> None:
    """Put a file into the sample that it belongs to."""
    match = _KEY.fullmatch(member.name.removeprefix("./"))
    if match is None:
        return
    key, ending = match[1], match[2].lower()
    sample = samples_by_key.setdefault(key, _Sample())
    if is_image(member.name):
        if ending in sample.images:
            raise SourceError(f"{member.name!r} is twice in {where}")
        sample.images[ending] = (match[0], member.offset_data, member.size)
    elif ending in ("cls", "json") and member.size <= _MAX_LABEL_BYTES:
        text = tar.extractfile(member).read()  # type: ignore[union-attr]
        label = _parse_label(text, ending, f"{member.name} in {where}")
        sample.label = sample.label if label is None else label


def _safe_members(tar: tarfile.TarFile, size: int, where: str) -> Iterator[tarfile.TarInfo]:
    """The files in a tar of `there` bytes; SourceError at one that is not to be trusted, ValueError
    or tarfile's errors where it is damaged."""
    for member in tar_members(tar):
        problem = (
            "leads outside of the file" if escapes_archive(member.name)
            else "is a link" if member.islnk() or member.issym()
            else "is a sparse file" if member.issparse()
            else None
        )  # fmt: skip
        if problem:
            raise SourceError(f"{member.name!r} in {where} {problem}; expected plain files")
        if member.isfile():
            missing = member.offset_data + member.size - size
            if missing > 0:
                raise ValueError(f"{missing} bytes of {member.name!r} lie beyond its end")
            yield member


def _require_end_mark(tar: tarfile.TarFile, opened: IO[bytes]) -> None:
    """Raise ValueError for a file that was cut off between two members, or goes on as garbage:
    tarfile takes it as whole."""
    opened.seek(tar.offset)
    if opened.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise ValueError(f"no end mark at {tar.offset}")


def _parse_label(text: bytes, ending: str, where: str) -> int | None:
    """The class in a `.cls` or `.json` file; None if the latter has none."""
    try:
        label = int(text) if ending == "cls" else json.loads(text).get("label")
        return None if label is None else require_class_number(label)
    except (ValueError, AttributeError, RecursionError):
        raise SourceError(
            f"{where} holds no class: {text[:40]!r}; expected a whole number"
        ) from None
