"""What a set is to be: its source opened, its extractors loaded, its samples checked."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch

from raymetrics import ranges
from raymetrics.errors import ExtractorError, RangeError, RaymetricsError
from raymetrics.extractors import NAMED, Extractor, make_extractor
from raymetrics.extractors.options import absolute as absolute_extractor
from raymetrics.generators import Generator
from raymetrics.generators.trial import try_out
from raymetrics.shards import schema
from raymetrics.shards.layout import DatasetSpec


def specification(
    source: str,
    generator: Generator,
    texts: tuple[str, ...],
    networks: Sequence[Extractor],
    samples: range | str | None,
    shard_rows: int,
    max_errors: int = 0,
) -> DatasetSpec:
    """The specification of the set that is asked for. texts, networks: as `named_apart` gives them.

    Tries a user's own generator out, see `raymetrics.generators.trial`; where samples may be left
    out because of errors, one that raises is left to the stream.
    """
    ids = wanted_samples(generator, samples)
    try:
        image_size = try_out(generator, ids)
    except RaymetricsError:
        if not max_errors:
            raise
        image_size = None
    labelled = generator.labels(np.arange(ids.start, ids.start + 1)) is not None
    return DatasetSpec(
        source=source,
        generator=generator.spec,
        extractors=[network.spec for network in networks],
        columns=tuple(c for n in networks for c in schema.columns_of(n.name, n.columns)),
        class_names={n.name: n.class_names for n in networks if n.class_names},
        labels=labelled,
        shard_rows=shard_rows,
        samples=(ids,),
        asked=texts,
        files={network.name: network.file for network in networks if network.file},
        label_names=tuple(getattr(generator, "label_names", ())) if labelled else (),
        image_size=image_size,
    )


def named_apart(extractors: Sequence[str]) -> tuple[tuple[str, ...], list[Extractor]]:
    """The extractors, loaded, by name, and the texts that ask for them. ExtractorError if two have
    the same name, or if there are none."""
    if not extractors:
        raise ExtractorError(f"no extractor is asked for; there are {', '.join(NAMED)}")
    cpu = torch.device("cpu")
    texts = dict.fromkeys(map(absolute_extractor, extractors))
    made = sorted(((make_extractor(text, cpu), text) for text in texts), key=lambda e: e[0].name)
    for (one, first), (other, second) in itertools.pairwise(made):
        if one.name == other.name:
            raise ExtractorError(
                f"{first} and {second} are both called {one.name}; give one of them another name: "
                f"'{second}{'&' if '?' in second else '?'}name=...'"
            )
    return tuple(text for _, text in made), [extractor for extractor, _ in made]


def wanted_samples(generator: Generator, samples: range | str | None) -> range:
    """The ids asked for; RangeError if they are none or not there."""
    length = generator.length
    if samples is None:
        if length is None:
            raise RangeError(
                f"{generator.name} never ends, so say which samples: --samples 0-49999"
            )
        samples = range(length)
    ids = ranges.parse(samples) if isinstance(samples, str) else samples
    if len(ids) == 0 or ids.step != 1 or ids.start < 0:
        raise RangeError(f"samples {ids} are none; expected a range such as 0-49999")
    if length is not None and ids.stop > length:
        raise RangeError(
            f"{generator.name} has samples 0-{length - 1}, but {ranges.describe(ids)} are asked for"
        )
    return ids


def require_shard_rows(shard_rows: int) -> None:
    """RangeError for shards of nothing."""
    if shard_rows < 1:
        raise RangeError(f"shard_rows is {shard_rows}, expected at least 1")
