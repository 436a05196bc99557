"""Compute digests of a user's code: its modules, and the files that its options name."""

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

_READ_WHOLE_BYTES = 2_000_000_000  # of a larger folder, only both ends of every file are read
_END_BYTES = 65_536  # at each end


def is_library(path: str | Path) -> bool:
    """Return whether a file was installed or belongs to Python, and is thus not a user's code."""
    parts = Path(path).parts
    installed = "site-packages" in parts or "dist-packages" in parts
    return installed or Path(path).is_relative_to(sysconfig.get_path("stdlib"))


def module_digests(module: str) -> dict[str, object]:
    """Digest the file of an imported module, and of the user's modules that it imports.

    Returns {"source_sha256": ...}, and {"modules": {name: SHA-256}} if the module imports others
    below the folder of the Python path that it comes from. Imports are found by parsing the import
    statements, including those inside functions, so that workers and driver find the same files.
    Libraries and raymetrics are left out, because results store their versions.
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

    Returns {"files": {option: SHA-256}, "folders": {option: SHA-256}}, without an empty entry.
    """
    paths = {option: Path(value) for option, value in options.items() if value}
    files = {option: _digest_of_file(path) for option, path in paths.items() if path.is_file()}
    folders = {option: folder_digest(path) for option, path in paths.items() if path.is_dir()}
    return {**({"files": files} if files else {}), **({"folders": folders} if folders else {})}


def _digest_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, cached while the file does not change."""
    status = path.stat()
    return _cached_file_digest(str(path), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _cached_file_digest(path: str, size: int, modified_ns: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(folder: Path) -> str:
    """Compute one SHA-256 for the names and bytes of all files of a folder.

    If the files have more than 2 GB together, the size and both ends of each file are digested.
    Shard sets below the folder are skipped, because they may be made from the folder.
    """
    files = sorted(_files_below(folder))
    read_whole = sum(path.stat().st_size for path in files) <= _READ_WHOLE_BYTES
    digest = _digest_of_file if read_whole else _digest_of_ends
    return fingerprint({str(path.relative_to(folder)): digest(path) for path in files})


def _files_below(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder, except those of shard sets."""
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
    """Return the files of the user's modules that a module imports, directly or not, by name."""
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
    """Return the names that the import statements of a file may mean, and their packages."""
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
    """Return a module and its packages, "a.b.c" -> ["a", "a.b", "a.b.c"]: all are executed."""
    return list(itertools.accumulate(name.split("."), "{}.{}".format))


def _base_name(package: str, level: int, module: str) -> str:
    """Resolve the module of an import statement with this many leading dots."""
    if level == 0:
        return module
    parents = package.split(".")[: len(package.split(".")) - level + 1]
    return ".".join([*parents, *([module] if module else [])])


def _module_file(root: Path, name: str) -> Path | None:
    """Return the file of a module below a folder; None for raymetrics, or if there is none."""
    parts = name.split(".")
    if parts[0] == "raymetrics" or not all(part.isidentifier() for part in parts):
        return None
    path = root.joinpath(*parts)
    candidates = path.with_name(f"{path.name}.py"), path / "__init__.py"
    return next((file for file in candidates if file.is_file()), None)
