"""SIGTERM and Ctrl-C: one line, and the end at once."""

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
    """For the time of the block SIGTERM and Ctrl-C say one line and exit with 143 and 130.

    Every file is there whole or not at all, so nothing has to be tidied up, and a local Ray ends
    with the process that started it. A thread takes the signals, as the main one may be in native
    code for minutes, and `ray job stop` kills after three seconds.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may ask for signals
        return
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    terminal = os.dup(2)  # which is led elsewhere while Ray starts
    # They do nothing: it is Python's own handler that writes the signal's number to the pipe.
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
    """Until one of our signals is told, or the pipe is closed."""
    while signal_byte := os.read(read_end, 1):
        if signal_byte[0] in _SIGNALS:
            # The terminal's ^C, and its cursor, which a bar hides.
            terminal_reset = b"\n\x1b[?25h" if os.isatty(terminal) else b""
            os.write(
                terminal, terminal_reset + _STOPPED_MESSAGE
            )  # past Python's buffers, which may be held
            os._exit(128 + signal_byte[0])
    os.close(read_end)
    os.close(terminal)
