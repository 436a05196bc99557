"""SIGTERM and Ctrl-C: one line, and the end at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGTERM, signal.SIGINT)
STOPPED = b"stopped; what is there is whole, the same command goes on\n"


@contextmanager
def ends_at_once() -> Iterator[None]:
    """For the time of the block SIGTERM and Ctrl-C say one line and exit with 143 and 130.

    Every file is there whole or not at all, so nothing has to be tidied up, and a local Ray ends
    with the process that started it. A thread takes the signals, as the main one may be in native
    code for minutes, and `ray job stop` kills after three seconds.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may ask for signals
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    terminal = os.dup(2)  # which is led elsewhere while Ray starts
    # They do nothing: it is Python's own handler that writes the signal's number to the pipe.
    kept = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
    kept_pipe = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_wait, args=(reading, terminal), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(kept_pipe)
        for number, handler in kept.items():
            signal.signal(number, handler)
        os.close(writing)  # which ends the thread


def _wait(reading: int, terminal: int) -> None:
    """Until one of our signals is told, or the pipe is closed."""
    while told := os.read(reading, 1):
        if told[0] in SIGNALS:
            # The terminal's ^C, and its cursor, which a bar hides.
            after = b"\n\x1b[?25h" if os.isatty(terminal) else b""
            os.write(terminal, after + STOPPED)  # past Python's buffers, which may be held
            os._exit(128 + told[0])
    os.close(reading)
    os.close(terminal)
