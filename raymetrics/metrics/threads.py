"""Run a function of many parts of one formula on all cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from threadpoolctl import ThreadpoolController

_Part = TypeVar("_Part")
_Result = TypeVar("_Result")


def map_on_cores(function: Callable[[_Part], _Result], parts: Sequence[_Part]) -> list[_Result]:
    """Return `function(part)` of every part, in their order, computed on all cores.

    Each product has one thread, so that its bits are the same for any number of cores.
    """
    with _blas_controller().limit(limits=1, user_api="blas"):
        if len(parts) < 2:
            return [function(part) for part in parts]
        with ThreadPoolExecutor(_count_cores()) as threads:
            return list(threads.map(function, parts))


def _count_cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _blas_controller() -> ThreadpoolController:
    """Return what sets the threads of numpy's products; to find it takes milliseconds."""
    return ThreadpoolController()
