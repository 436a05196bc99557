"""The memory of the networks that an extraction loads: the bytes of their weights, and no more.

A generator or an extractor says it in its attribute `weight_bytes`. Without one, the networks of
torch that it is, or that are its own attributes, are summed. A generator that wraps another one
holds it as `inner`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from raymetrics.distributed.resources import ModelSizes
from raymetrics.extractors import Extractor
from raymetrics.extractors.user_function import UserFunctionExtractor
from raymetrics.generators import Generator
from raymetrics.generators.user_function import UserFunctionGenerator


def measure_model_sizes(generator: Generator, extractors: Sequence[Extractor]) -> ModelSizes:
    """Return the bytes of a generator's weights, and those of all extractors together."""
    extractor_sizes = [weight_bytes(extractor) for extractor in extractors]
    return ModelSizes(
        weight_bytes(generator),
        None if None in extractor_sizes else sum(size or 0 for size in extractor_sizes),
    )


def largest_sizes(sizes: Sequence[ModelSizes]) -> ModelSizes:
    """Return the sizes of a stream of several sets: a worker holds one generator at a time, and
    the same extractors. A generator of unknown size may be the largest, so the result is unknown.
    """
    generator_sizes = [size.generator for size in sizes]
    return ModelSizes(
        None if None in generator_sizes else max(m or 0 for m in generator_sizes),
        sizes[0].extractors,
    )


def weight_bytes(model: object) -> int | None:
    """Return the bytes of a generator's or extractor's weights; 0 for a data set. None for code of
    the user that does not say it and has no network: it may hold weights anywhere."""
    if isinstance(model, UserFunctionGenerator | UserFunctionExtractor):
        return weight_bytes(model.user_object) or None
    stated = getattr(model, "weight_bytes", None)
    if isinstance(stated, int):
        return stated
    if hasattr(model, "inner"):
        return weight_bytes(model.inner)
    return _network_bytes([model, *getattr(model, "__dict__", {}).values()])


def _network_bytes(values: Iterable[object]) -> int:
    """Sum the bytes of the parameters and buffers of the networks among some values, each once."""
    networks = [value for value in values if isinstance(value, nn.Module)]
    tensors: dict[int, Tensor] = {
        id(tensor): tensor
        for network in networks
        for tensor in (*network.parameters(), *network.buffers())
    }
    return sum(tensor.nbytes for tensor in tensors.values())
