"""Choose the block and the layout with which a GPU runs an extractor fastest, by timing.

The choice is made once, when a set is begun, and recorded: later it would change bits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from raymetrics.extractors.base import NetworkExtractor
from raymetrics.extractors.numerics import LAYOUTS, Numerics, default_numerics

_BLOCKS = (64, 128, 256)
_CLOSE = 1.05  # a larger block must save more than this: it needs more memory, and fills up later
_TIMED_CALLS = 5

Timer = Callable[[NetworkExtractor, Tensor], float]


def time_call(extractor: NetworkExtractor, images: Tensor) -> float:
    """Return the seconds of a call with images uint8 [n, 3, h, w] that are on the GPU already.

    The first call is not timed, as it loads and records what later calls use.
    """
    images = images.to(extractor.device)
    extractor.tensors(images)
    torch.cuda.synchronize(extractor.device)
    start = time.perf_counter()
    for _ in range(_TIMED_CALLS):
        extractor.tensors(images)
    torch.cuda.synchronize(extractor.device)
    return (time.perf_counter() - start) / _TIMED_CALLS


def tune_numerics(
    extractor: NetworkExtractor,
    images_shape: tuple[int, int, int] = (3, 256, 256),
    timer: Timer = time_call,
) -> Numerics:
    """Return the fastest block and layout for images uint8 [n, *images_shape] on a GPU.

    Of blocks whose times for an image are within 5 % of the best one, the smallest is taken.
    Candidates that need more memory than there is are left out. On a CPU, and if no candidate is
    left, the default numerics are returned without timing.
    """
    default = default_numerics(extractor.device, extractor.precision)
    if extractor.device.type != "cuda":
        return default
    seconds = dict(_time_candidates(extractor, images_shape, timer))
    longest = _CLOSE * min(seconds.values(), default=0.0)
    close = [numerics for numerics in seconds if seconds[numerics] <= longest]
    return min(close, key=lambda n: (n.block, seconds[n]), default=default)


def _time_candidates(
    extractor: NetworkExtractor, images_shape: tuple[int, int, int], timer: Timer
) -> Iterator[tuple[Numerics, float]]:
    """Yield each candidate for which the memory suffices, with its seconds for an image."""
    for layout in LAYOUTS:
        in_layout = extractor.with_numerics(Numerics(_BLOCKS[0], layout))
        for block in _BLOCKS:
            numerics = Numerics(block, layout)
            try:
                images = _noise((block, *images_shape))
                yield numerics, timer(in_layout.with_numerics(numerics), images) / block
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()


def _noise(shape: tuple[int, ...]) -> Tensor:
    """Return the same noise every time, uint8: of one color, images take less power and time."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
