"""How large the networks are that a stream loads: what their weights take, and no more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from types import FunctionType, ModuleType

from torch import Tensor, nn

from raymetrics.distributed.resources import ModelSizes
from raymetrics.extractors import Extractor
from raymetrics.extractors.user_function import UserFunctionExtractor as OwnExtractor
from raymetrics.generators import Generator
from raymetrics.generators.user_function import UserFunctionGenerator as OwnGenerator

_MAX_DEPTH = (
    5  # a truncated latent generator of the user's: its inner, its callable, a list, a network
)
_MAX_ITEMS = 64  # longer lists are names of files, and not networks


def measure_model_sizes(generator: Generator, extractors: Sequence[Extractor]) -> ModelSizes:
    """The weights of a generator, and of all extractors together."""
    extractor_sizes = [weight_bytes(extractor) for extractor in extractors]
    return ModelSizes(
        weight_bytes(generator),
        None if None in extractor_sizes else sum(size or 0 for size in extractor_sizes),
    )


def largest_sizes(sizes: Sequence[ModelSizes]) -> ModelSizes:
    """Of a stream of several sets: a worker holds one generator at a time, and the same extractors.

    One that is not known may be the largest.
    """
    generator_sizes = [size.generator for size in sizes]
    return ModelSizes(
        None if None in generator_sizes else max(m or 0 for m in generator_sizes),
        sizes[0].extractors,
    )


def weight_bytes(root: object) -> int | None:
    """The bytes of all tensors that an object holds; 0 of a data set. None for a callable of the
    user's in which none are found: it may have them anywhere."""
    seen: dict[int, int] = {}
    has_user_code = False
    for thing in _walk_attributes(root):
        has_user_code = has_user_code or isinstance(thing, OwnGenerator | OwnExtractor)
        for tensor in _iterate_tensors(thing):
            seen[tensor.data_ptr()] = max(tensor.nbytes, seen.get(tensor.data_ptr(), 0))
    return None if has_user_code and not seen else sum(seen.values())


def _walk_attributes(root: object) -> Iterator[object]:
    """The object, and what its attributes hold, and theirs; each once. Not within networks."""
    level, seen = [root], {id(root)}
    for _ in range(_MAX_DEPTH + 1):
        yield from level
        children = {id(child): child for thing in level for child in _direct_children(thing)}
        level = [child for key, child in children.items() if key not in seen]
        seen |= children.keys()


def _direct_children(thing: object) -> Iterable[object]:
    """What an object holds directly."""
    if isinstance(thing, dict):
        return list(thing.values())[:_MAX_ITEMS]
    if isinstance(thing, list | tuple):
        return thing[:_MAX_ITEMS]
    if isinstance(thing, nn.Module | Tensor | type | ModuleType | FunctionType):
        return ()
    return list(getattr(thing, "__dict__", {}).values())


def _iterate_tensors(thing: object) -> Iterator[Tensor]:
    """The parameters and buffers of a network; a tensor itself."""
    if isinstance(thing, nn.Module):
        yield from thing.parameters()
        yield from thing.buffers()
    elif isinstance(thing, Tensor):
        yield thing
