"""Open WebDataset tars as a data set: one tar, a pattern `shard-{000..009}.tar`, or a folder.

A sample is the files with the same key: the path up to the first dot of the file's name. So
`dogs/07.jpg` and `dogs/07.cls` are one sample. The order is that of the tars' paths, then of the
keys, whatever their order in the tar. The class is the whole number in the file `.cls`, or "label"
in `.json`. For samples of several images, `image=EXT` chooses one by its ending; a sample without
an image is left out. The prompt is the text of the file that `prompts=EXT` names, as `prompts=txt`,
or a field of `.json`, as `prompts=json:caption`.

Refused are links, sparse files, and names that lead outside of the archive; also compressed tars,
as an image in them cannot be read alone.

Every worker reads all headers once, then each image from its position. If a tar is not local, the
headers fetch most of the file; so a zip is better for a remote set of many small images.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from raymetrics.errors import SourceError
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
from raymetrics.generators.image_datasets.prompts import decode_prompt, require_prompt
from raymetrics.safe_archives.damage import require_undamaged
from raymetrics.safe_archives.tar_headers import open_tar, tar_members

_MAX_LABEL_BYTES = 2**20
_READ_AHEAD_BYTES = 2**23  # fetched at a time while the headers of a remote tar are read
_KEY = re.compile(r"((?:.*/)?\.*[^./]*)\.([^/]*)")


@dataclass
class _Sample:
    """The files of one key: its class, its prompt, and (member's name, offset, bytes) by image
    ending.
    """

    images: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    label: int | None = None
    prompt: str | None = None


def open_tars(
    location: DataLocation, image: str | None = None, prompts: str | None = None
) -> ImageList:
    """List the images in tars.

    image: the ending of a sample's image. prompts: that of its text, or `json:FIELD`.

    Raises SourceError if they hold no images, for damaged or unsafe tars, and for a sample whose
    image is ambiguous.
    """
    files = {
        name: size for name, size in location.files.items() if not name or name.endswith(".tar")
    }
    names: list[str] = []
    labels: list[int | None] = []
    texts: list[str] = []
    spans: list[tuple[str, int, int]] = []  # file, offset, bytes
    for file in files:
        where = location.display_path(file)
        for key, sample in sorted(_read_samples(location, file, prompts).items()):
            if sample.images:
                if prompts is not None:
                    texts.append(_require_text(sample, prompts, f"{key!r} in {where}"))
                name, offset, size = _choose_image(sample, image, f"{key!r} in {where}")
                names.append(f"{file}/{name}" if file else name)
                labels.append(sample.label)
                spans.append((file, offset, size))
    if not names:
        raise SourceError(f"no images in {location.uri}")

    def read(index: int) -> bytes:
        file, offset, size = spans[index]
        require_encoded_size(size)
        return location.read(file, offset, offset + size)

    options = {} if image is None else {"image": image}
    if prompts is None:
        return ImageList("tar", location, files, names, labels, read, options)
    options |= {"prompts": prompts}
    return ImageList("tar", location, files, names, labels, read, options, texts)


def _require_text(sample: _Sample, prompts: str, where: str) -> str:
    """Return the prompt of a sample; raise SourceError if it has none."""
    if sample.prompt is None:
        raise SourceError(
            f"the sample {where} has no prompt {prompts!r}; expected a text file of this ending "
            "beside every image, ?prompts=txt, or a field of its .json, ?prompts=json:caption"
        )
    return sample.prompt


def _choose_image(sample: _Sample, image: str | None, where: str) -> tuple[str, int, int]:
    """Return the image of a sample; raise SourceError if the choice is ambiguous."""
    if image is None and len(sample.images) == 1:
        return next(iter(sample.images.values()))
    if image in sample.images:
        return sample.images[image]
    raise SourceError(
        f"the sample {where} has the images {', '.join(sorted(sample.images))}, "
        f"{'more than one' if image is None else 'but none called ' + image}; "
        f"choose one for all with ?image={min(sample.images)}"
    )


def _read_samples(
    location: DataLocation, file: str, prompts: str | None = None
) -> dict[str, _Sample]:
    """Read the samples of one tar, by key; with the prompts that the option names.

    Raises SourceError if the file is no tar, is damaged, or is not safe.
    """
    samples_by_key: dict[str, _Sample] = {}
    where = location.display_path(file)
    with location.open(file, _READ_AHEAD_BYTES) as opened:
        with require_undamaged(SourceError, f"{where} is no plain tar file"):
            tar = open_tar(opened)
        with tar, require_undamaged(SourceError, f"{where} is no whole tar file", COPY_HINT):
            for member in _safe_members(tar, location.files[file], where):
                _add_member(member, tar, samples_by_key, where, prompts)
            _require_end_mark(tar, opened)
    return samples_by_key


def _add_member(
    member: tarfile.TarInfo,
    tar: tarfile.TarFile,
    samples_by_key: dict[str, _Sample],
    where: str,
    prompts: str | None,
) -> None:
    """Add a file of a tar to its sample in `samples_by_key`; SourceError for a repeated name."""
    match = _KEY.fullmatch(member.name.removeprefix("./"))
    if match is None:
        return
    key, ending = match[1], match[2].lower()
    sample = samples_by_key.setdefault(key, _Sample())
    if is_image(member.name):
        if ending in sample.images:
            raise SourceError(f"{member.name!r} is twice in {where}")
        sample.images[ending] = (match[0], member.offset_data, member.size)
        return
    prompt_ending, _, prompt_field = (prompts or "").partition(":")
    is_label, is_prompt = ending in ("cls", "json"), ending == prompt_ending.lower()
    if not (is_label or is_prompt) or member.size > _MAX_LABEL_BYTES:
        return
    text = tar.extractfile(member).read()  # type: ignore[union-attr]
    if is_label:
        label = _parse_label(text, ending, f"{member.name} in {where}")
        sample.label = sample.label if label is None else label
    if is_prompt:
        sample.prompt = _parse_prompt(text, prompt_field, f"{member.name} in {where}")


def _parse_prompt(data: bytes, field: str, where: str) -> str | None:
    """Return the text of a file, or of a field of its JSON object; None without that field.

    Raises SourceError if the file holds something else.
    """
    if not field:
        return decode_prompt(data, where)
    try:
        prompt = json.loads(data).get(field)
    except (ValueError, AttributeError, RecursionError):
        raise SourceError(
            f'{where} holds no object: {data[:40]!r}; expected {{"{field}": "..."}}'
        ) from None
    return None if prompt is None else require_prompt(prompt, where)


def _safe_members(tar: tarfile.TarFile, size: int, where: str) -> Iterator[tarfile.TarInfo]:
    """Yield the files in a tar of `size` bytes.

    Raises SourceError at a member that is not a plain file inside of the archive's folder,
    ValueError or tarfile's errors if the tar is damaged.
    """
    for member in tar_members(tar):
        if problem := _member_problem(member):
            raise SourceError(f"{member.name!r} in {where} {problem}; expected plain files")
        if member.isfile():
            missing = member.offset_data + member.size - size
            if missing > 0:
                raise ValueError(f"{missing} bytes of {member.name!r} lie beyond its end")
            yield member


def _member_problem(member: tarfile.TarInfo) -> str | None:
    """Return the reason to refuse a member; None for a plain file or a folder."""
    if escapes_archive(member.name):
        return "leads outside of the file"
    if member.islnk() or member.issym():
        return "is a link"
    return "is a sparse file" if member.issparse() else None


def _require_end_mark(tar: tarfile.TarFile, opened: IO[bytes]) -> None:
    """Raise ValueError for a tar that was cut off between two members, or continues as garbage.

    tarfile reads such a file without an error.
    """
    opened.seek(tar.offset)
    if opened.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise ValueError(f"no end mark at {tar.offset}")


def _parse_label(text: bytes, ending: str, where: str) -> int | None:
    """Parse the class in a `.cls` or `.json` file; None for a `.json` file without a class.

    Raises SourceError if the text holds something else.
    """
    try:
        label = int(text) if ending == "cls" else json.loads(text).get("label")
        return None if label is None else require_class_number(label)
    except (ValueError, AttributeError, RecursionError):
        raise SourceError(
            f"{where} holds no class: {text[:40]!r}; expected a whole number"
        ) from None
