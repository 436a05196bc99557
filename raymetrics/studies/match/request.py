"""What a match is asked for, checked and opened before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from raymetrics.distributed.extraction.continuation import continue_set
from raymetrics.distributed.extraction.dataset_request import (
    most_samples,
    named_apart,
    specification,
)
from raymetrics.errors import NotEnoughData, RangeError, SpecMismatch
from raymetrics.generators import Generator, absolute, open_source, permission_for
from raymetrics.shards import layout
from raymetrics.shards.comparability import require_alike, require_same_size, shared_extractors
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.open_view import open_view
from raymetrics.shards.schema import Column
from raymetrics.shards.shard_set import ShardSet, open_shards
from raymetrics.shards.store import Store
from raymetrics.shards.view import View

FIRST_CHOICE = "inception"  # of the networks that give classes


@dataclass(frozen=True, eq=False)
class Request:
    """What is asked, checked and opened; nothing is written yet."""

    real: View
    column: Column
    generator: Generator
    store: Store
    asked: DatasetSpec
    first: int
    stop: int
    n: int
    keep: str
    extractors: Sequence[Mapping[str, object]]  # as they are now, where the set keeps older ones
    any_size: bool


def requested(
    real: str, generated: str, to: str, shards: str | None, extractors: Sequence[str],
    classes: str | None, n: int, max_draws: int | None, first: int | None, shard_rows: int,
    keep: str, run_code: bool, any_size: bool = False,
) -> Request:  # fmt: skip
    """The request, if it makes sense."""
    permission = permission_for(run_code, generated)
    view = open_view(real)
    column = column_of_classes(view.shards, classes)
    there = open_shards(generated) if is_shard_set(generated) else None
    source, texts = absolute(generated), [*extractors] or [*view.shards.spec.asked]
    store = Store(shards or f"{to}/shards")
    if there is not None:
        if shards is not None:
            raise RangeError(
                f"shards is {shards!r}, but {generated} is a shard set, which is drawn on into; "
                "leave it out, or name a source"
            )
        source, texts, store = there.spec.source, [*extractors] or [*there.spec.asked], there.store
        if first is None:
            first = min(ids.start for ids in there.spec.samples)
    for place in (store, Store(to)):
        place.names()  # one that cannot be used is found before anything is loaded
    if there is not None:
        permission.require_source(source, there.uri)
    if not extractors:
        for text in texts:
            permission.require_extractor(text, (there or view.shards).uri)
    generator = open_source(source, torch.device("cpu"))
    first, length = first or 0, most_samples(generator)
    if length - first < n:
        raise NotEnoughData(
            f"{n} samples are asked for, but {generator.name} has only {max(0, length - first)} "
            f"from {first} on; ask for fewer"
        )
    stop = min(length, first + (max_draws or length))
    # The set is to have no more than it needs for certain, and grows with every shard.
    least = range(first, first + 1)
    spelled, networks = named_apart(texts)
    now = specification(source, generator, spelled, networks, least, shard_rows)
    asked, _ = continue_set(store, now, generator, networks)
    made = ShardSet(store, asked, ())
    for name in dict.fromkeys([column.extractor, *shared_extractors(view.shards, made)]):
        require_alike(view.shards, made, name, any_size=any_size)
    if there is not None and not any_size:
        require_same_size(view.shards, there)
    for side in (made, there or made):
        require_column(side, column)
    return Request(
        view, column, generator, store, asked, first, stop, n, keep, now.extractors, any_size
    )


def is_shard_set(uri: str) -> bool:
    """Whether it is one, and no source."""
    if "?" in uri or uri.partition(":")[0] in ("diffusers",):
        return False
    store = Store(uri) if "://" in uri or ":" not in uri else None
    return store is not None and not store.fs.isfile(store.root) and layout.holds_set(store)


def require_column(shards: ShardSet, column: Column) -> None:
    """SpecMismatch unless the generated set has, or is to have, the column of the classes."""
    if column.name not in shards.columns:
        raise SpecMismatch(
            f"the classes are those of {column.name}, {shards.uri} has only "
            f"{', '.join(shards.columns)}; draw into another set with an extractor that keeps "
            f"{column.output!r}, or name another column: --classes COLUMN"
        )


def column_of_classes(shards: ShardSet, asked: str | None) -> Column:
    """The column of logits that is asked for, or inception's, or the only one. SpecMismatch with
    those that there are."""
    there = [column for column in shards.spec.columns if column.output == "logits"]
    names = ", ".join(column.name for column in there) or "none"
    if asked is not None:
        there = [column for column in there if column.name == asked]
        if not there:
            raise SpecMismatch(f"{shards.uri} has no logits {asked!r}; it has {names}")
    networks = {str(e["name"]): str(e.get("network", e["name"])) for e in shards.spec.extractors}
    first = [column for column in there if networks[column.extractor] == FIRST_CHOICE]
    if len(first or there) != 1:
        raise SpecMismatch(
            f"the Top-1 classes need one column of logits, {shards.uri} has {names}; "
            + ("name one: --classes COLUMN" if there else "extract with inception, for example")
        )
    return (first or there)[0]
