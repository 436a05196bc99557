"""TorchScript archives: networks with their code and their tensors, as `torch.jit.save` writes.

Their code is a program of operators, and no Python; no pickle is executed. What the program could
do beyond computing is refused by name: before torch opens the archive, what torch would trust or
execute while it opens it (this file); after torch has compiled it, every operator that is not known
to verify its arguments (`raymetrics.weights.torchscript_graphs`). What remains to such a file is
to take time
and memory, and bugs of torch in operators that are thought to verify everything.

torch.export's archives (.pt2) are another matter: opening one may unpickle, evaluates the
expressions in it, and calls any function of torch that it names.

Tensors alone are read by `scripted`, which runs nothing.
"""

from __future__ import annotations

import io
import pickletools
import re
import warnings
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from raymetrics import safe_pickle
from raymetrics.errors import StorageError, UnsafePickle
from raymetrics.weights.torchscript_graphs import find_unknown
from raymetrics.weights.torchscript_tensors import (
    Declared,
    declared_in,
    is_archive,
    tensors_of_class,
)

__all__ = ["INSTEAD", "Program", "is_archive", "load_archive"]

INSTEAD = "write a class that opens it, and give that as module:Class"
# What torch needs of an archive; the rest is left out of the copy that it gets.
MEMBERS = re.compile(
    r"(data|constants)(\.pkl|/\d+)|code/.*\.py|(\.data/)?version|byteorder|\.data/serialization_id"
)
OLDEST = 3  # format of torch 1.5; in older ones torch believes the types of what it reads
# The instructions that torch writes into data.pkl; its reader takes others in ways of its own.
INSTRUCTIONS = frozenset(
    [
        "PROTO",
        "STOP",
        "MARK",
        "GLOBAL",
        "REDUCE",
        "BUILD",
        "NEWOBJ",
        "BINPERSID",
        "BINPUT",
        "LONG_BINPUT",
        "BINGET",
        "LONG_BINGET",
        "NONE",
        "NEWTRUE",
        "NEWFALSE",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG1",
        "BINFLOAT",
        "BINUNICODE",
        "EMPTY_TUPLE",
        "EMPTY_LIST",
        "EMPTY_DICT",
        "TUPLE",
        "TUPLE1",
        "TUPLE2",
        "TUPLE3",
        "APPEND",
        "APPENDS",
        "SETITEM",
        "SETITEMS",
    ]
)
MAKERS = re.compile(
    r"torch\.\w+Storage|torch\._utils\._rebuild_tensor_v2|collections\.OrderedDict"
    r"|torch\.jit\._pickle\.(build_(int|double|bool|tensor)list|restore_type_tag)"
)
# A cast to a type that torch verifies where it is used: no tuples, no classes (with dots).
CAST = re.compile(r"unchecked_cast\((?!Tuple\b)\w+(\[((?!\bTuple\b)[\w\[\], ])*\])?, ")


@dataclass(frozen=True, eq=False)
class Program:
    """A network of a file, ready to be called with tensors.

    It runs as it was looked at: without torch's optimizer, which puts operators together, and whose
    first runs differ from the later ones in their last bits. Attention goes the way that verifies
    its shapes; the fused one of CPUs reads behind keys that are fewer than the values.
    """

    network: torch.jit.ScriptModule = field(repr=False)

    def __call__(self, *inputs: torch.Tensor) -> Any:
        """What its `forward` gives, without gradients. RuntimeError where that fails."""
        with (
            torch.inference_mode(),
            torch.jit.optimized_execution(False),  # type: ignore[attr-defined]
            sdpa_kernel(SDPBackend.MATH),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # their text is the file's
            return self.network(*inputs)


def load_archive(file: Path | bytes, where: str, device: torch.device | str = "cpu") -> Program:
    """The network in a TorchScript archive, in evaluation mode.

    UnsafePickle for one that is no such archive or would do more than to compute, StorageError for
    a damaged one.
    """
    data: Any = rewritten(file, where).getvalue()
    functions: Any = torch._C.CompilationUnit()
    try:
        module = torch._C.import_ir_module_from_buffer(  # type: ignore[call-arg]
            functions, data, torch.device(device), {}, False
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise StorageError(
            f"{where} cannot be loaded as TorchScript: {reason}; get it or save it again"
        ) from None
    if found := find_unknown(functions.get_functions, module):
        raise refusal(where, found)
    return Program(torch.jit._recursive.wrap_cpp_module(module).eval())


def refusal(where: str, found: str) -> UnsafePickle:
    """The error of a program that `found` is told of."""
    return UnsafePickle(
        f"{where} {found}, which raymetrics does not run from a file, as it may reach memory or "
        f"files that are not its own; if you trust it, {INSTEAD}"
    )


def rewritten(file: Path | bytes, where: str) -> io.BytesIO:
    """The archive once more, after it was looked at.

    torch finds its way in a zip file by rules of its own, and in a forged one to other programs
    than those that were looked at; in this copy there are no others.
    """
    copy = io.BytesIO()
    opened: Any = io.BytesIO(file) if isinstance(file, bytes) else str(file)
    try:
        with safe_pickle.Archive(opened) as archive, zipfile.ZipFile(copy, "w") as to:
            check(archive, where)
            for name in filter(MEMBERS.fullmatch, archive.members):
                to.writestr(archive.folder + name, archive.read(name))
    except safe_pickle.DAMAGES as error:
        raise StorageError(
            f"{where} is no TorchScript: {error}; expected torch.jit.save's"
        ) from None
    return copy


def check(archive: safe_pickle.Archive, where: str) -> None:
    """Looks into an archive without opening it. UnsafePickle if torch may not open it."""
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
    for found in filter(None, map(find_trusted, programs)):
        raise refusal(where, found)
    require_format(archive, where)
    for folder in ("data", "constants"):
        require_plain(archive, folder, where)


def find_trusted(program: str) -> str | None:
    """Tell what of a program torch executes or believes while it loads it, None if nothing."""
    if "__setstate__" in program:
        return "has __setstate__, a program that runs when it is opened"
    casts = len(re.findall(r"\bunchecked_cast\b", program))
    if casts > len(CAST.findall(program)):
        return "takes a value for a tuple or an object without a check"
    return None


def require_format(archive: safe_pickle.Archive, where: str) -> None:
    """UnsafePickle if the archive has the format of an old torch."""
    names = [name for name in ("version", ".data/version") if name in archive.members]
    oldest = min((int(archive.text(name)) for name in names), default=0)
    if oldest < OLDEST:
        raise UnsafePickle(
            f"{where} has TorchScript's format {oldest}, expected {OLDEST} at least, of torch 1.5: "
            "load it in a newer torch and save it again"
        )


def require_plain(archive: safe_pickle.Archive, folder: str, where: str) -> None:
    """UnsafePickle if a pickle holds more than modules, tensors, numbers, texts, and lists of them;
    one of `pickles.DAMAGES` if a tensor leaves its storage, or a storage its file."""
    argument: Any
    declared = declared_in(archive)
    for instruction, argument, _ in pickletools.genops(archive.read(f"{folder}.pkl")):
        if instruction.name not in INSTRUCTIONS:
            raise refusal(where, f"holds the pickle instruction {instruction.name}")
        if instruction.name == "GLOBAL":
            require_plain_class(declared, argument.replace(" ", "."), where)
        if instruction.name == "BINUNICODE" and re.search(r"\bTuple\b|__torch__", argument):
            raise refusal(where, f"holds a container of the type {argument[:80]!r}")
    safe_pickle.read_archive(archive, where, folder)


def require_plain_class(declared: Declared, name: str, where: str) -> None:
    """UnsafePickle if a name in a pickle is neither of a module nor of what tensors are made of."""
    module = name.startswith("__torch__.") and not name.startswith("__torch__.torch.classes.")
    if not (tensors_of_class(name, declared) is not None if module else MAKERS.fullmatch(name)):
        raise refusal(where, f"holds an object of {name[:80]!r}")
