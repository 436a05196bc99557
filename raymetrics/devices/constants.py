"""Keep small tensors on the device that uses them, instead of a copy from the host in every call.

A copy from ordinary memory also makes the host wait for the GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, ParamSpec, TypeVar, cast

import torch

Arguments = ParamSpec("Arguments")
Tensors = TypeVar("Tensors")

_MAX_CONSTANTS = 64  # of each function
_caches: list[Any] = []


def cache_constants(make: Callable[Arguments, Tensors]) -> Callable[Arguments, Tensors]:
    """Cache the tensors that a function returns for its arguments, one of which is their device.

    The tensors are shared by all callers, who must not change them.
    """

    @wraps(make)
    def make_for_any_mode(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Tensors:
        # Tensors of inference mode could not be used outside of it.
        with torch.inference_mode(False):
            return make(*args, **kwargs)

    cached = lru_cache(maxsize=_MAX_CONSTANTS)(make_for_any_mode)
    _caches.append(cached)
    return cast(Callable[Arguments, Tensors], cached)


def forget_constants() -> None:
    """Drop all cached tensors, and with them their memory on the devices."""
    for cache in _caches:
        cache.cache_clear()
