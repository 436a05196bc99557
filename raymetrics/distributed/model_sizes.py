"""How large the networks are that a stream loads: what their weights take, and no more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from types import FunctionType, ModuleType

from torch import Tensor, nn

from raymetrics.distributed.resources import Sizes
from raymetrics.extractors import Extractor
from raymetrics.extractors.user_function import Function as OwnExtractor
from raymetrics.generators import Generator
from raymetrics.generators.user_function import Function as OwnGenerator

DEPTH = 5  # a truncated latent generator of the user's: its inner, its callable, a list, a network
MANY = 64  # longer lists are names of files, and not networks


def sizes_of(generator: Generator, extractors: Sequence[Extractor]) -> Sizes:
    """The weights of a generator, and of all extractors together."""
    used = [weights_of(extractor) for extractor in extractors]
    return Sizes(weights_of(generator), None if None in used else sum(size or 0 for size in used))


def largest(sizes: Sequence[Sizes]) -> Sizes:
    """Of a stream of several sets: a worker holds one generator at a time, and the same extractors.

    One that is not known may be the largest.
    """
    made = [size.generator for size in sizes]
    return Sizes(None if None in made else max(m or 0 for m in made), sizes[0].extractors)


def weights_of(holder: object) -> int | None:
    """The bytes of all tensors that an object holds; 0 of a data set. None for a callable of the
    user's in which none are found: it may have them anywhere."""
    seen: dict[int, int] = {}
    own = False
    for thing in within(holder):
        own = own or isinstance(thing, OwnGenerator | OwnExtractor)
        for tensor in tensors_of(thing):
            seen[tensor.data_ptr()] = max(tensor.nbytes, seen.get(tensor.data_ptr(), 0))
    return None if own and not seen else sum(seen.values())


def within(holder: object) -> Iterator[object]:
    """The object, and what its attributes hold, and theirs; each once. Not within networks."""
    level, seen = [holder], {id(holder)}
    for _ in range(DEPTH + 1):
        yield from level
        found = {id(part): part for thing in level for part in parts_of(thing)}
        level = [part for key, part in found.items() if key not in seen]
        seen |= found.keys()


def parts_of(thing: object) -> Iterable[object]:
    """What an object holds directly."""
    if isinstance(thing, dict):
        return list(thing.values())[:MANY]
    if isinstance(thing, list | tuple):
        return thing[:MANY]
    if isinstance(thing, nn.Module | Tensor | type | ModuleType | FunctionType):
        return ()
    return list(getattr(thing, "__dict__", {}).values())


def tensors_of(thing: object) -> Iterator[Tensor]:
    """The parameters and buffers of a network; a tensor itself."""
    if isinstance(thing, nn.Module):
        yield from thing.parameters()
        yield from thing.buffers()
    elif isinstance(thing, Tensor):
        yield thing
