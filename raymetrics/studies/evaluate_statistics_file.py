"""A shard set against a file of statistics: the Frechet distance, and what it is not known of."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from raymetrics.distributed.fold import fold_shards
from raymetrics.distributed.session import session
from raymetrics.errors import NotEnoughData, RaymetricsError, SpecMismatch
from raymetrics.metrics import Convention, Protocol, required_statistics
from raymetrics.metrics.registry import METRICS
from raymetrics.metrics.required_statistics import Samples
from raymetrics.results import Result, Side
from raymetrics.shards.foreign import ReferenceStatistics, is_statistics, read_statistics
from raymetrics.shards.foreign.statistics_files import SPATIAL
from raymetrics.shards.layout import differences, numbers_of
from raymetrics.shards.schema import Column
from raymetrics.shards.shard_set import ShardSet
from raymetrics.shards.view import View
from raymetrics.statistics import Measure, Moments
from raymetrics.studies.comparison import (
    SIDES,
    Item,
    columns_of,
    fits,
    known,
    opened,
    viewed,
)
from raymetrics.studies.make_result import result, side_of

POSSIBLE = ("fid", "sfid")


@dataclass(frozen=True)
class Pair:
    """One number to compute: a column, and the place of the file that has its space."""

    item: Item
    place: str


def evaluate_reference(
    *,
    real: str | ShardSet,
    generated: str | ShardSet,
    metrics: Sequence[str] | None,
    extractors: Sequence[str] | None,
    columns: Sequence[str] | None,
    asked: Convention,
    protocol: Protocol | None,
    samples: int | None,
) -> list[Result]:
    """`evaluate`, where one side is a file of statistics; the arguments are those of it.

    The covariance of the file is taken as it is; `asked.ddof` is of the shards' side. The column
    is the one that the file was exported from, or the only one of the file's dimension.
    """
    sides = {"real": real, "generated": generated}
    of_file, of_shards = SIDES if is_statistics(real) else SIDES[::-1]
    if is_statistics(sides[of_shards]):
        raise RaymetricsError(
            f"{real} and {generated} are files of statistics both, and neither says what its "
            "features are; one side must be a shard set"
        )
    names = asked_for(metrics, protocol, str(sides[of_file]))
    reference = read_statistics(str(sides[of_file]))
    whole = opened(sides[of_shards])
    shards = whole.shards
    view = viewed_beside(reference, of_file, whole, of_shards, protocol, samples)
    if len(view) <= asked.ddof:
        raise NotEnoughData(
            f"a covariance takes at least {asked.ddof + 1} samples, {shards.uri} has {len(view)}; "
            "extract more"
        )
    there = columns_of(shards, extractors, columns)
    pairs = [
        pair for name in names for pair in paired(name, there, bool(columns), reference, shards)
    ]
    moments = moments_of(view, [pair.item.column for pair in pairs])
    sides_of = {of_file: side_of_file(reference), of_shards: side_of(view, len(view))}
    # Nobody vouches for the features of a foreign file: their distance is not called FID.
    made_of = shards.spec if reference.made_of else replace(shards.spec, files={})
    found = []
    for pair in pairs:
        start = time.monotonic()
        fitted: dict[str, Any] = {
            of_file: {"moments": reference.gaussians[pair.place]},
            of_shards: {"moments": moments[pair.item.column.name]},
        }
        (value,) = pair.item.metric.compute(fitted["real"], fitted["generated"], NO_SAMPLES, asked)
        value = replace(value, convention={**value.convention, **said(reference, pair.place)})
        seconds = time.monotonic() - start
        found.append(result(value, pair.item, [made_of], sides_of, asked, protocol, seconds))
    return found


NO_SAMPLES = Samples(real=np.empty(0, np.int64), generated=np.empty(0, np.int64))


def asked_for(metrics: Sequence[str] | None, protocol: Protocol | None, where: str) -> list[str]:
    """The metrics; RaymetricsError for one that takes more than a mean and a covariance."""
    names = known(protocol.metrics if protocol else ["fid"] if metrics is None else metrics)
    impossible = [name for name in names if name not in POSSIBLE]
    if impossible:
        raise RaymetricsError(
            f"{', '.join(impossible)} cannot be computed from {where}, which holds a mean and a "
            f"covariance and no features; ask for {' or '.join(POSSIBLE)}, or give shards on both "
            "sides"
        )
    return names


def viewed_beside(
    reference: ReferenceStatistics, of_file: str, whole: View, of_shards: str,
    protocol: Protocol | None, samples: int | None,
) -> View:  # fmt: skip
    """The samples of the shards' side. NotEnoughData where a protocol asks for a number of
    samples that the file is not of."""
    if protocol is None:
        return viewed({of_shards: whole}, None, samples)[of_shards]
    if reference.ddof not in (None, protocol.convention.ddof):
        raise SpecMismatch(
            f"{protocol.name} divides covariances by count - {protocol.convention.ddof}, "
            f"{reference.uri} was exported with ddof {reference.ddof}; export it again"
        )
    takes = protocol.real if of_file == "real" else protocol.generated
    if takes is not None and reference.count != takes:
        raise NotEnoughData(
            f"{protocol.name} takes {takes} {of_file} samples, {reference.uri} is of "
            f"{reference.count or 'an unknown number'}; evaluate without a protocol"
        )
    counts = protocol.counts(**{of_file: reference.count or 1, of_shards: len(whole)})
    return whole.first(dict(zip(SIDES, counts, strict=True))[of_shards])


def paired(
    name: str, columns: Sequence[Column], explicit: bool, reference: ReferenceStatistics,
    shards: ShardSet,
) -> list[Pair]:  # fmt: skip
    """The columns and places of the file that are of one space, as far as can be known.

    SpecMismatch if there is none, or if several could be meant.
    """
    metric = METRICS[name]
    places = [place for place in reference.gaussians if (place == SPATIAL) == (name == "sfid")]
    if not places:
        raise RaymetricsError(
            f"{name} takes {SPATIAL}, {reference.uri} holds {', '.join(reference.gaussians)}; "
            "leave it out of --metrics"
        )
    fitting = [c for c in columns if fits(metric, c, shards.spec, explicit=explicit)]
    if reference.made_of:
        return [Pair(Item(metric, exported(fitting, reference, shards)), places[0])]
    size = {place: len(reference.gaussians[place].mean) for place in places}
    pairs = [(c, place) for place in places for c in fitting if c.dimension == size[place]]
    if not pairs:
        wants = ", ".join(f"{place} of {d} dimensions" for place, d in size.items())
        raise SpecMismatch(
            f"{reference.uri} holds {wants}, {shards.uri} has {described(fitting)}; extract with "
            "the network that the file was made with"
        )
    for part in ([c.name for c, _ in pairs], [place for _, place in pairs]):
        if len(set(part)) < len(part):
            either = ", ".join(f"{column.name} with {place}" for column, place in pairs)
            raise SpecMismatch(
                f"several columns of {shards.uri} and parts of {reference.uri} have the same "
                f"dimension ({either}), and the file does not say which was meant; choose with "
                "--column"
            )
    return [Pair(Item(metric, column), place) for column, place in pairs]


def described(columns: Sequence[Column]) -> str:
    """ "a_pre_logits (1280), b_pre_logits (64)"."""
    return ", ".join(f"{c.name} ({c.dimension})" for c in columns) or "no such column"


def exported(columns: Sequence[Column], reference: ReferenceStatistics, shards: ShardSet) -> Column:
    """The column that an exported file is of. SpecMismatch unless it was made alike."""
    made_of = reference.made_of or {}
    spec = {str(spec["name"]): spec for spec in shards.spec.extractors}
    for column in columns:
        if column.name == made_of["column"]:
            fields = differences(
                numbers_of(made_of["extractor"]), numbers_of(spec[column.extractor])
            )
            if fields:
                raise SpecMismatch(
                    f"{column.name} of {reference.uri} and of {shards.uri} were made differently "
                    f"({'; '.join(fields).replace('asked for', 'in the shards')}); extract both "
                    "alike"
                )
            return column
    raise SpecMismatch(
        f"{reference.uri} was exported from {made_of['column']}, {shards.uri} has "
        f"{described(columns)}; extract both with the same network, or name the column"
    )


def moments_of(view: View, columns: Sequence[Column]) -> Mapping[str, Moments]:
    """Those of every column, in one pass over the shards."""
    measures = {
        column.name: Measure(column.name, required_statistics.moments) for column in columns
    }
    with session():
        return fold_shards(view, measures, sum(8 * column.dimension**2 for column in columns))


def side_of_file(reference: ReferenceStatistics) -> Side:
    """What a result keeps of a file."""
    return Side(
        uri=reference.uri,
        source=reference.uri.rpartition("/")[2],
        samples=(),
        count=reference.count,
        fingerprint="not stated by the file",
        digest=reference.sha256,
        made_by={"layout": reference.layout, **(reference.made_of or {})},
    )


def said(reference: ReferenceStatistics, place: str) -> dict[str, Any]:
    """What the file says of itself and what it does not, for a result's convention."""
    kept = {
        "reference": reference.uri.rpartition("/")[2],
        "reference_layout": reference.layout,
        "reference_part": place,
        "reference_sha256": reference.sha256,
        "reference_count": reference.count or "not stated by the file",
        "reference_ddof": "as in the file: 1 in most programs, 0 in NVIDIA's StyleGANs"
        if reference.ddof is None
        else reference.ddof,
    }
    return kept if reference.made_of else {**kept, "resize": "not stated by the file"}
