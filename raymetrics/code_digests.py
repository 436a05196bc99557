"""Digests of what a user's code is made of: its modules, and the files that its options name."""

from __future__ import annotations

import ast
import hashlib
import itertools
import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from raymetrics.provenance import fingerprint

_READ_WHOLE_BYTES = (
    2_000_000_000  # bytes of a folder; of a larger one both ends of every file are read
)
_END_BYTES = 65_536  # bytes of such an end


def is_library(path: str | Path) -> bool:
    """Tell whether a file was installed, or comes with Python: nobody's own code."""
    parts = Path(path).parts
    installed = "site-packages" in parts or "dist-packages" in parts
    return installed or Path(path).is_relative_to(sysconfig.get_path("stdlib"))


def module_digests(module: str) -> dict[str, object]:
    """Digest the file of an imported module, and the user's own modules that it imports.

    Gives {"source_sha256": ...}, and {"modules": {name: SHA-256}} if it imports any that lie
    below the folder of the Python path which it comes from. They are found by reading the import
    statements, also those within functions, so that a worker finds what the driver found.
    Libraries and raymetrics itself are left out: results keep their versions.
    """
    file = sys.modules[module].__file__
    if file is None:
        return {"source_sha256": hashlib.sha256(b"").hexdigest()}
    imported = sorted(_imported_files(module, Path(file)).items())
    modules = (
        {"modules": {name: _digest_of_file(path) for name, path in imported}} if imported else {}
    )
    return {"source_sha256": _digest_of_file(Path(file)), **modules}


def option_digests(options: Mapping[str, str]) -> dict[str, object]:
    """Digest the files and folders that are values of options.

    Gives {"files": {option: SHA-256}, "folders": {option: SHA-256}}, without what there is none of.
    """
    paths = {option: Path(value) for option, value in options.items() if value}
    files = {option: _digest_of_file(path) for option, path in paths.items() if path.is_file()}
    folders = {option: folder_digest(path) for option, path in paths.items() if path.is_dir()}
    return {**({"files": files} if files else {}), **({"folders": folders} if folders else {})}


def _digest_of_file(path: Path) -> str:
    """Give the SHA-256 of a file's bytes; of one that has not changed it is kept."""
    status = path.stat()
    return _cached_file_digest(str(path), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _cached_file_digest(path: str, size: int, modified_ns: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(folder: Path) -> str:
    """Give one SHA-256 for the names and bytes of all files of a folder.

    Where they are more than 2 GB, the size and both ends of every file stand for it. Shard sets
    below the folder are left out, as they may be what is made of it.
    """
    files = sorted(_files_below(folder))
    read_whole = sum(path.stat().st_size for path in files) <= _READ_WHOLE_BYTES
    digest = _digest_of_file if read_whole else _digest_of_ends
    return fingerprint({str(path.relative_to(folder)): digest(path) for path in files})


def _files_below(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        if _is_shard_set(Path(parent, "dataset.json")):
            folders.clear()
            continue
        yield from (path for name in names if (path := Path(parent, name)).is_file())


def _is_shard_set(file: Path) -> bool:
    return file.is_file() and b'"fingerprint"' in file.read_bytes()


def _digest_of_ends(path: Path) -> str:
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(_END_BYTES)
        file.seek(max(0, size - _END_BYTES))
        return hashlib.sha256(b"%d;" % size + first + file.read(_END_BYTES)).hexdigest()


def _imported_files(module: str, file: Path) -> dict[str, Path]:
    """The files of the user's modules that a module imports, and those import, by name."""
    is_package = file.name == "__init__.py"
    top, depth = module.partition(".")[0], module.count(".") + is_package
    root = file.resolve().parents[depth]
    imported: dict[str, Path] = {}
    todo = [(module, file)]
    while todo:
        for name in _imported_names(*todo.pop()):
            path = _module_file(root, name)
            foreign = is_library(root) and name.partition(".")[0] != top
            if path is not None and not foreign and name not in (module, *imported):
                imported[name] = path
                todo.append((name, path))
    return imported


def _imported_names(module: str, file: Path) -> set[str]:
    """The names that the import statements of a file may mean, with the packages around them."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # compiled, or not for this Python
        return set()
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = _base_name(package, node.level, node.module or "")
            names |= {f"{base}.{alias.name}".lstrip(".") for alias in node.names}
    return {package_name for name in names for package_name in _with_packages(name)}


def _with_packages(name: str) -> list[str]:
    """ "a.b.c" -> ["a", "a.b", "a.b.c"], as all of them are executed."""
    return list(itertools.accumulate(name.split("."), "{}.{}".format))


def _base_name(package: str, level: int, module: str) -> str:
    if level == 0:
        return module
    parents = package.split(".")[: len(package.split(".")) - level + 1]
    return ".".join([*parents, *([module] if module else [])])


def _module_file(root: Path, name: str) -> Path | None:
    """Where a module lies below a folder; None of raymetrics, and of one that does not."""
    parts = name.split(".")
    if parts[0] == "raymetrics" or not all(part.isidentifier() for part in parts):
        return None
    path = root.joinpath(*parts)
    candidates = path.with_name(f"{path.name}.py"), path / "__init__.py"
    return next((file for file in candidates if file.is_file()), None)
