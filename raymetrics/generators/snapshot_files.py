"""Find the snapshots of a training run as sources, and watch for new ones."""

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
_SETTLED_SECONDS = 60  # after so long without a change, a file counts as whole

_Signature = tuple[int, int] | None  # size in bytes and time of change; None for no file


def expand_sources(text: str) -> list[str]:
    """Return the sources that a text stands for, files in the order of the numbers in their names.

    run?option=value           all networks in a folder, each with these options
    run/*.pkl                  the files that match a pattern
    digits?snapshot={50,100}   one source for each word in braces
    any other text             one source, the text unchanged
    """
    sources = [source for pattern in _expand_braces(text) for source in _expand_files(pattern)]
    return list(dict.fromkeys(sources))


def _expand_braces(text: str) -> Iterator[str]:
    """Yield "a1", "a2" for "a{1,2}"; braces without a comma, a-{000..009}.tar, are kept."""
    match = next((m for m in _BRACES.finditer(text) if "," in m[1]), None)
    if match is None:
        yield text
        return
    for word in match[1].split(","):
        yield from _expand_braces(f"{text[: match.start()]}{word.strip()}{text[match.end() :]}")


def _expand_files(text: str) -> list[str]:
    """Return the networks of a folder or of a pattern, or the text unchanged."""
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
    """Return a key that sorts numbers in a name as numbers, so that 2 comes before 10."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+)", name))]


class SnapshotWatch:
    """A watch over sources, which reports the new ones at each poll."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self._last_signatures: dict[str, _Signature] = {}  # at the last look
        self._reported_signatures: dict[str, _Signature] = {}

    def poll(self, *, settled: bool) -> list[str]:
        """Return the sources that are new, or have changed since they were reported.

        settled: leave out files that changed since the last poll and within the last minute, as
        they may not be written completely. Raises SourceError if no source exists, unless `settled`
        is true.
        """
        signatures = {s: _file_signature(s) for text in self.texts for s in expand_sources(text)}
        if not signatures and not settled:
            raise SourceError(
                f"no snapshots at {', '.join(self.texts)}; expected a folder with "
                f"{', '.join(_NETWORK_SUFFIXES)} files, a pattern such as 'run/*.pkl', or a source "
                "such as 'digits?snapshot={50,100}'"
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
    """Return the size and the time of change of a source's file; None if no file exists."""
    path = Path(option_strings.parse_options(source, SourceError)[0])
    try:
        status = path.stat()
    except (OSError, ValueError):  # no such file, or a text that cannot be a file's name
        return None
    return status.st_size, status.st_mtime_ns
