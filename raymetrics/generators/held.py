"""The network that was loaded last, for sources that differ in their options alone.

A worker of a sweep makes the samples of one source after another, such as one network at ten
strengths of truncation: it holds one generator at a time, and loads its weights once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Network = TypeVar("Network")

_last_network: dict[Hashable, Any] = {}  # of one network at most


def load_once(key: Hashable, load: Callable[[], Network]) -> Network:
    """What `load` gives; what it gave before, if the key is that of the last time.

    key: all that the network depends on, its device too. Nobody may change the network.
    """
    if key not in _last_network:
        _last_network.clear()  # before the next one is loaded, as both may not fit
        _last_network[key] = load()
    network: Network = _last_network[key]
    return network
