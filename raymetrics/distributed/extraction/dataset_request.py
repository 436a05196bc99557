"""The specification of a requested set: source opened, extractors loaded, samples checked."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from raymetrics import sample_ranges
from raymetrics.errors import ExtractorError, RaymetricsError, SampleRangeError, SourceError
from raymetrics.extractors import PUBLISHED_NETWORKS, Extractor, expand_groups, make_extractor
from raymetrics.extractors.base import takes_prompts
from raymetrics.extractors.options import absolute_extractor as absolute_extractor
from raymetrics.extractors.trial import TRIAL_SECONDS
from raymetrics.generators import Generator
from raymetrics.generators.base import find_prompts
from raymetrics.generators.trial import try_out
from raymetrics.shards import schema
from raymetrics.shards.layout import DatasetSpec

_MAX_SHARD_ROWS = 10_000_000  # a shard is in memory as a whole
_MAX_SHARDS = 1_000_000  # a store lists so many names in minutes, and a plan holds them


def make_spec(
    source: str,
    generator: Generator,
    texts: tuple[str, ...],
    networks: Sequence[Extractor],
    samples: range | str | Sequence[range] | None,
    shard_rows: int,
    max_errors: int = 0,
) -> DatasetSpec:
    """Return the specification of the requested set; try out a user's own generator.

    texts, networks: what `load_extractors` returns. The trial: see `raymetrics.generators.trial`;
    where samples may be left out because of errors, the stream meets a generator that raises.
    """
    ids = requested_ids(generator, samples)
    require_few_shards(ids, shard_rows)
    try:
        image_size = try_out(generator, range(ids[0].start, ids[-1].stop))
    except RaymetricsError:
        if not max_errors:
            raise
        image_size = None
    require_one_size = getattr(generator, "require_one_size", None)
    if require_one_size is not None and not max_errors:
        require_one_size(ids)
    first = np.array([ids[0].start])
    has_labels = generator.labels(first) is not None
    has_prompts = find_prompts(generator, first) is not None
    if not has_prompts:
        require_no_prompts_taken(networks, source)
    return replace(
        empty_spec(texts, networks, shard_rows),
        source=source,
        generator=generator.spec,
        labels=has_labels,
        samples=ids,
        label_names=tuple(getattr(generator, "label_names", ())) if has_labels else (),
        image_size=image_size,
        encodings=tuple(getattr(generator, "encodings", ())),
        prompts=has_prompts,
    )


def require_no_prompts_taken(networks: Sequence[Extractor], source: str) -> None:
    """Raise SourceError if an extractor takes prompts, which a source does not give."""
    names = [network.name for network in networks if takes_prompts(network)]
    if names:
        raise SourceError(
            f"{', '.join(names)} takes the prompts of the images, and {source} gives none; name "
            "where they are: '?prompts=...' of a data set or a pipeline, or a method "
            "prompts(sample_ids) of your own source; or extract this source without it"
        )


def empty_spec(
    texts: tuple[str, ...], networks: Sequence[Extractor], shard_rows: int
) -> DatasetSpec:
    """Return what all sets by these extractors have in common: no samples and no source."""
    return DatasetSpec(
        source="",
        generator={},
        extractors=[network.spec for network in networks],
        columns=tuple(c for n in networks for c in schema.make_columns(n.name, n.columns)),
        class_names={n.name: n.class_names for n in networks if n.class_names},
        labels=False,
        shard_rows=shard_rows,
        samples=(),
        extractor_texts=texts,
        files={network.name: network.file for network in networks if network.file},
    )


def load_extractors(extractors: Sequence[str]) -> tuple[tuple[str, ...], list[Extractor]]:
    """Load the extractors; return their texts and the extractors, both in the order of the names.

    A group of extractors, see `expand_groups`, stands for its members. Raises ExtractorError if two
    have the same name, or if there are none.
    """
    if not extractors:
        raise ExtractorError(
            f"no extractor is asked for; there are {', '.join(PUBLISHED_NETWORKS)}"
        )
    cpu = torch.device("cpu")
    texts = dict.fromkeys(map(absolute_extractor, expand_groups(extractors)))
    loaded = sorted(
        ((make_extractor(text, cpu, TRIAL_SECONDS), text) for text in texts),
        key=lambda e: e[0].name,
    )
    for (left, first), (right, second) in itertools.pairwise(loaded):
        if left.name == right.name:
            raise ExtractorError(
                f"{first} and {second} are both called {left.name}; give one of them another name: "
                f"'{second}{'&' if '?' in second else '?'}name=...'"
            )
    return tuple(text for _, text in loaded), [extractor for extractor, _ in loaded]


def requested_samples(generator: Generator, samples: range | str | None) -> range:
    """Return the requested ids.

    Raises SampleRangeError if there are none, or if the generator does not have them.
    """
    length, sample_limit = generator.length, max_samples(generator)
    if samples is None:
        if length is None:
            raise SampleRangeError(
                f"{generator.name} never ends, so say which samples: --samples 0-49999"
            )
        samples = range(length)
    ids = sample_ranges.parse_range(samples) if isinstance(samples, str) else samples
    if ids.stop <= ids.start or ids.step != 1 or ids.start < 0:
        raise SampleRangeError(f"samples {ids} are none; expected a range such as 0-49999")
    if ids.stop > sample_limit:
        raise SampleRangeError(
            f"{generator.name} has samples 0-{sample_limit - 1}, but "
            f"{sample_ranges.format_range(ids)} are asked for"
        )
    return ids


def requested_ids(
    generator: Generator, samples: range | str | Sequence[range] | None
) -> tuple[range, ...]:
    """Return the requested ids as ranges, where "107,540,1000-1999" may be asked for.

    Raises SampleRangeError if there are none, or if the generator does not have them.
    """
    if samples is None or isinstance(samples, range):
        return (requested_samples(generator, samples),)
    ids = sample_ranges.as_ids(samples)
    if not ids:
        raise SampleRangeError("no samples are asked for; expected a range such as 0-49999")
    for part in ids:
        requested_samples(generator, part)
    return ids


def max_samples(generator: Generator) -> int:
    """Count the samples of a generator.

    These are the samples of a data set, the seeds of an endless generator with an attribute
    `seeds`, or otherwise the ids that names of shards can hold.
    """
    seed_count = getattr(generator, "seeds", None) or sample_ranges.LAST_ID + 1
    return int(seed_count if generator.length is None else generator.length)


def require_shard_rows(shard_rows: int) -> None:
    """Raise SampleRangeError for empty shards, and for shards that a worker cannot hold."""
    if not 1 <= shard_rows <= _MAX_SHARD_ROWS:
        raise SampleRangeError(f"shard_rows is {shard_rows}, expected 1 to {_MAX_SHARD_ROWS}")


def require_few_shards(ids: Sequence[range], shard_rows: int) -> None:
    """Raise SampleRangeError if a set would have too many files."""
    samples = sample_ranges.count_ids(ids)
    count = sum(-(-len(part) // shard_rows) for part in ids)
    if count > _MAX_SHARDS:
        raise SampleRangeError(
            f"{samples} samples make {count} shards of {shard_rows}; a set has {_MAX_SHARDS} at "
            "most: ask for fewer samples, or for a larger --shard-rows"
        )
