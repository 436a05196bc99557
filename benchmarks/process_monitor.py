"""Measure time and memory of this process and its descendants while a stream runs."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class UsageReading:
    """The usage after some rows.

    cpu: seconds so far; memory: GB of all processes, with shared memory counted once; driver: GB of
    this process.
    """

    rows: int
    time: float
    cpu: float
    memory: float
    driver: float


@dataclass(frozen=True)
class UsageWindow:
    """The usage between two readings."""

    first: UsageReading
    last: UsageReading

    @property
    def rows(self) -> int:
        return self.last.rows - self.first.rows

    @property
    def rate(self) -> float:
        """Rows per second."""
        return self.rows / (self.last.time - self.first.time)

    @property
    def cpu_a_row(self) -> float:
        """CPU seconds of all processes per row."""
        return (self.last.cpu - self.first.cpu) / self.rows


class UsageWatch:
    """A watch that takes a reading after the first shard, and at each mark, a number of rows."""

    def __init__(self, marks: Sequence[int]) -> None:
        self.marks, self.readings = list(marks), list[UsageReading]()

    def __call__(self, rows: int) -> None:
        """Report the number of rows so far."""
        if not self.readings or (self.marks and rows >= self.marks[0]):
            self.readings.append(take_reading(rows))
            self.marks = [mark for mark in self.marks if mark > rows]

    @property
    def windows(self) -> list[UsageWindow]:
        """The windows between consecutive readings."""
        return [UsageWindow(*pair) for pair in zip(self.readings, self.readings[1:], strict=False)]


def take_reading(rows: int) -> UsageReading:
    """Read the usage of this process and its descendants, except those that end meanwhile."""
    this_process = psutil.Process()
    cpu = memory = 0.0
    for process in [this_process, *this_process.children(recursive=True)]:
        try:
            times = process.cpu_times()
            memory += resident_gb(process.pid)
            cpu += times.user + times.system
        except (psutil.Error, OSError):
            continue
    return UsageReading(rows, time.monotonic(), cpu, memory, resident_gb(this_process.pid))


def resident_gb(pid: int) -> float:
    """Return the memory of a process in GB, with its proportional part of shared memory."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    match = re.search(r"^Pss:\s+(\d+) kB", text, flags=re.MULTILINE)
    return int(match[1]) * 1024 / 1e9 if match else 0.0
