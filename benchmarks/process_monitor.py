"""Time and memory of this process and of all that it started, read while a stream runs."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Look:
    """How things are after so many rows. cpu: seconds so far; memory: GB, of all processes, which
    is counted once where they share it; driver: of this one."""

    rows: int
    time: float
    cpu: float
    memory: float
    driver: float


@dataclass(frozen=True)
class Window:
    """What happened between two looks."""

    first: Look
    last: Look

    @property
    def rows(self) -> int:
        return self.last.rows - self.first.rows

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / (self.last.time - self.first.time)

    @property
    def cpu_a_row(self) -> float:
        """Seconds of all processes."""
        return (self.last.cpu - self.first.cpu) / self.rows


class Watch:
    """Looks after the first shard, and whenever so many rows are reached."""

    def __init__(self, marks: Sequence[int]) -> None:
        self.marks, self.seen = list(marks), list[Look]()

    def __call__(self, rows: int) -> None:
        """So many are made."""
        if not self.seen or (self.marks and rows >= self.marks[0]):
            self.seen.append(look(rows))
            self.marks = [mark for mark in self.marks if mark > rows]

    @property
    def windows(self) -> list[Window]:
        """From one look to the next."""
        return [Window(*two) for two in zip(self.seen, self.seen[1:], strict=False)]


def look(rows: int) -> Look:
    """At this process and its descendants; one that ends meanwhile is left out."""
    here = psutil.Process()
    cpu = memory = 0.0
    for process in [here, *here.children(recursive=True)]:
        try:
            times = process.cpu_times()
            memory += resident(process.pid)
            cpu += times.user + times.system
        except (psutil.Error, OSError):
            continue
    return Look(rows, time.monotonic(), cpu, memory, resident(here.pid))


def resident(pid: int) -> float:
    """GB; of memory that processes share, each one's part."""
    told = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB", told, flags=re.MULTILINE)
    return int(found[1]) * 1024 / 1e9 if found else 0.0
