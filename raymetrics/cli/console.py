"""How far a stream is: a bar on a terminal, lines elsewhere, as in the log of a job."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from raymetrics.cli.terminal import print_lines

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from raymetrics.distributed.extraction.progress import Progress

QUIET_SECONDS = 30  # between two lines of a log

shown: list[Bar] = []  # bars on the terminal


def progress_printer() -> Callable[[Progress], None]:
    """What tells the progress of one stream on stderr."""
    return on_terminal() if sys.stderr.isatty() else in_lines()


def cleared() -> None:
    """Leaves the terminal as it was, with what the bars showed last."""
    while shown:
        shown.pop().stop()


def say(line: str) -> None:
    """A line of news, below the bars."""
    cleared()
    print_lines(line, err=True)


def in_lines() -> Callable[[Progress], None]:
    """A line after the first shard, after the last, and between them at times."""
    last = 0.0

    def tell(progress: Progress) -> None:
        nonlocal last
        finished = progress.rows == progress.rows_to_make
        if time.monotonic() - last < QUIET_SECONDS and not finished:
            return
        last = time.monotonic()
        print_lines(f"{progress.rows}/{progress.rows_to_make} samples, {rest(progress)}", err=True)

    return tell


def on_terminal() -> Callable[[Progress], None]:
    """One line that changes."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        BarColumn(30), MofNCompleteColumn(), TextColumn("{task.description}"),
        console=Console(stderr=True), redirect_stdout=False, redirect_stderr=False,
    )  # fmt: skip
    task = bar.add_task("samples; workers start", total=None)
    bar.start()
    shown.append(bar)

    def tell(progress: Progress) -> None:
        total, done = progress.rows_to_make, progress.rows
        bar.update(task, total=total, completed=done, description=f"samples, {rest(progress)}")
        if done == total:
            cleared()

    return tell


def rest(progress: Progress) -> str:
    """ "100 were there, 12.3 rows/s, 1:15 to go"."""
    present = f"{progress.rows_present} were there, " if progress.rows_present else ""
    return f"{present}{progress.rate:.1f} rows/s, {duration(progress.seconds_to_go)} to go"


def duration(seconds: float) -> str:
    """75 -> "1:15"; hours where there are any."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"
