"""How far a stream is: lines in a log, a bar on a terminal."""

from __future__ import annotations

import io
import sys

import pytest

from raymetrics.cli import console
from raymetrics.cli.console import progress_printer, stop_progress_bars
from raymetrics.distributed.extraction.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_of_a_log_are_few(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 1000.0
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    tell = progress_printer()
    for rows in range(10, 101, 10):
        tell(Progress(rows, 100, 7, 2.0))
        now += 10
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"{rows}/100 samples, 7 were there, 2.0 rows/s, 0:{(100 - rows) // 2:02} to go"
        for rows in (10, 40, 70, 100)
    ]


def test_a_bar_on_a_terminal_gives_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    tell = progress_printer()
    assert len(console.active_bars) == 1
    tell(Progress(50, 100, 0, 2.0))
    tell(Progress(100, 100, 0, 2.0))
    assert not console.active_bars
    text = terminal.getvalue()
    assert "100/100" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")  # the cursor is back
    # An error leaves it as it was, too.
    progress_printer()
    stop_progress_bars()
    text = terminal.getvalue()
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
