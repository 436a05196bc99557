"""The CPU time of a call."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def time_call(run: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Return the CPU seconds of this process for a call, and the value of the call."""
    start = time.process_time()
    value = run(*arguments)
    return time.process_time() - start, value
