"""Some samples of a shard set as a set of their own, which needs the larger one no more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from raymetrics.errors import ShardError
from raymetrics.shards import schema
from raymetrics.shards.foreign.atomic_folder import whole_block
from raymetrics.shards.layout import DATASET, SELECTION_NAME, DatasetSpec
from raymetrics.shards.schema import Column
from raymetrics.shards.seal import seal_set
from raymetrics.shards.shard_set import Block, open_shards
from raymetrics.shards.store import Store
from raymetrics.shards.view import Selection, View
from raymetrics.shards.writer import commit_shard


def write_shard_set(view: View, columns: Sequence[Column], folder: Path) -> None:
    """Write a sealed shard set of the samples of a view, and raise ShardError if a sample repeats.

    Sample i of the new set is the i-th sample of the view in the order of its ids: a set has no
    gaps, so the ids are counted anew from 0. Features, labels and their bits stay.
    """
    if view.repeats:
        raise ShardError(
            f"a shard set holds each sample once, {_source_text(view)} names some repeatedly; name "
            "the selection where a set is asked for, or export it as npy"
        )
    spec, store = _selection_spec(view, columns), Store(str(folder))
    store.replace(DATASET, spec.to_json())
    machines = view.shards.machine_kinds()
    start = 0
    for block in _equal_blocks(view, columns, spec.shard_rows):
        sample_ids = start + np.arange(len(block[schema.SAMPLE_ID]))
        prompts = list(block[schema.PROMPT]) if schema.PROMPT in block else None
        table = schema.to_table(columns, sample_ids, block.get(schema.LABEL), block, prompts)
        commit_shard(store, table, spec.fingerprint, made_on=machines)
        start += len(sample_ids)
    seal_set(open_shards(store.uri))


def _selection_spec(view: View, columns: Sequence[Column]) -> DatasetSpec:
    """Return the specification of the new set, which names the samples that it was selected from.

    Its generator is the choice: the old generator, the old set, and the digest of the samples.
    """
    spec = view.shards.spec
    extractors = [e for e in spec.extractors if e["name"] in {c.extractor for c in columns}]
    return replace(
        spec,
        source=_source_text(view),
        generator={
            "name": SELECTION_NAME,
            "generator": dict(spec.generator),
            "fingerprint": spec.fingerprint,
            "digest": view.digest(),
        },
        extractors=[_with_columns(extractor, columns) for extractor in extractors],
        columns=tuple(columns),
        samples=(range(len(view)),),
    )


def _with_columns(
    extractor: Mapping[str, object], columns: Sequence[Column]
) -> Mapping[str, object]:
    """Return an extractor's specification with no more than the exported columns."""
    dimensions = {c.output: c.dimension for c in columns if c.extractor == extractor["name"]}
    return {**extractor, "columns": dimensions} if "columns" in extractor else extractor


def _source_text(view: View) -> str:
    """Return "SHARDS?ids=FILE", or "SHARDS" for a view of whole ranges."""
    uri = view.shards.store.absolute_uri
    return f"{uri}?ids={view.samples.file}" if isinstance(view.samples, Selection) else uri


def _equal_blocks(view: View, columns: Sequence[Column], rows: int) -> Iterator[Block]:
    """Yield the samples of a view in blocks of so many rows; fewer in the last block."""
    rest: Block = {}
    for shard in view.present:
        block = whole_block(view, shard, columns)
        rest = {n: np.concatenate([rest[n], v]) for n, v in block.items()} if rest else block
        while len(rest[schema.SAMPLE_ID]) >= rows:
            yield {name: values[:rows] for name, values in rest.items()}
            rest = {name: values[rows:] for name, values in rest.items()}
    if rest and len(rest[schema.SAMPLE_ID]):
        yield rest
