"""Progress of a stream: a bar on a terminal, lines elsewhere, for example in the log of a job."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from raymetrics.cli.terminal import print_lines

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from raymetrics.distributed.extraction.progress import Progress

QUIET_SECONDS = 30  # at least between two lines of a log

active_bars: list[Bar] = []  # bars on the terminal


def progress_printer() -> Callable[[Progress], None]:
    """Return a printer of the progress of one stream on stderr."""
    return _bar_printer() if sys.stderr.isatty() else _line_printer()


def stop_progress_bars() -> None:
    """Stop all bars; the terminal keeps what they showed last."""
    while active_bars:
        active_bars.pop().stop()


class _StatusHandler(logging.Handler):
    """Prints what the package logs, as lines on stderr below the bars."""

    def emit(self, record: logging.LogRecord) -> None:
        print_status(record.getMessage())


def show_log() -> None:
    """Print what the package logs, from INFO on, for the rest of this process."""
    logger = logging.getLogger("raymetrics")
    if not any(isinstance(handler, _StatusHandler) for handler in logger.handlers):
        logger.addHandler(_StatusHandler())
        logger.setLevel(logging.INFO)


def print_status(line: str) -> None:
    """Print a line on stderr, below the bars."""
    stop_progress_bars()
    print_lines(line, err=True)


def _line_printer() -> Callable[[Progress], None]:
    """Return a printer of a line after the first and the last shard, and between them at times."""
    last_time = 0.0

    def print_progress(progress: Progress) -> None:
        nonlocal last_time
        finished = progress.rows == progress.rows_to_make
        if time.monotonic() - last_time < QUIET_SECONDS and not finished:
            return
        last_time = time.monotonic()
        print_lines(
            f"{progress.rows}/{progress.rows_to_make} samples, {_format_remaining(progress)}",
            err=True,
        )

    return print_progress


def _bar_printer() -> Callable[[Progress], None]:
    """Return a printer that changes one line of the terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        BarColumn(30),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        console=Console(stderr=True),
        redirect_stdout=False,
        redirect_stderr=False,
    )
    task = bar.add_task("samples; workers start", total=None)
    bar.start()
    active_bars.append(bar)

    def update_bar(progress: Progress) -> None:
        total, done = progress.rows_to_make, progress.rows
        bar.update(
            task, total=total, completed=done, description=f"samples, {_format_remaining(progress)}"
        )
        if done == total:
            stop_progress_bars()

    return update_bar


def _format_remaining(progress: Progress) -> str:
    """Write for example "100 were there, 12.3 rows/s, 1:15 to go"."""
    present_text = f"{progress.rows_present} were there, " if progress.rows_present else ""
    return (
        f"{present_text}{progress.rate:.1f} rows/s, {format_duration(progress.seconds_to_go)} to go"
    )


def format_duration(seconds: float) -> str:
    """Write 75 seconds as "1:15"; with hours from 3600 seconds on."""
    minutes, remainder = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{remainder:02}" if hours else f"{minutes}:{remainder:02}"
