"""The last stage of extraction. Apart from the others, so that its workers load no torch."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from raymetrics.shards import schema
from raymetrics.shards.store import Store
from raymetrics.shards.writer import commit

PADDING = -1  # the sample id of rows that only fill a short shard up


class CommitShard:
    """A stage: the rows of one shard to {"rows", "made"}; made is 0 if it was there already."""

    def __init__(self, uri: str, fingerprint: str) -> None:
        self.store, self.fingerprint = Store(uri), fingerprint

    def __call__(self, rows: pa.Table) -> dict[str, list[int]]:
        real = rows.filter(pc.not_equal(rows[schema.SAMPLE_ID], PADDING))
        made = commit(self.store, real, self.fingerprint)
        return {"rows": [real.num_rows], "made": [int(made)]}
