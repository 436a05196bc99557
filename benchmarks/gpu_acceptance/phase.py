"""A phase of the acceptance run, and what it writes down: checks, figures, and what is left out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch

PASSED, FAILED, STOPPED, NOT_RUN = "passed", "failed", "stopped", "not run"
NOT_ON_CPU = "not on a CPU"
CRASH = "the phase ends without an error"

BENCHMARKS = Path(__file__).parents[1]
ROOT = BENCHMARKS.parent
SOURCES = (ROOT, BENCHMARKS)  # where these modules and `tests` are found

_Size = TypeVar("_Size")


@dataclass(frozen=True)
class Check:
    """Something that must hold. detail: what was found."""

    name: str
    passed: bool
    detail: str = ""


@dataclass(frozen=True)
class Figure:
    """A measured number.

    share: of the ceiling with this name, which the machine phase measured; None without one.
    target: what is hoped for on an H200; met: whether it was reached. A missed target is told, and
    is no failed check.
    """

    name: str
    value: float
    unit: str
    share: float | None = None
    ceiling: str = ""
    target: str = ""
    met: bool | None = None


@dataclass(frozen=True)
class LeftOut:
    """What was neither checked nor measured, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Ceiling:
    """The most that this machine reaches: operations, or for `copy` bytes, a second."""

    name: str
    value: float


Entry = Check | Figure | LeftOut | Ceiling


@dataclass
class PhaseResult:
    """What is known of a phase. limit: the seconds that it was allowed; seconds: that it took."""

    name: str
    limit: float
    status: str = NOT_RUN
    seconds: float = 0.0
    checks: list[Check] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    def add(self, entry: Check | Figure | LeftOut) -> None:
        """Add an entry to the list of its kind."""
        if isinstance(entry, Check):
            self.checks.append(entry)
        elif isinstance(entry, Figure):
            self.figures.append(entry)
        else:
            self.left_out.append(entry)

    @property
    def has_failed(self) -> bool:
        """Whether a check failed."""
        return any(not check.passed for check in self.checks)


@dataclass(frozen=True)
class PhaseRun:
    """What a phase is given, and where it writes down.

    tiny: sizes for a CPU in place of those for a GPU. folder: for files, removed after the run.
    ceilings: by name, if the machine phase has run. deadline: a time of `time.monotonic`.
    send: takes every entry at once, so that a phase that is stopped loses none.
    """

    device: torch.device
    tiny: bool
    folder: Path
    ceilings: Mapping[str, float]
    deadline: float
    send: Callable[[Entry], None]

    def environment(self, **variables: str) -> dict[str, str]:
        """Return the environment of a process that imports these modules, with more variables.

        It sees no GPU if the device is a CPU.
        """
        hidden = {} if self.on_gpu else {"CUDA_VISIBLE_DEVICES": ""}
        path = os.pathsep.join(map(str, SOURCES))
        return {**os.environ, **hidden, "PYTHONPATH": path, **variables}

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == "cuda"

    def size(self, full: _Size, tiny: _Size) -> _Size:
        """Return the size for this run."""
        return tiny if self.tiny else full

    @property
    def seconds_left(self) -> float:
        """The seconds until the phase is stopped."""
        return self.deadline - time.monotonic()

    def has_seconds(self, seconds: float, name: str) -> bool:
        """Return whether so many seconds are left; if not, write down what is left out."""
        enough = self.seconds_left >= seconds
        if not enough:
            self.leave_out(name, f"{self.seconds_left:.0f} s are left, it takes {seconds:.0f}")
        return enough

    def check(self, name: str, passed: bool, detail: str = "") -> None:
        """Write down whether something holds."""
        self.send(Check(name, bool(passed), detail))

    def check_below(self, name: str, value: float, limit: float) -> None:
        """Write down whether a value is at most a limit; NaN is not."""
        self.check(name, value <= limit, f"{value:.2g}, at most {limit:.2g}")

    def leave_out(self, name: str, reason: str) -> None:
        """Write down what is neither checked nor measured."""
        self.send(LeftOut(name, reason))

    def needs_gpu(self, name: str, why: str = "") -> bool:
        """Return whether the device is a GPU; if not, write down that `name` is left out."""
        if not self.on_gpu:
            self.leave_out(name, f"{NOT_ON_CPU}: {why}" if why else NOT_ON_CPU)
        return self.on_gpu

    def ceiling(self, name: str, value: float) -> None:
        """Write down the most that this machine reaches."""
        self.send(Ceiling(name, value))

    def figure(
        self,
        name: str,
        value: float,
        unit: str,
        *,
        ceiling: str = "",
        work: float = 1.0,
        at_least: float | None = None,
        at_most: float | None = None,
        least_share: float | None = None,
    ) -> None:
        """Write down a measured number, and compare it with the ceiling and the target.

        work: operations (for `copy` bytes) in one unit of the value. at_least, at_most,
        least_share: the target, on a GPU.
        """
        top = self.ceilings.get(ceiling)
        share = None if top is None else value * work / top
        target, met = "", None
        if at_least is not None:
            target, met = f">= {at_least:g} {unit}".rstrip(), value >= at_least
        elif at_most is not None:
            target, met = f"<= {at_most:g} {unit}".rstrip(), value <= at_most
        elif least_share is not None and share is not None:
            target, met = f">= {least_share:.0%} of {ceiling}", share >= least_share
        if self.tiny:
            target, met = "", None
        name_of_ceiling = "" if share is None else ceiling
        self.send(Figure(name, float(value), unit, share, name_of_ceiling, target, met))


@dataclass(frozen=True)
class Phase:
    """A part of the acceptance run. seconds: its time on a GPU. function: does it."""

    name: str
    seconds: float
    function: Callable[[PhaseRun], None]
