"""What a match is asked for, checked and opened before anything is written."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch

from raymetrics.distributed.extraction.continuation import continue_set
from raymetrics.distributed.extraction.dataset_request import (
    load_extractors,
    make_spec,
    max_samples,
)
from raymetrics.errors import NotEnoughData, SampleRangeError, SpecMismatch
from raymetrics.extractors import Extractor
from raymetrics.generators import Generator, absolute_source, open_source, permission_for
from raymetrics.shards import layout
from raymetrics.shards.comparability import (
    require_same_extractor,
    require_same_size,
    shared_extractors,
)
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.schema import Column
from raymetrics.shards.shard_set import ShardSet, open_shards
from raymetrics.shards.store import Store
from raymetrics.shards.view import View
from raymetrics.studies.comparison import open_as_view

_PREFERRED_NETWORK = "inception"  # of the networks that give classes


@dataclass(frozen=True, eq=False)
class MatchRequest:
    """What is asked, checked and opened; nothing is written yet."""

    real: View
    column: Column
    generator: Generator
    store: Store
    names: Collection[str]  # of the files in the store, just listed
    dataset_spec: DatasetSpec
    first: int
    stop: int
    n: int
    extractors: Sequence[Mapping[str, object]]  # as they are now, where the set keeps older ones
    networks: Sequence[Extractor]
    any_size: bool


def make_match_request(
    real: str | View,
    generated: str,
    to: str,
    shards: str | None,
    extractors: Sequence[str],
    classes: str | None,
    n: int,
    max_draws: int | None,
    first: int | None,
    shard_rows: int,
    run_code: bool,
    any_size: bool = False,
) -> MatchRequest:
    """Check a request and open its sides; raise a RaymetricsError before anything is written."""
    permission = permission_for(run_code, generated)
    view = open_as_view(real)
    column = choose_logits_column(view.shards, classes)
    names: Collection[str] | None = None
    existing_set = None
    if names_shard_set(generated):
        names = Store(generated).names()
        existing_set = open_shards(generated, names=names)
    source, texts = absolute_source(generated), [*extractors] or [*view.shards.spec.extractor_texts]
    store = Store(shards or f"{to}/shards")
    if existing_set is not None:
        if shards is not None:
            raise SampleRangeError(
                f"shards is {shards!r}, but {generated} is a shard set, which is drawn on into; "
                "leave it out, or name a source"
            )
        source, texts, store = (
            existing_set.spec.source,
            [*extractors] or [*existing_set.spec.extractor_texts],
            existing_set.store,
        )
        if first is None:
            first = min(ids.start for ids in existing_set.spec.samples)
    for writable_store in (store, Store(to)):
        writable_store.require_usable()
    if existing_set is not None:
        permission.require_source(source, existing_set.uri)
    if not extractors:
        for text in texts:
            permission.require_extractor(text, (existing_set or view.shards).uri)
    generator = open_source(source, torch.device("cpu"))
    first, length = first or 0, max_samples(generator)
    if length - first < n:
        raise NotEnoughData(
            f"{n} samples are asked for, but {generator.name} has only {max(0, length - first)} "
            f"from {first} on; ask for fewer"
        )
    stop = min(length, first + (max_draws or length))
    # The set is to have no more than it needs for certain, and grows with every shard.
    first_range = range(first, first + 1)
    extractor_texts, networks = load_extractors(texts)
    current_spec = make_spec(source, generator, extractor_texts, networks, first_range, shard_rows)
    names = store.names() if names is None else names
    dataset_spec, _ = continue_set(store, current_spec, generator, networks, names)
    requested_set = ShardSet(store, dataset_spec, ())
    for name in dict.fromkeys([column.extractor, *shared_extractors(view.shards, requested_set)]):
        require_same_extractor(view.shards, requested_set, name, any_size=any_size)
    if existing_set is not None and not any_size:
        require_same_size(view.shards, existing_set)
    for side in (requested_set, existing_set or requested_set):
        _require_column(side, column)
    return MatchRequest(
        view,
        column,
        generator,
        store,
        names,
        dataset_spec,
        first,
        stop,
        n,
        current_spec.extractors,
        networks,
        any_size,
    )


def names_shard_set(uri: str) -> bool:
    """Return whether this names a shard set, and not a source."""
    if "?" in uri or uri.partition(":")[0] in ("diffusers",):
        return False
    store = Store(uri) if "://" in uri or ":" not in uri else None
    return store is not None and not store.fs.isfile(store.root) and layout.holds_shard_set(store)


def _require_column(shards: ShardSet, column: Column) -> None:
    """Raise SpecMismatch unless the generated set has, or will have, the column of the classes."""
    if column.name not in shards.columns:
        raise SpecMismatch(
            f"the classes are those of {column.name}, {shards.uri} has only "
            f"{', '.join(shards.columns)}; draw into another set with an extractor that keeps "
            f"{column.output!r}, or name another column: --classes COLUMN"
        )


def choose_logits_column(shards: ShardSet, wanted: str | None) -> Column:
    """Return the requested column of logits, or inception's, or the only one. SpecMismatch with
    those that there are."""
    logits_columns = [column for column in shards.spec.columns if column.output == "logits"]
    names = ", ".join(column.name for column in logits_columns) or "none"
    if wanted is not None:
        logits_columns = [column for column in logits_columns if column.name == wanted]
        if not logits_columns:
            raise SpecMismatch(f"{shards.uri} has no logits {wanted!r}; it has {names}")
    networks = {str(e["name"]): str(e.get("network", e["name"])) for e in shards.spec.extractors}
    preferred = [
        column for column in logits_columns if networks[column.extractor] == _PREFERRED_NETWORK
    ]
    if len(preferred or logits_columns) != 1:
        raise SpecMismatch(
            f"the Top-1 classes need one column of logits, {shards.uri} has {names}; "
            + (
                "name one: --classes COLUMN"
                if logits_columns
                else "extract with inception, for example"
            )
        )
    return (preferred or logits_columns)[0]
