"""Load TorchScript archives: networks with their code and their tensors, from `torch.jit.save`.

The code in an archive is a program of operators, not Python; no pickle is executed. Whatever a
program could do beyond computing is refused by name. Before torch opens the archive, this file
refuses what torch would trust or execute while opening it. After torch has compiled the program,
`torchscript_graphs` refuses every operator that is not known to verify its arguments. A file can
still take time and memory, and use bugs of torch in operators that are believed to verify
everything.

Archives of torch.export (.pt2) are not loaded here: opening one may unpickle, evaluates the
expressions in it, and calls any function of torch that it names.

`torchscript_tensors` reads tensors alone, and runs nothing.
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
# The members that torch needs of an archive; the copy for torch has only these.
_MEMBERS = re.compile(
    r"(data|constants)(\.pkl|/\d+)|code/.*\.py|(\.data/)?version|byteorder|\.data/serialization_id"
)
_OLDEST_FORMAT = 3  # of torch 1.5; from older formats torch trusts the types that it reads
# The instructions that torch writes into data.pkl; it interprets others unlike Python.
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
# A cast to a type that torch verifies where the value is used: no tuple, no class (with dots).
_VERIFIED_CAST = re.compile(r"unchecked_cast\((?!Tuple\b)\w+(\[((?!\bTuple\b)[\w\[\], ])*\])?, ")


@dataclass(frozen=True, eq=False)
class TorchScriptProgram:
    """A network from a file, ready to be called with tensors.

    The network runs as it was inspected: without torch's optimizer, which fuses operators, and
    whose first runs differ from later runs in the last bits. Attention takes the implementation
    that verifies its shapes; the fused one for CPUs reads out of bounds if there are fewer keys
    than values.
    """

    network: torch.jit.ScriptModule = field(repr=False)

    def __call__(self, *inputs: torch.Tensor) -> Any:
        """Run the network's `forward` without gradients. Raise RuntimeError if it fails."""
        with (
            torch.inference_mode(),
            torch.jit.optimized_execution(False),  # type: ignore[attr-defined]
            sdpa_kernel(SDPBackend.MATH),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # the file chooses their text
            return self.network(*inputs)


def load_torchscript(
    file: Path | bytes, where: str, device: torch.device | str = "cpu"
) -> TorchScriptProgram:
    """Load the network in a TorchScript archive, in evaluation mode.

    Raise UnsafePickle for a file that is not such an archive or would do more than compute,
    StorageError for a damaged archive.
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
    """Make the error for a program with this problem."""
    return UnsafePickle(
        f"{where} {problem}, which raymetrics does not run from a file, as it may reach memory or "
        f"files that are not its own; if you trust it, {USER_CLASS_ADVICE}"
    )


def _sanitized_copy(file: Path | bytes, where: str) -> io.BytesIO:
    """Check an archive and copy it.

    torch reads zip files by rules of its own; in a forged zip file it may find other programs than
    those that were checked. The copy contains only the checked members.
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
    """Check an archive without opening it in torch. Raise UnsafePickle if it may be unsafe."""
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
    """Describe what torch would execute or trust while loading a program, or return None."""
    if "__setstate__" in program:
        return "has __setstate__, a program that runs when it is opened"
    casts = len(re.findall(r"\bunchecked_cast\b", program))
    if casts > len(_VERIFIED_CAST.findall(program)):
        return "takes a value for a tuple or an object without a check"
    return None


def _require_format(archive: safe_pickle.TorchArchive, where: str) -> None:
    """Raise UnsafePickle if the archive has the format of an old torch."""
    names = [name for name in ("version", ".data/version") if name in archive.members]
    oldest = min((int(archive.text(name)) for name in names), default=0)
    if oldest < _OLDEST_FORMAT:
        raise UnsafePickle(
            f"{where} has TorchScript's format {oldest}, expected {_OLDEST_FORMAT} at least, of "
            "torch 1.5: load it in a newer torch and save it again"
        )


def _require_plain(archive: safe_pickle.TorchArchive, folder: str, where: str) -> None:
    """Require that a pickle holds only modules, tensors, numbers, texts, and lists of them.

    Raise UnsafePickle for anything else, or one of `safe_pickle.DAMAGE_ERRORS` if a tensor exceeds
    its storage, or a storage its file.
    """
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
    """Raise UnsafePickle if a name in a pickle is neither a module's nor a part of tensors."""
    module = name.startswith("__torch__.") and not name.startswith("__torch__.torch.classes.")
    if not (
        tensor_names_of_class(name, declared) is not None
        if module
        else _ALLOWED_MAKERS.fullmatch(name)
    ):
        raise _unsafe_program_error(where, f"holds an object of {name[:80]!r}")
