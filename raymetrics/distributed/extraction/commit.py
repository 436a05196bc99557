"""Commit the shards of a set: check that they are the planned ones, and write them once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from raymetrics.errors import ShardError, SourceError, SpecMismatch
from raymetrics.shards import schema
from raymetrics.shards.layout import read_spec
from raymetrics.shards.store import Store
from raymetrics.shards.writer import commit_shard


class SetWriter:
    """Writes shards of the set at `uri` that has this fingerprint."""

    def __init__(self, uri: str, fingerprint: str) -> None:
        self.store, self.fingerprint = Store(uri), fingerprint

    def commit(
        self,
        rows: pa.Table,
        planned: range,
        left_out: Mapping[int, str],
        made_on: Sequence[str] = (),
    ) -> int:
        """Write a shard; return its bytes, 0 if the shard existed.

        planned: the samples that the rows and `left_out` must be together. made_on: kinds of
        machine. Raises ShardError for other samples, SpecMismatch if the store holds another set.
        """
        sample_ids = sorted([*schema.to_numpy(rows[schema.SAMPLE_ID]).tolist(), *left_out])
        if sample_ids != list(planned):
            raise ShardError(
                f"a worker made {len(sample_ids)} samples for one shard of {self.store}, planned "
                f"was {planned}; nothing was written, and the same command tries again"
            )
        self.require_same_set()
        return commit_shard(self.store, rows, self.fingerprint, left_out, made_on)

    def require_same_set(self) -> None:
        """Raise SpecMismatch if another set was begun here since this one was begun."""
        existing_spec = read_spec(self.store)
        if existing_spec is None or existing_spec.fingerprint != self.fingerprint:
            raise SpecMismatch(
                f"{self.store} became another set while this one was made; nothing of this one "
                "was written to it: extract to a place of its own"
            )


def require_few_left_out(left_out: Mapping[int, str], max_left_out: int) -> None:
    """Raise SourceError, which names the first sample, if too many samples are left out."""
    if len(left_out) > max_left_out:
        sample, why = min(left_out.items())
        counts = (
            f"{len(left_out)} samples cannot be made, at most {max_left_out} are to be left out; "
        )
        prefix = f"{counts}the first is {sample}: " if len(left_out) > 1 or max_left_out else ""
        raise SourceError(f"{prefix}{why}")


def top1_classes(logits: np.ndarray) -> np.ndarray:
    """Return the Top-1 classes of logits [n, classes], int64 [n]; of equal logits the first."""
    return logits.argmax(axis=1)
