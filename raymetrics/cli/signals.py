"""End a command at once on SIGTERM and Ctrl-C, with one line."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_STOPPED_MESSAGE = b"stopped; what is there is whole, the same command goes on\n"


@contextmanager
def exit_on_signal() -> Iterator[None]:
    """Exit within the block on SIGTERM with 143 and on Ctrl-C with 130, after one line on stderr.

    Every file is there whole or not at all, so nothing has to be cleaned up, and a local Ray ends
    with the process that started it. A thread takes the signals, because the main thread may be in
    native code for minutes, and `ray job stop` kills after three seconds.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    terminal = os.dup(2)  # stderr is redirected while Ray starts
    # These handlers do nothing: Python's own handler writes the signal's number to the pipe.
    old_handlers = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
    old_wakeup_fd = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    threading.Thread(target=_exit_at_signal, args=(read_end, terminal), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(old_wakeup_fd)
        for number, handler in old_handlers.items():
            signal.signal(number, handler)
        os.close(write_end)  # which ends the thread


def _exit_at_signal(read_end: int, terminal: int) -> None:
    """Wait until a signal of ours comes through the pipe and exit, or until the pipe is closed."""
    while signal_byte := os.read(read_end, 1):
        if signal_byte[0] in _SIGNALS:
            # A new line after the terminal's ^C, and its cursor, which a bar hides.
            terminal_reset = b"\n\x1b[?25h" if os.isatty(terminal) else b""
            # Not by Python's buffers, which another thread may have locked.
            os.write(terminal, terminal_reset + _STOPPED_MESSAGE)
            os._exit(128 + signal_byte[0])
    os.close(read_end)
    os.close(terminal)
