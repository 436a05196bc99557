"""Read one composed pickle after another, and end with an error at the first that is not safe.

    python fuzz.py FIRST COUNT FOLDER      # the seeds, and where files may be written

FOLDER/seed is the seed at which it ended, also where it crashed.
"""

from __future__ import annotations

import collections
import resource
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from programs import Programs

from raymetrics import safe_pickle
from raymetrics.errors import RaymetricsError
from raymetrics.extractors.inception_weights import read_inception
from raymetrics.generators.stylegan2.load_pickle import load_network
from raymetrics.safe_pickle.unpickler import Global
from raymetrics.shards.foreign.statistics_files import read_statistics
from raymetrics.weights.state_dict import read_state

MEMORY = 1 << 29  # bytes that reading any of these files, of a few kB, may take
PATIENCE = 60  # seconds, after which a program counts as endless
CONTAINERS = (list, tuple, dict, set, frozenset)
PLAIN_TYPES = {
    type(None), bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset,
    collections.OrderedDict, safe_pickle.PickledObject, Global, torch.dtype, torch.device,
}  # fmt: skip


class UnsafeValue(Exception):
    """The error of a value that the reader must not return."""


def nested_values(value: Any) -> Iterator[Any]:
    """Yield a value and all values inside of it, each once."""
    waiting, seen = [value], set()
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        yield item
        if isinstance(item, safe_pickle.PickledObject):
            waiting.append(item.state)
        elif isinstance(item, dict):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, CONTAINERS):
            waiting += item


def require_plain(value: Any, intact: bool) -> None:
    for item in nested_values(value):
        if type(item) is np.ndarray:
            require_inside(item, intact)
        elif not (type(item) in PLAIN_TYPES or isinstance(item, np.generic | np.dtype)):
            raise UnsafeValue(f"a value of {type(item)}")


def bounds(array: np.ndarray) -> tuple[int, int]:
    """Return the address of the first byte of an array's numbers, and that after the last."""
    return np.lib.array_utils.byte_bounds(array)


def require_inside(array: np.ndarray, intact: bool) -> None:
    """Require that an array's numbers lie in its buffer, are read-only, and are those of the file.

    intact: the numbers of the file are of bytes 0 and 1.
    """
    if array.size == 0:
        return
    if array.flags.writeable:
        raise UnsafeValue(f"a writeable array {array.shape}")
    holder: Any = array
    while isinstance(holder.base, np.ndarray):
        holder = holder.base
    if isinstance(holder.base, bytes):
        holder = np.frombuffer(holder.base, np.uint8)
    elif holder.base is not None or not holder.flags.owndata:
        raise UnsafeValue(f"an array in {type(holder.base)}")
    (first, end), (start, stop) = bounds(array), bounds(holder)
    if not start <= first <= end <= stop:
        raise UnsafeValue(f"an array at {first}..{end}, outside of {start}..{stop}")
    if not set(array.tobytes()) <= {0, 1} and intact:
        raise UnsafeValue("numbers that are not in the file")


def require_our_error(act: Callable[[], Any]) -> Any:
    """Return the result of a call, or None for an error of raymetrics, unless memory ran out."""
    try:
        return act()
    except RaymetricsError as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, MemoryError):
                raise UnsafeValue("more memory than such a file may take") from error
            cause = cause.__cause__ or cause.__context__
        if len(str(error)) > 2000 or not str(error).isprintable():
            raise UnsafeValue(f"the message {str(error)[:2000]!r}") from error
    return None


def read_archive(path: Path) -> Any:
    try:
        with safe_pickle.TorchArchive(str(path)) as archive:
            return safe_pickle.read_archive(archive, "here")
    except safe_pickle.DAMAGE_ERRORS:
        return None


def attempts(programs: Programs, folder: Path) -> Iterator[Callable[[], Any]]:
    """Read a program in all ways: as a pickle, in a zip file, in torch's old files."""
    data = programs.damage(programs.compose_pickle())
    files = {
        "a.pkl": data,
        "a.pt": programs.damage(programs.archive(data)),
        "old.pt": programs.damage(programs.old_file(programs.compose_pickle(old=True))),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    yield lambda: safe_pickle.read_pickle(data, "here")
    yield lambda: read_archive(folder / "a.pt")
    for name in files:
        uri = str(folder / name)
        yield lambda uri=uri: read_statistics(uri) and None
        yield lambda uri=uri: require_tensors(read_state(Path(uri)))
        yield lambda uri=uri: require_tensors(read_inception(Path(uri)))
    yield lambda: load_network(data, "here") and None


def require_tensors(state: dict[str, torch.Tensor]) -> None:
    for tensor in state.values():
        tensor.sum()


def main(first: int, count: int, folder: Path) -> None:
    warnings.simplefilter("ignore")
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    array_count = 0
    for seed in range(first, first + count):
        (folder / "seed").write_text(str(seed))
        programs = Programs(seed)
        for attempt in attempts(programs, folder):
            signal.alarm(PATIENCE)
            value = require_our_error(attempt)
            require_plain(value, programs.intact)
            array_count += any(isinstance(item, np.ndarray) for item in nested_values(value))
        signal.alarm(0)
    print(f"{count} programs; arrays came out {array_count} times")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
