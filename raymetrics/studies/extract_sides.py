"""The sides of an evaluation that are sources: extracted in one stream, or found in the cache."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from raymetrics import sample_ranges
from raymetrics.errors import (
    NotEnoughData,
    RaymetricsError,
    SampleRangeError,
    SourceError,
    SpecMismatch,
)
from raymetrics.metrics import Protocol
from raymetrics.permissions import Permission
from raymetrics.sample_ranges import Ids
from raymetrics.shards.comparability import size_text
from raymetrics.shards.foreign import ReferenceStatistics
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.set_cache import cache_folder, set_place
from raymetrics.shards.view import View
from raymetrics.studies.protocol_images import require_images, require_images_of_view

if TYPE_CHECKING:
    from raymetrics.distributed.extraction.progress import Progress
    from raymetrics.distributed.resources import Resources
    from raymetrics.generators import Generator

log = logging.getLogger(__name__)

DEFAULT_EXTRACTOR = "inception"

OpenSide = View | ReferenceStatistics


@dataclass(frozen=True)
class SourceSide:
    """A side that must be extracted: a source, and which samples of it.

    ids: None for all samples of a data set, or as many as the other side has of a generator.
    """

    source: str
    ids: Ids | None = None
    images: object = None  # in memory, which are held as long as the side is


@dataclass(frozen=True)
class SideExtraction:
    """How sides are extracted.

    extractors: texts; by default those of the other side, the protocol's, or inception. keep: the
    folder of the sets; by default the cache. check: called before anything is extracted, with what
    the sets are made of and with the number of samples of each side; it may raise. at_random:
    whether the samples of a protocol are chosen at random later. any_size: whether images of both
    sides may have different sizes.
    """

    extractors: Sequence[str] | None
    protocol: Protocol | None
    keep: str | None
    resources: Resources | None
    progress: Callable[[Progress], None] | None
    check: Callable[[DatasetSpec, Mapping[str, int]], None]
    permission: Permission
    at_random: bool = False
    any_size: bool = False


def extract_sides(
    sides: Mapping[str, OpenSide | SourceSide], request: SideExtraction
) -> dict[str, OpenSide]:
    """Return the sides as views of shard sets, or as statistics; extract those that are sources.

    Both are extracted in one stream. What is in the cache is not made again. Raises what
    `raymetrics.distributed.extraction.extract.extract` raises.
    """
    from raymetrics.distributed.extraction.extract import ExtractRequest, extract_many

    sources = {side: value for side, value in sides.items() if isinstance(value, SourceSide)}
    extractors = request.extractors or _default_extractors(sides, request)
    ids = _resolve_ids(sides, sources, request)
    counts = {side: _count(value) for side, value in sides.items()}
    counts |= {side: sample_ranges.count_ids(chosen) for side, chosen in ids.items()}
    folder = request.keep or str(cache_folder())
    ids_by_source: dict[str, list[range]] = {}  # both sides may be of one source
    for side, value in sources.items():
        ids_by_source.setdefault(value.source, []).extend(ids[side])
    extractions = extract_many(
        [
            ExtractRequest(set_place(folder, source), source, sample_ranges.union(parts))
            for source, parts in ids_by_source.items()
        ],
        extractors,
        resources=request.resources,
        progress=request.progress,
        check=lambda spec: request.check(spec, counts),
    )
    opened = {side: value for side, value in sides.items() if not isinstance(value, SourceSide)}
    shards = {s: e.shards for s, e in zip(ids_by_source, extractions, strict=True)}
    for side, value in sources.items():
        lacking = [range(k, k + 1) for k in shards[value.source].left_out]
        samples = sample_ranges.subtract(ids[side], lacking)
        opened[side] = View(shards[value.source], tuple(samples))
    return {side: opened[side] for side in sides}


def _count(value: OpenSide | SourceSide) -> int:
    """Count the samples of a side that is open; 0 for another one and for an unknown number."""
    if isinstance(value, View):
        return len(value)
    return (value.count or 0) if isinstance(value, ReferenceStatistics) else 0


def _default_extractors(
    sides: Mapping[str, OpenSide | SourceSide], request: SideExtraction
) -> Sequence[str]:
    """Return the extractors of the side that is a shard set, those of the protocol, or inception.

    ProgramRefused if the set names a program, and the user has not allowed to run it.
    """
    for value in sides.values():
        if isinstance(value, View):
            texts = value.shards.spec.extractor_texts
            for text in texts:
                request.permission.require_extractor(text, value.shards.uri)
            return texts
    return default_extractors(request.protocol)


def default_extractors(protocol: Protocol | None) -> list[str]:
    """Return the extractors of sources without shards on the other side.

    RaymetricsError for a protocol of features that no extractor of images gives.
    """
    if protocol is None:
        return [DEFAULT_EXTRACTOR]
    if not protocol.extractor:
        raise RaymetricsError(
            f"{protocol.name} takes {protocol.features}, not images; compute these elsewhere and "
            "give them as 'features.npz?space=NAME', or name the network: --extractor"
        )
    return list(protocol.spaces) or [protocol.extractor]


def _resolve_ids(
    sides: Mapping[str, OpenSide | SourceSide],
    sources: Mapping[str, SourceSide],
    request: SideExtraction,
) -> dict[str, Ids]:
    """Return the ids to extract of each source. SampleRangeError where they cannot be known.

    SpecMismatch if the images of both sides are known to have different sizes.
    """
    import torch

    from raymetrics.distributed.extraction.dataset_request import requested_ids
    from raymetrics.generators import open_source

    protocol, at_random = request.protocol, request.at_random
    resolved: dict[str, Ids] = {}
    for side, opened in sides.items():
        if isinstance(opened, View):
            require_images_of_view(protocol, side, opened)
    sizes = {s: v.shards.spec.image_size for s, v in sides.items() if isinstance(v, View)}
    for side, value in sources.items():  # the real side comes first
        try:
            generator = open_source(value.source, torch.device("cpu"))
        except SourceError as error:
            raise _with_other_kinds(error) from None
        wanted: Ids | range | None = value.ids
        if wanted is None and protocol is not None:
            wanted = _first_of_protocol(protocol, side, generator.length, at_random)
            if wanted is None and at_random and protocol.seed is not None:
                log.info(
                    "%s chooses among all %s %s samples, so that all are extracted and kept",
                    protocol.name,
                    generator.length,
                    side,
                )
        if wanted is None and generator.length is None:
            opposite = next(name for name in sides if name != side)
            count = (
                sample_ranges.count_ids(resolved[opposite])
                if opposite in resolved
                else _count(sides[opposite])
            )
            if not count:
                raise SampleRangeError(
                    f"{value.source} never ends, so say which samples: --samples 0-49999"
                )
            wanted = range(count)
        resolved[side] = requested_ids(generator, wanted)
        sizes[side] = _first_image_size(generator, resolved[side][0].start)
        decode_options = getattr(generator, "decode_options", None)
        decoding = None if decode_options is None else decode_options.spec
        require_images(protocol, side, value.source, decoding, sizes[side])
    if not request.any_size:
        _require_same_size(sizes, {side: value.source for side, value in sources.items()})
    return resolved


def _first_image_size(generator: Generator, sample_id: int) -> tuple[int, int] | None:
    """Return height and width of a sample's image; None where generating one may take long."""
    if not getattr(generator, "thread_safe", False):  # code of the user, and large networks
        return None
    height, width = generator(np.array([sample_id])).shape[2:]
    return height, width


def _require_same_size(
    sizes: Mapping[str, tuple[int, int] | None], names: Mapping[str, str]
) -> None:
    """Raise SpecMismatch if both sides have images of known sizes that differ."""
    known = {side: size for side, size in sizes.items() if size is not None}
    if len({*known.values()}) > 1:
        texts = [
            f"{side} images {f'of {names[side]} ' if side in names else ''}are {size_text(size)}"
            for side, size in known.items()
        ]
        raise SpecMismatch(
            f"{' pixels, '.join(texts)}, which moves every number; give one side the size of the "
            "other, as in 'photos?size=256', or ask for it: --any-size (any_size=True)"
        )


def _with_other_kinds(error: SourceError) -> SourceError:
    """Return the error for a name that is nothing, with what else a side may be."""
    if not error.message.startswith("no source"):
        return error
    return SourceError(f"{error.message}; or a shard set, or statistics as .npz, .pkl or .pt")


def _first_of_protocol(
    protocol: Protocol, side: str, length: int | None, at_random: bool
) -> range | None:
    """Return the first ids that a protocol takes of a side; None for all of a data set.

    at_random: whether the samples are chosen later, among all of a data set.

    A validation set is taken whole. NotEnoughData if a data set has fewer.
    """
    count = {"real": protocol.real, "generated": protocol.generated}.get(side)
    if side == "real" and count is None and protocol.real_at_most is not None:
        count = protocol.real_at_most if length is None else min(length, protocol.real_at_most)
    if count is not None and length is not None and length < count:
        raise NotEnoughData(
            f"{protocol.name} takes {count} {side} samples, there are {length}; evaluate without "
            "a protocol"
        )
    return None if count is None or (at_random and length) else range(count)
