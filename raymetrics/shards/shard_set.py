"""Open a shard set: what it is, what it holds, what is missing; and read its columns."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raymetrics import sample_ranges
from raymetrics.errors import ShardError, StorageError
from raymetrics.provenance import fingerprint
from raymetrics.shards import layout, schema
from raymetrics.shards.layout import DatasetSpec, shard_name
from raymetrics.shards.manifest import read_manifest
from raymetrics.shards.schema import Column, Footer
from raymetrics.shards.shard_files import (
    all_shard_ranges,
    containing_shard,
    existing_names,
    shard_ranges,
)
from raymetrics.shards.store import Store

T = TypeVar("T")
Block = dict[str, np.ndarray]
_READER_THREADS = 16  # at a time


@dataclass(frozen=True, eq=False)
class ShardSet:
    """A set of shards: features by sample id. Made by `open_shards`."""

    store: Store
    spec: DatasetSpec
    present: tuple[range, ...]  # the shards that are there, ascending
    files: tuple[range, ...] = ()  # the same as they were listed: files of shards may overlap

    def __repr__(self) -> str:
        return f"ShardSet({self.store.uri!r}, {len(self)} samples, {len(self.present)} shards)"

    def __len__(self) -> int:
        return sample_ranges.count_ids(self.present) - len(self.left_out)

    @property
    def uri(self) -> str:
        return self.store.uri

    def require_labels(self) -> None:
        """Raise ShardError if the set has no labels."""
        if not self.spec.labels:
            raise ShardError(
                f"{self.uri} has no labels; extract from a source that knows the classes of its "
                "samples"
            )

    @cached_property
    def _footers(self) -> dict[range, Footer]:
        """What every shard says of itself; read several at a time, as a store takes its time."""
        with ThreadPoolExecutor(_READER_THREADS) as pool:
            return dict(zip(self.present, pool.map(self.footer, self.present), strict=True))

    @cached_property
    def left_out(self) -> dict[int, str]:
        """The samples that could not be made and are not in the shards which stand for them, and
        why; from the seal, or from the footers."""
        if self.seal:
            reasons = self.seal.get("left_out", {})
            return {int(sample): why for sample, why in reasons.items()}
        return self.footer_left_out()

    def footer_left_out(self) -> dict[int, str]:
        """Return the samples that could not be made, and why, from the footers of the shards."""
        by_shard = [footer.left_out or {} for footer in self._footers.values()]
        return {int(sample): why for reasons in by_shard for sample, why in reasons.items()}

    @property
    def columns(self) -> dict[str, Column]:
        """The feature columns by name."""
        return {column.name: column for column in self.spec.columns}

    @property
    def missing(self) -> list[range]:
        """The sample ids that the set is to hold and does not."""
        return sample_ranges.subtract(self.spec.samples, self.present)

    @cached_property
    def seal(self) -> dict[str, Any] | None:
        """What manifest.json says; None if there is none, or if it is not about these shards."""
        names_match = [*self.promises] == [shard_name(ids) for ids in self.present]
        whole = names_match and self.manifest.get("digest") == fingerprint(self.promises)
        return self.manifest if whole else None

    @property
    def promises(self) -> dict[str, str]:
        """The digests that manifest.json promises, by file name, if only of some shards."""
        return self.manifest.get("shards", {})

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What manifest.json says, if only of some shards; empty if there is none of this set."""
        return read_manifest(self.store, self.spec.fingerprint)

    @cached_property
    def digests(self) -> dict[str, str]:
        """The digest of every shard's values by file name; from the seal, or from the footers."""
        return self.seal["shards"] if self.seal else self.footer_digests()

    def footer_digests(self) -> dict[str, str]:
        """Return the digest of every shard's values by file name, from the footers."""
        return {shard_name(ids): footer.digest for ids, footer in self._footers.items()}

    def machine_kinds(self) -> list[str]:
        """Return the kinds of machine that made shards, from the footers."""
        return sorted({machine for f in self._footers.values() for machine in f.made_on})

    @property
    def digest(self) -> str:
        """One SHA-256 for the values of the whole set."""
        return fingerprint(self.digests)

    def extraction_command(self) -> str:
        """Return the commands that make the missing samples, one for each gap."""
        return self._command_for(self.missing or self.spec.samples)

    def _command_for(self, samples: Sequence[range]) -> str:
        if self.spec.is_selection:
            return shlex.join(
                ["raymetrics", "export", self.spec.source, "--to", self.uri, "--as", "shards"]
            )
        words = ["raymetrics", "extract", self.spec.source]
        for text in self.spec.extractor_texts:
            words += ["--extractor", text]
        return " && ".join(
            shlex.join([*words, "--to", self.uri, "--samples", sample_ranges.format_range(ids)])
            for ids in samples
        )

    def require_complete(self) -> ShardSet:
        """Return the set itself. ShardError, with the command to run, if shards are missing."""
        if self.missing:
            gaps = ", ".join(sample_ranges.format_range(ids) for ids in self.missing)
            raise ShardError(
                f"{self.uri} lacks samples {gaps}; make them with: {self.extraction_command()}"
            )
        return self

    def footer(self, ids: range) -> Footer:
        """Read the footer of the shard of these ids. Raise ShardError if it is not of this set, or
        not the one that manifest.json promises."""

        def parse(file: Any, shard: range) -> Footer:
            return self._footer_in(pq.read_schema(file), shard).within(ids)

        return self._read(ids, parse)

    def table(self, ids: range, columns: Sequence[str] | None = None) -> pa.Table:
        """Read one shard as an Arrow table.

        ShardError if the file is damaged or not of this set, lacks a column, or holds other samples
        or types than it should.
        """

        def parse(file: Any, shard: range) -> pa.Table:
            if shard == ids:
                return self._table_in(file, shard, columns)
            needed = None if columns is None else [schema.SAMPLE_ID, *columns]
            return _rows_within(self._table_in(file, shard, needed), ids, columns)

        return self._read(ids, parse)

    def _table_in(self, file: Any, shard: range, columns: Sequence[str] | None) -> pa.Table:
        """Read the table of a whole shard."""
        where = self.store.path(shard_name(shard))
        parquet = pq.ParquetFile(file, pre_buffer=True)
        footer = self._footer_in(parquet.schema_arrow, shard)
        names = parquet.schema_arrow.names if columns is None else columns
        schema.require_column_types(
            parquet.schema_arrow, self.spec.columns, self.spec.facts, names, where
        )
        rows = len(footer.ids) - len(footer.left_out or {})
        if parquet.metadata.num_rows != rows:
            raise ShardError(
                f"{where} has {parquet.metadata.num_rows} rows, expected {rows}; remove it and "
                "extract again"
            )
        table = parquet.read(columns)
        schema.require_no_nulls(table, where)
        if schema.SAMPLE_ID in table.column_names:
            self._require_samples(schema.to_numpy(table[schema.SAMPLE_ID]), footer, where)
        return table

    def _require_samples(self, sample_ids: np.ndarray, footer: Footer, where: str) -> None:
        """Raise ShardError unless these are all samples of a shard in order, except for those that
        its footer leaves out."""
        ids = footer.ids
        left_out = np.array([*map(int, footer.left_out or ())], np.int64)
        expected = np.setdiff1d(np.arange(ids.start, ids.stop), left_out)
        if not np.array_equal(sample_ids, expected):
            raise ShardError(
                f"{where} does not hold the samples {sample_ranges.format_range(ids)} once each "
                "and in order; it is not as it was written: remove it and extract again"
            )

    def _read(self, ids: range, parse: Callable[[Any, range], T]) -> T:
        """Parse the shard that is named after a piece; or, of shards that overlap, or
        that have become one since they were listed, of a larger one that holds the piece."""
        shard = ids
        try:
            while True:
                try:
                    with self.store.open(shard_name(shard)) as file:
                        return parse(file, shard)
                except FileNotFoundError:
                    larger = containing_shard(ids, self.store.names())
                    if larger in (None, shard):
                        raise
                    shard = larger
        except (pa.ArrowException, OSError) as error:
            raise ShardError(
                f"cannot read {self.store.path(shard_name(ids))}: {type(error).__name__}: {error}; "
                "remove it and extract again"
            ) from None

    def _footer_in(self, arrow_schema: pa.Schema, shard: range) -> Footer:
        """Read the footer of a shard's file. Raise ShardError unless it is the expected one."""
        where = self.store.path(shard_name(shard))
        footer = schema.read_footer(arrow_schema, where)
        if footer.ids != shard or footer.fingerprint != self.spec.fingerprint:
            raise ShardError(
                f"{where} holds samples {sample_ranges.format_range(footer.ids)} of set "
                f"{footer.fingerprint[:12]}, expected {sample_ranges.format_range(shard)} of "
                f"{self.spec.fingerprint[:12]}; it is not of this set: remove it and extract again"
            )
        promise = self.promises.get(shard_name(shard), footer.digest)
        if promise != footer.digest:
            raise ShardError(
                f"{where} holds values of digest {footer.digest[:12]}, {layout.MANIFEST} promises "
                f"{promise[:12]}; it is another file than the one that was sealed: remove it and "
                f"make it again with: {self._command_for([shard])}"
            )
        return footer

    def block(self, ids: range, columns: Sequence[str]) -> Block:
        """Read one shard as arrays.

        Returns sample_id and label int64 [n], prompt as objects of str [n], and float32 [n, d] for
        other columns. ShardError if a feature is not a finite number.
        """
        table = self.table(ids, [schema.SAMPLE_ID, *columns])
        block = {name: schema.to_numpy(table[name]) for name in table.column_names}
        for name in self.columns.keys() & columns:
            finite = np.isfinite(block[name]).all(axis=1)
            if not finite.all():
                bad = block[schema.SAMPLE_ID][~finite]
                first_ids = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
                raise ShardError(
                    f"{name} in {self.store.path(shard_name(ids))} is NaN or infinite for "
                    f"{len(bad)} samples ({first_ids}); remove that shard and extract again"
                )
        return block

    def blocks(self, columns: Sequence[str]) -> Iterator[Block]:
        """Yield the shards one after another, in the order of their sample ids."""
        for ids in self.present:
            yield self.block(ids, columns)

    def read(self, column: str) -> np.ndarray:
        """Read a whole feature column, float32 [n, d], in the order of sample ids."""
        if column not in self.columns:
            raise ShardError(
                f"{self.uri} has no column {column!r}; it has {', '.join(self.columns)}"
            )
        parts = [block[column] for block in self.blocks([column])]
        empty = np.empty((0, self.columns[column].dimension), np.float32)
        return np.concatenate(parts) if parts else empty

    def verify(self) -> None:
        """Read every shard. Raise ShardError that names those whose values do not have the digest
        that their footer and the seal promise."""
        _ = self.manifest  # once, and not in every thread
        with ThreadPoolExecutor(_READER_THREADS if not self.store.local else 1) as pool:
            matches = list(pool.map(self._digest_matches, self.present))
        damaged = [ids for ids, good in zip(self.present, matches, strict=True) if not good]
        if damaged:
            raise ShardError(
                f"{len(damaged)} shards at {self.uri} do not have the digest that is promised: "
                f"{', '.join(map(shard_name, damaged))}; remove them and extract again with: "
                f"{self._command_for(damaged)}"
            )

    def _digest_matches(self, ids: range) -> bool:
        def parse(file: Any, shard: range) -> bool:
            table = self._table_in(file, shard, None)
            promise = schema.read_footer(table.schema, self.store.path(shard_name(shard))).digest
            return schema.table_digest(table) == promise

        return self._read(ids, parse)


def _rows_within(table: pa.Table, ids: range, columns: Sequence[str] | None) -> pa.Table:
    """Return the rows of some samples with the columns that were requested."""
    sample_ids = schema.to_numpy(table[schema.SAMPLE_ID])
    first, stop = np.searchsorted(sample_ids, [ids.start, ids.stop])
    return table.slice(first, stop - first).select(columns or table.column_names)


def open_shards(
    uri: str, known: Sequence[range] | None = None, names: Collection[str] | None = None
) -> ShardSet:
    """Open the shard set at a path or an object-store prefix: read dataset.json and one listing.

    known: the only shards that are looked at, which exist; nothing is listed then.
    names: the files at the place, if they have just been listed.

    StorageError if there is no shard set there, ShardError if it is damaged.
    """
    store = Store(uri)
    if names is None:
        names = {} if known is not None else store.names()
    spec = layout.read_spec(store)
    if spec is None:
        contents = "nothing" if not names else f"{len(names)} files but no {layout.DATASET}"
        raise StorageError(
            f"no shard set at {uri}: found {contents}; make one with: raymetrics extract SOURCE "
            f"--extractor NAME --to {shlex.quote(uri)}"
        )
    if known is not None:
        return ShardSet(store, spec, tuple(known))
    names = existing_names(store, names, spec.samples, spec.shard_rows)
    return ShardSet(store, spec, tuple(shard_ranges(names)), tuple(all_shard_ranges(names)))
