"""The snapshots of a training run as sources: those that are there, and those that come."""

from __future__ import annotations

import glob
import os.path
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from raymetrics import option_strings
from raymetrics.errors import SourceError

_NETWORK_SUFFIXES = (".pkl", ".pt", ".ts", ".jit")
_BRACES = re.compile(r"\{([^{}]*)\}")
_SETTLED_SECONDS = 60  # seconds without a change, after which a file is taken to be whole

_Signature = tuple[int, int] | None  # bytes and time of change; None of what is no file


def expand_sources(text: str) -> list[str]:
    """The sources that a text stands for, those of files by the numbers in their names.

    run?option=value     all networks in a folder, each with these options
    run/*.pkl            files by a pattern
    digits?snapshot={50,100}   one for every word in braces
    anything else        itself
    """
    sources = [source for pattern in _expand_braces(text) for source in _expand_files(pattern)]
    return list(dict.fromkeys(sources))


def _expand_braces(text: str) -> Iterator[str]:
    """ "a{1,2}" -> "a1", "a2"; an interval of tars, a-{000..009}.tar, stays as it is."""
    match = next((m for m in _BRACES.finditer(text) if "," in m[1]), None)
    if match is None:
        yield text
        return
    for word in match[1].split(","):
        yield from _expand_braces(f"{text[: match.start()]}{word.strip()}{text[match.end() :]}")


def _expand_files(text: str) -> list[str]:
    """The networks of a folder or of a pattern, or the text itself."""
    name, options = option_strings.parse_options(text, SourceError)
    if os.path.isdir(name):
        files = [str(path) for path in Path(name).iterdir() if path.suffix in _NETWORK_SUFFIXES]
    elif glob.has_magic(name) and not os.path.exists(name):
        files = glob.glob(name)
    else:
        return [text]
    return [
        option_strings.format_options(file, options) for file in sorted(files, key=_natural_key)
    ]


def _natural_key(name: str) -> list[object]:
    """Numbers as numbers, so that 2 comes before 10; what stands between them as text."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+)", name))]


class SnapshotWatch:
    """Tells what is new since the last look."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self._last_signatures: dict[str, _Signature] = {}  # at the last look
        self._reported_signatures: dict[str, _Signature] = {}

    def poll(self, *, settled: bool) -> list[str]:
        """Sources that are new, or have changed since they were told.

        settled: without files that have changed since the last look and within a minute, which may
        not be written to their end. SourceError if nothing is there, unless more may come.
        """
        signatures = {s: _file_signature(s) for text in self.texts for s in expand_sources(text)}
        if not signatures and not settled:
            raise SourceError(
                f"no snapshots at {', '.join(self.texts)}; expected a folder with "
                f"{', '.join(_NETWORK_SUFFIXES)} files, a pattern such as 'run/*.pkl', or a source such as "
                "'digits?snapshot={50,100}'"
            )
        new = [
            source
            for source, now in signatures.items()
            if (source not in self._reported_signatures or self._reported_signatures[source] != now)
            and (not settled or self._is_whole(source, now))
        ]
        self._last_signatures = signatures
        self._reported_signatures |= {source: signatures[source] for source in new}
        return new

    def _is_whole(self, source: str, now: _Signature) -> bool:
        old = now is None or time.time() - now[1] / 1e9 > _SETTLED_SECONDS
        return old or self._last_signatures.get(source, ()) == now


def _file_signature(source: str) -> _Signature:
    """By which a file is known to have changed."""
    path = Path(option_strings.parse_options(source, SourceError)[0])
    try:
        status = path.stat()
    except (OSError, ValueError):  # nothing there, or no name of a file
        return None
    return status.st_size, status.st_mtime_ns
