"""Read the prompts of images, the texts that they were made from, that lie beside them in files.

The option `prompts` of a folder or a zip file is one of two. The ending of text files, as `txt`,
each beside its image: `07.txt` beside `07.png`. Or a file, as `metadata.jsonl:text` or
`meta_data.json`: a line for each image with its `file_name`, as Hugging Face has them, or one
object by the names of the images; after the colon stands the field of the text, by default
`prompt`. Names of images may leave out the ending, or the folders too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from raymetrics.errors import SourceError

PROMPT_FIELD = "prompt"
MAX_PROMPT_BYTES = 2**20
_FILE_NAME = "file_name"
_LIST_ENDINGS = (".jsonl", ".json")
_MAX_LIST_BYTES = 2**30
_MAX_SHOWN = 60  # characters of a file's text, in an error


def decode_prompt(data: bytes, where: str) -> str:
    """Decode the text of a file, without the line's end. SourceError for anything but UTF-8."""
    if len(data) > MAX_PROMPT_BYTES:
        raise SourceError(
            f"{where} holds {len(data)} bytes, at most {MAX_PROMPT_BYTES} are read as a prompt"
        )
    try:
        return data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise SourceError(f"{where} holds no prompt: {data[:40]!r}; expected UTF-8") from None


def require_prompt(value: object, where: str) -> str:
    """Return a prompt that is a text. SourceError, which begins with `where`, for another value."""
    if not isinstance(value, str):
        raise SourceError(f"{where} has the prompt {str(value)[:_MAX_SHOWN]!r}, expected a text")
    return value


def prompts_beside_images(
    option: str,
    names: Sequence[str],
    sizes: Mapping[str, int],
    read: Callable[[str], bytes],
    where: str,
) -> tuple[list[str], list[str]]:
    """Return the prompt of each image, and the files that hold the prompts.

    option: the value of `prompts`, see the module. names: of the images. sizes: the bytes of all
    files, which `read` reads. SourceError for an image without a prompt, and for files that are
    missing, too large, or hold anything else.
    """
    file, _, field = option.partition(":")
    if file.endswith(_LIST_ENDINGS):
        _require_file(file, sizes, where, _MAX_LIST_BYTES)
        listed = _parse_list(read(file), file, field or PROMPT_FIELD, f"{file} in {where}")
        return [_find_prompt(listed, name, f"{file} in {where}") for name in names], [file]
    files = [str(PurePosixPath(name).with_suffix(f".{option}")) for name in names]
    for text_file in files:
        _require_file(text_file, sizes, where, MAX_PROMPT_BYTES)
    return [decode_prompt(read(name), f"{name} in {where}") for name in files], files


def _require_file(file: str, sizes: Mapping[str, int], where: str, limit: int) -> None:
    if file not in sizes:
        raise SourceError(
            f"there is no {file} in {where} for the prompts; expected the ending of text files "
            "beside the images, ?prompts=txt, or a file, ?prompts=metadata.jsonl:text"
        )
    if sizes[file] > limit:
        raise SourceError(f"{file} in {where} takes {sizes[file]} bytes, at most {limit} are read")


def _parse_list(data: bytes, file: str, field: str, where: str) -> dict[str, str]:
    """Parse {name of an image: prompt}. SourceError for a file that holds anything else."""
    try:
        entries = dict(_lines(data) if file.endswith(".jsonl") else json.loads(data).items())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SourceError(
            f"cannot read {where}: {repr(error)[:_MAX_SHOWN]}; expected a line for each image, "
            '{"file_name": "a.png", "prompt": "..."}, or one object, {"a": {"prompt": "..."}}'
        ) from None
    return {str(name): _text_in(entry, field, name, where) for name, entry in entries.items()}


def _lines(data: bytes) -> Iterator[tuple[str, Any]]:
    for line in data.splitlines():
        if line.strip():
            entry = json.loads(line)
            yield entry[_FILE_NAME], entry


def _text_in(entry: object, field: str, name: object, where: str) -> str:
    """Return the prompt of an entry: a text, or the field of an object."""
    if isinstance(entry, Mapping):
        if field not in entry:
            raise SourceError(
                f"{name} in {where} has no field {field!r}, but {', '.join(map(str, entry))}; "
                "choose the one with the prompt after a colon, as ?prompts=metadata.jsonl:text"
            )
        entry = entry[field]
    return require_prompt(entry, f"{name} in {where}")


def _find_prompt(listed: Mapping[str, str], name: str, where: str) -> str:
    """Return the prompt of an image by its name, without its ending, or without folders too."""
    path = PurePosixPath(name)
    for key in (name, str(path.with_suffix("")), path.name, path.stem):
        if key in listed:
            return listed[key]
    raise SourceError(f"{where} has no prompt for {name}; expected one for every image")
