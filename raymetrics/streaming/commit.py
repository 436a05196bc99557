"""The last stage of extraction. Apart from the others, so that its worker loads no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from raymetrics.errors import ShardError, SpecMismatch
from raymetrics.shards import schema
from raymetrics.shards.layout import read_spec
from raymetrics.shards.store import Store
from raymetrics.shards.writer import commit

DEVICE = b"device"  # in the metadata of the tables that reach this stage
PADDING = -1  # the sample id of rows that only fill a short shard up


class CommitShard:
    """A stage: the rows of one shard to {"rows", "made", "device"}; made is 0 if it was there."""

    def __init__(self, uri: str, fingerprint: str, planned: Sequence[range]) -> None:
        self.store, self.fingerprint = Store(uri), fingerprint
        self.planned = {ids.start: ids for ids in planned}

    def __call__(self, rows: pa.Table) -> dict[str, list[Any]]:
        """rows: of one planned shard, and any number of PADDING."""
        real = rows.filter(pc.not_equal(rows[schema.SAMPLE_ID], PADDING))
        self.require_planned(schema.to_numpy(real[schema.SAMPLE_ID]).tolist())
        self.require_same_set()
        made = commit(self.store, real, self.fingerprint)
        device = (rows.schema.metadata or {}).get(DEVICE, b"unknown").decode()
        return {"rows": [real.num_rows], "made": [int(made)], "device": [device]}

    def require_same_set(self) -> None:
        """SpecMismatch if somebody else has begun another set here since this one was begun."""
        there = read_spec(self.store)
        if there is None or there.fingerprint != self.fingerprint:
            raise SpecMismatch(
                f"{self.store} became another set while this one was made; nothing of this one "
                "was written to it: extract to a place of its own"
            )

    def require_planned(self, sample_ids: list[int]) -> None:
        """ShardError unless these are the ids of a planned shard, in order."""
        planned = self.planned.get(sample_ids[0]) if sample_ids else None
        if planned is None or sample_ids != list(planned):
            found = f"{sample_ids[0]}-{sample_ids[-1]}" if sample_ids else "none"
            raise ShardError(
                f"the stream gave {len(sample_ids)} samples {found} for one shard of {self.store}, "
                f"planned was {planned}; nothing was written, and the same command tries again"
            )
