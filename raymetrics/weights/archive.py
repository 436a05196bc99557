"""TorchScript archives: networks with their code and their tensors, as `torch.jit.save` writes.

Their code is a program of tensor operations, compiled when it is opened, and no Python; no pickle
is executed. torch.export's archives (.pt2) are another matter: opening one may unpickle, evaluates
the expressions in it, and calls any function of torch that it names.

Tensors alone are read by `scripted`, which runs nothing.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from raymetrics import pickles
from raymetrics.errors import StorageError, UnsafePickle
from raymetrics.weights.scripted import is_archive

__all__ = ["INSTEAD", "is_archive", "load_archive"]

# The operations of TorchScript, and torchvision's, that read and write files.
FILES = re.compile(r"\b(save|from_file|read_file|write_file)\b")
# How torch writes an attribute whose name is no identifier: getattr(seq, "0").
ATTRIBUTE = re.compile(r'\bgetattr\((?:[\w.]|\([\w.]*\))+, "[^"\\()\n]*"\)')
INSTEAD = "write a class that opens it, and give that as module:Class"


def load_archive(file: Path | bytes, where: str, device: torch.device | str = "cpu") -> Any:
    """The network in a TorchScript archive, in evaluation mode.

    UnsafePickle for one that is no such archive or handles files, StorageError for a damaged one.
    """
    checked = rewritten(file, where)
    with warnings.catch_warnings():
        # torch points to torch.export, which is no safe format.
        warnings.filterwarnings("ignore", r"`torch\.jit\.load` is deprecated")
        try:
            network = torch.jit.load(checked, map_location=device)
        except (RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise StorageError(
                f"{where} cannot be loaded as TorchScript: {reason}; get it or save it again"
            ) from None
    return network.eval()


def rewritten(file: Path | bytes, where: str) -> io.BytesIO:
    """The archive once more, after it was checked.

    torch finds its way in a zip file by rules of its own, and in a forged one to other programs
    than those that were checked; in this copy there are no others.
    """
    copy = io.BytesIO()
    opened: Any = io.BytesIO(file) if isinstance(file, bytes) else str(file)
    try:
        with pickles.Archive(opened) as archive, zipfile.ZipFile(copy, "w") as to:
            check(archive, where)
            for name in archive.members:
                to.writestr(archive.folder + name, archive.read(name))
    except pickles.DAMAGES as error:
        raise StorageError(
            f"{where} is no TorchScript: {error}; expected torch.jit.save's"
        ) from None
    copy.seek(0)
    return copy


def check(archive: pickles.Archive, where: str) -> None:
    """Looks into an archive without opening it: only TorchScript that leaves files alone passes."""
    if any(re.search(r"^models/.*\.json$", name) for name in archive.members):
        raise UnsafePickle(
            f"{where} is an archive of torch.export, which executes Python when it is opened; "
            f"save it by torch.jit.save, or {INSTEAD}"
        )
    programs = [archive.text(n) for n in archive.members if re.search(r"^code/.*\.py$", n, re.I)]
    if not programs:
        raise UnsafePickle(
            f"{where} holds no TorchScript: torch.save's files of whole networks are pickles, and "
            f"raymetrics executes none; save it by torch.jit.save, or {INSTEAD}"
        )
    for program in programs:
        if found := called(program):
            raise UnsafePickle(
                f"{where} calls {found}, which reads or writes files; if you trust it, {INSTEAD}"
            )


def called(program: str) -> str | None:
    """What of FILES a program names anywhere, be it in a text, or could spell by getattr."""
    if found := FILES.search(program):
        return found[1]
    count = 1
    while count:  # one may stand inside of another
        program, count = ATTRIBUTE.subn("()", program)
    return "getattr of a composed name" if re.search(r"\bgetattr\b", program) else None
