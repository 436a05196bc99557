"""Sample ids to images. torch; may import the layers below, knows nothing of Ray or shards.

`open_source` turns what a user writes into a generator.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl

import torch

from raymetrics.errors import SourceError
from raymetrics.generators.base import Generator, LatentGenerator
from raymetrics.provenance import fingerprint

__all__ = ["NAMED", "Generator", "LatentGenerator", "absolute", "listing", "open_source"]


def _digits(device: torch.device, **options: str) -> Generator:
    from raymetrics.generators.digits import Digits

    return Digits(device, **options)  # type: ignore[arg-type]  # options come as text


def _faces(device: torch.device, **options: str) -> Generator:
    from raymetrics.generators.faces import Faces

    return Faces(device, **options)


def _mnist(device: torch.device, **options: str) -> Generator:
    from raymetrics.generators.mnist import Mnist

    return Mnist(**options)


NAMED: dict[str, Callable[..., Generator]] = {"digits": _digits, "faces": _faces, "mnist": _mnist}


def absolute(source: str) -> str:
    """The source as it is to be named elsewhere: a folder by its absolute path."""
    name, mark, query = source.partition("?")
    is_folder = name not in NAMED and Path(name).is_dir()
    return f"{Path(name).resolve()}{mark}{query}" if is_folder else source


def listing(generator: Generator) -> str:
    """A digest by which a worker knows that it opened what the driver did; cheap to make.

    The fingerprint of the spec, or the generator's own `listing` where the spec reads much.
    """
    own: str | None = getattr(generator, "listing", None)
    return fingerprint(generator.spec) if own is None else own


def open_source(source: str, device: torch.device) -> Generator:
    """The generator that `source` names; options follow a question mark.

    digits, faces, mnist           the sources that come with raymetrics
    path/to/folder                 a folder of images; `folder?size=256` crops and resizes
    module:callable                your own, see `raymetrics.generators.function`

    SourceError, with what was expected, for anything else.
    """
    name, _, query = source.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    try:
        if name in NAMED:
            return NAMED[name](device, **options)
        if Path(name).is_dir():
            from raymetrics.generators.folder import Folder

            return Folder(name, **options)  # type: ignore[arg-type]  # options come as text
    except (TypeError, ValueError) as error:
        raise SourceError(
            f"cannot open source {source!r} with options {options}: {error}"
        ) from None
    if re.fullmatch(r"[\w.]+:[\w.]+", name):
        from raymetrics.generators.function import Function

        return Function(name, options)
    raise SourceError(
        f"no source {source!r}; expected {', '.join(NAMED)}, a folder of images, or module:callable"
    )
