"""Run phases one after another, each in a process of its own that is ended at its limit."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from gpu_acceptance.phase import (
    CRASH,
    FAILED,
    PASSED,
    STOPPED,
    Ceiling,
    Check,
    Entry,
    Phase,
    PhaseResult,
    PhaseRun,
)

# Started by fork, a phase need not import torch again; this process must not use the GPU itself.
_PROCESSES = multiprocessing.get_context("fork")


def run_phases(
    phases: Sequence[Phase],
    *,
    device: torch.device,
    tiny: bool,
    folder: Path,
    seconds: float,
    begin: Callable[[PhaseResult], None] = lambda result: None,
) -> Iterator[list[PhaseResult]]:
    """Run the phases within so many seconds; yield the results of all of them after each.

    A phase may take its own time, and what earlier ones have left over. A phase for which no time
    is left keeps the status "not run". begin: called before each phase that is run.
    """
    end = time.monotonic() + seconds
    results = [PhaseResult(phase.name, phase.seconds) for phase in phases]
    ceilings: dict[str, float] = {}
    for position, (phase, result) in enumerate(zip(phases, results, strict=True)):
        left = end - time.monotonic()
        if left > 0:
            spare = left - sum(later.seconds for later in phases[position:])
            result.limit = min(left, phase.seconds + max(0.0, spare))
            begin(result)
            run = PhaseRun(device, tiny, folder, dict(ceilings), 0.0, lambda entry: None)
            _run_phase(phase, run, result, ceilings)
        yield results


def _run_phase(
    phase: Phase, run: PhaseRun, result: PhaseResult, ceilings: dict[str, float]
) -> None:
    """Run a phase in another process, and collect its entries until it ends or its time is over."""
    receiver, sender = _PROCESSES.Pipe(duplex=False)
    start = time.monotonic()
    deadline = start + result.limit
    process = _PROCESSES.Process(target=_work, args=(phase, run, deadline, sender))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads that do not compute now
        process.start()
    sender.close()
    in_time = _collect(receiver, deadline, result, ceilings)
    process.join(max(0.0, deadline - time.monotonic()))
    in_time = in_time and not process.is_alive()
    _kill_group(process)
    if in_time and process.exitcode:
        result.add(Check(CRASH, False, f"its process ended with {process.exitcode}"))
    result.seconds = time.monotonic() - start
    result.status = PASSED if in_time else STOPPED
    if result.has_failed:
        result.status = FAILED


def _collect(
    receiver: Connection, deadline: float, result: PhaseResult, ceilings: dict[str, float]
) -> bool:
    """Receive entries; return whether the phase has ended before the deadline."""
    while receiver.poll(max(0.0, deadline - time.monotonic())):
        try:
            entry: Entry = receiver.recv()
        except EOFError:
            return True
        if isinstance(entry, Ceiling):
            ceilings[entry.name] = entry.value
        else:
            result.add(entry)
    return False


def _work(phase: Phase, run: PhaseRun, deadline: float, sender: Connection) -> None:
    """Do a phase; an exception is a failed check, with its traceback on the terminal."""
    os.setsid()  # so that what the phase starts ends with it
    os.environ.update(run.environment())
    if not run.on_gpu:
        torch.set_num_threads(1)
        threadpool_limits(1)
    run = PhaseRun(run.device, run.tiny, run.folder, run.ceilings, deadline, sender.send)
    try:
        phase.function(run)
    except Exception as error:
        traceback.print_exc()
        lines = str(error).splitlines() or [""]
        run.check(CRASH, False, f"{type(error).__name__}: {lines[0]}")
    sender.close()


def _kill_group(process: ForkProcess) -> None:
    """Kill a phase, if it has not ended, and all that it started."""
    assert process.pid is not None
    with suppress(ProcessLookupError):  # nothing is left
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()
