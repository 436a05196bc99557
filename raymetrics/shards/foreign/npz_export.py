"""mu and sigma of a column as one .npz, as pytorch-fid, clean-fid and their kin read it."""

from __future__ import annotations

import numpy as np

from raymetrics.npz_files import npz_bytes
from raymetrics.provenance import canonical_json
from raymetrics.shards.schema import Column
from raymetrics.shards.view import View
from raymetrics.statistics import Moments

# The key of a text in JSON: how the features of an exported file were made.
ORIGIN_KEY = "raymetrics"


def statistics_npz(view: View, column: Column, ddof: int) -> bytes:
    """Return the file: mu float64 [d], sigma float64 [d, d], and a text in JSON that says what the
    features are, which only raymetrics reads. The same samples give the same bytes."""
    moments = Moments.empty(column.dimension)
    for shard in view.present:
        moments = moments.merge(Moments.from_samples(view.block(shard, [column.name])[column.name]))
    origin = np.array(_origin_json(view, column, ddof))
    return npz_bytes({"mu": moments.mean, "sigma": moments.covariance(ddof), ORIGIN_KEY: origin})


def _origin_json(view: View, column: Column, ddof: int) -> str:
    """Describe in JSON how the features were made."""
    spec = view.shards.spec
    return canonical_json(
        {
            "column": column.name,
            "extractor": next(e for e in spec.extractors if e["name"] == column.extractor),
            "source": spec.source,
            "fingerprint": spec.fingerprint,
            "digest": view.digest(),
            "samples": view.describe_samples(),
            "count": len(view),
            "ddof": ddof,
        }
    )
