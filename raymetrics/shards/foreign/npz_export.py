"""mu and sigma of a column as one .npz, as pytorch-fid, clean-fid and their kin read it."""

from __future__ import annotations

from typing import Any

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
    moments = fold_moments(view, column)
    origin = np.array(canonical_json(describe_origin(view, column, ddof)))
    return npz_bytes({"mu": moments.mean, "sigma": moments.covariance(ddof), ORIGIN_KEY: origin})


def fold_moments(view: View, column: Column) -> Moments:
    """Compute the moments of a column, one shard after another."""
    moments = Moments.empty(column.dimension)
    for shard in view.present:
        moments = moments.merge(Moments.from_samples(view.block(shard, [column.name])[column.name]))
    return moments


def describe_origin(view: View, column: Column, ddof: int) -> dict[str, Any]:
    """Describe how the features were made, as JSON values."""
    spec = view.shards.spec
    return {
        "column": column.name,
        "extractor": next(e for e in spec.extractors if e["name"] == column.extractor),
        "source": spec.source,
        "fingerprint": spec.fingerprint,
        "digest": view.digest(),
        "samples": view.describe_samples(),
        "count": len(view),
        "ddof": ddof,
    }
