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
from raymetrics.weights.torchscript_graphs import find_forbidden
from raymetrics.weights.torchscript_tensors import (
    DeclarationLookup,
    declaration_lookup,
    is_torchscript,
    tensor_names_of_class,
)

__all__ = ["USER_CLASS_ADVICE", "TorchScriptProgram", "is_torchscript", "load_torchscript"]

USER_CLASS_ADVICE = "write a class that opens it, and give that as module:Class"
# What torch needs of an archive; the rest is left out of the copy that it gets.
_MEMBERS = re.compile(
    r"(data|constants)(\.pkl|/\d+)|code/.*\.py|(\.data/)?version|byteorder|\.data/serialization_id"
)
_OLDEST_FORMAT = 3  # format of torch 1.5; in older ones torch believes the types of what it reads
# The instructions that torch writes into data.pkl; its reader takes others in ways of its own.
_PICKLE_INSTRUCTIONS = frozenset(
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
_ALLOWED_MAKERS = re.compile(
    r"torch\.\w+Storage|torch\._utils\._rebuild_tensor_v2|collections\.OrderedDict"
    r"|torch\.jit\._pickle\.(build_(int|double|bool|tensor)list|restore_type_tag)"
)
# A cast to a type that torch verifies where it is used: no tuples, no classes (with dots).
_VERIFIED_CAST = re.compile(r"unchecked_cast\((?!Tuple\b)\w+(\[((?!\bTuple\b)[\w\[\], ])*\])?, ")


@dataclass(frozen=True, eq=False)
class TorchScriptProgram:
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


def load_torchscript(
    file: Path | bytes, where: str, device: torch.device | str = "cpu"
) -> TorchScriptProgram:
    """The network in a TorchScript archive, in evaluation mode.

    UnsafePickle for one that is no such archive or would do more than to compute, StorageError for
    a damaged one.
    """
    data: Any = _sanitized_copy(file, where).getvalue()
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
    if problem := find_forbidden(functions.get_functions, module):
        raise _unsafe_program_error(where, problem)
    return TorchScriptProgram(torch.jit._recursive.wrap_cpp_module(module).eval())


def _unsafe_program_error(where: str, problem: str) -> UnsafePickle:
    """The error of a program that `found` is told of."""
    return UnsafePickle(
        f"{where} {problem}, which raymetrics does not run from a file, as it may reach memory or "
        f"files that are not its own; if you trust it, {USER_CLASS_ADVICE}"
    )


def _sanitized_copy(file: Path | bytes, where: str) -> io.BytesIO:
    """The archive once more, after it was looked at.

    torch finds its way in a zip file by rules of its own, and in a forged one to other programs
    than those that were looked at; in this copy there are no others.
    """
    copy = io.BytesIO()
    source: Any = io.BytesIO(file) if isinstance(file, bytes) else str(file)
    try:
        with safe_pickle.TorchArchive(source) as archive, zipfile.ZipFile(copy, "w") as clean_zip:
            _require_safe_archive(archive, where)
            for name in filter(_MEMBERS.fullmatch, archive.members):
                clean_zip.writestr(archive.folder + name, archive.read(name))
    except safe_pickle.DAMAGE_ERRORS as error:
        raise StorageError(
            f"{where} is no TorchScript: {error}; expected torch.jit.save's"
        ) from None
    return copy


def _require_safe_archive(archive: safe_pickle.TorchArchive, where: str) -> None:
    """Looks into an archive without opening it. UnsafePickle if torch may not open it."""
    if any(re.search(r"^models/.*\.json$", name) for name in archive.members):
        raise UnsafePickle(
            f"{where} is an archive of torch.export, which executes Python when it is opened; "
            f"save it by torch.jit.save, or {USER_CLASS_ADVICE}"
        )
    programs = [archive.text(n) for n in archive.members if re.search(r"^code/.*\.py$", n, re.I)]
    if not programs:
        raise UnsafePickle(
            f"{where} holds no TorchScript: torch.save's files of whole networks are pickles, and "
            f"raymetrics executes none; save it by torch.jit.save, or {USER_CLASS_ADVICE}"
        )
    for problem in filter(None, map(_find_unverified, programs)):
        raise _unsafe_program_error(where, problem)
    _require_format(archive, where)
    for folder in ("data", "constants"):
        _require_plain(archive, folder, where)


def _find_unverified(program: str) -> str | None:
    """Tell what of a program torch executes or believes while it loads it, None if nothing."""
    if "__setstate__" in program:
        return "has __setstate__, a program that runs when it is opened"
    casts = len(re.findall(r"\bunchecked_cast\b", program))
    if casts > len(_VERIFIED_CAST.findall(program)):
        return "takes a value for a tuple or an object without a check"
    return None


def _require_format(archive: safe_pickle.TorchArchive, where: str) -> None:
    """UnsafePickle if the archive has the format of an old torch."""
    names = [name for name in ("version", ".data/version") if name in archive.members]
    oldest = min((int(archive.text(name)) for name in names), default=0)
    if oldest < _OLDEST_FORMAT:
        raise UnsafePickle(
            f"{where} has TorchScript's format {oldest}, expected {_OLDEST_FORMAT} at least, of torch 1.5: "
            "load it in a newer torch and save it again"
        )


def _require_plain(archive: safe_pickle.TorchArchive, folder: str, where: str) -> None:
    """UnsafePickle if a pickle holds more than modules, tensors, numbers, texts, and lists of them;
    one of `pickles.DAMAGES` if a tensor leaves its storage, or a storage its file."""
    argument: Any
    declared = declaration_lookup(archive)
    for instruction, argument, _ in pickletools.genops(archive.read(f"{folder}.pkl")):
        if instruction.name not in _PICKLE_INSTRUCTIONS:
            raise _unsafe_program_error(where, f"holds the pickle instruction {instruction.name}")
        if instruction.name == "GLOBAL":
            _require_plain_class(declared, argument.replace(" ", "."), where)
        if instruction.name == "BINUNICODE" and re.search(r"\bTuple\b|__torch__", argument):
            raise _unsafe_program_error(where, f"holds a container of the type {argument[:80]!r}")
    safe_pickle.read_archive(archive, where, folder)


def _require_plain_class(declared: DeclarationLookup, name: str, where: str) -> None:
    """UnsafePickle if a name in a pickle is neither of a module nor of what tensors are made of."""
    module = name.startswith("__torch__.") and not name.startswith("__torch__.torch.classes.")
    if not (
        tensor_names_of_class(name, declared) is not None
        if module
        else _ALLOWED_MAKERS.fullmatch(name)
    ):
        raise _unsafe_program_error(where, f"holds an object of {name[:80]!r}")
