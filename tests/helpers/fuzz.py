"""Reads one composed pickle after another, and ends with an error at the first that is not safe.

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
from raymetrics.generators.stylegan2.load_pickle import network_of
from raymetrics.safe_pickle.unpickler import Global
from raymetrics.shards.foreign.statistics_files import read_statistics
from raymetrics.weights.state_dict import read_state

MEMORY = 1 << 29  # bytes that reading any of these files, of a few kB, may take
PATIENCE = 60  # seconds, after which a program counts as endless
CONTAINERS = (list, tuple, dict, set, frozenset)
PLAIN = {
    type(None), bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset,
    collections.OrderedDict, safe_pickle.Persistent, Global, torch.dtype, torch.device,
}  # fmt: skip


class Unsafe(Exception):
    """Something came out that must not."""


def values_in(value: Any) -> Iterator[Any]:
    """A value and all inside of it, each once."""
    waiting, seen = [value], set()
    while waiting:
        found = waiting.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        if isinstance(found, safe_pickle.Persistent):
            waiting.append(found.state)
        elif isinstance(found, dict):
            waiting += [*found.keys(), *found.values()]
        elif isinstance(found, CONTAINERS):
            waiting += found


def require_plain(value: Any, intact: bool) -> None:
    for found in values_in(value):
        if type(found) is np.ndarray:
            require_inside(found, intact)
        elif not (type(found) in PLAIN or isinstance(found, np.generic | np.dtype)):
            raise Unsafe(f"a value of {type(found)}")


def bounds(array: np.ndarray) -> tuple[int, int]:
    """The first byte of an array's numbers, and the byte after the last."""
    return np.lib.array_utils.byte_bounds(array)


def require_inside(array: np.ndarray, intact: bool) -> None:
    """All its numbers lie in what holds them, cannot be written, and are those of the file.

    intact: the numbers of the file are of bytes 0 and 1.
    """
    if array.size == 0:
        return
    if array.flags.writeable:
        raise Unsafe(f"a writeable array {array.shape}")
    holder: Any = array
    while isinstance(holder.base, np.ndarray):
        holder = holder.base
    if isinstance(holder.base, bytes):
        holder = np.frombuffer(holder.base, np.uint8)
    elif holder.base is not None or not holder.flags.owndata:
        raise Unsafe(f"an array in {type(holder.base)}")
    (first, end), (start, stop) = bounds(array), bounds(holder)
    if not start <= first <= end <= stop:
        raise Unsafe(f"an array at {first}..{end}, outside of {start}..{stop}")
    if not set(array.tobytes()) <= {0, 1} and intact:
        raise Unsafe("numbers that are not in the file")


def require_our_error(act: Callable[[], Any]) -> Any:
    """What this gives; None where it raises an error of ours, unless memory was at its end."""
    try:
        return act()
    except RaymetricsError as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, MemoryError):
                raise Unsafe("more memory than such a file may take") from error
            cause = cause.__cause__ or cause.__context__
        if len(str(error)) > 2000 or not str(error).isprintable():
            raise Unsafe(f"the message {str(error)[:2000]!r}") from error
    return None


def read_archive(path: Path) -> Any:
    try:
        with safe_pickle.Archive(str(path)) as archive:
            return safe_pickle.read_archive(archive, "here")
    except safe_pickle.DAMAGES:
        return None


def attempts(programs: Programs, folder: Path) -> Iterator[Callable[[], Any]]:
    """The ways that a program goes through: as a pickle, in a zip file, in torch's old files."""
    data = programs.damaged(programs.whole())
    files = {
        "a.pkl": data,
        "a.pt": programs.damaged(programs.archive(data)),
        "old.pt": programs.damaged(programs.old_file(programs.whole(old=True))),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    yield lambda: safe_pickle.read(data, "here")
    yield lambda: read_archive(folder / "a.pt")
    for name in files:
        uri = str(folder / name)
        yield lambda uri=uri: read_statistics(uri) and None
        yield lambda uri=uri: require_tensors(read_state(Path(uri)))
        yield lambda uri=uri: require_tensors(read_inception(Path(uri)))
    yield lambda: network_of(data, "here") and None


def require_tensors(state: dict[str, torch.Tensor]) -> None:
    for tensor in state.values():
        tensor.sum()


def main(first: int, count: int, folder: Path) -> None:
    warnings.simplefilter("ignore")
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    came_out = 0
    for seed in range(first, first + count):
        (folder / "seed").write_text(str(seed))
        programs = Programs(seed)
        for attempt in attempts(programs, folder):
            signal.alarm(PATIENCE)
            value = require_our_error(attempt)
            require_plain(value, programs.intact)
            came_out += any(isinstance(found, np.ndarray) for found in values_in(value))
        signal.alarm(0)
    print(f"{count} programs; arrays came out {came_out} times")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
