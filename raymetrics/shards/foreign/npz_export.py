"""mu and sigma of a column as one .npz, as pytorch-fid, clean-fid and their kin read it."""

from __future__ import annotations

import io

import numpy as np

from raymetrics.provenance import canonical_json
from raymetrics.shards.schema import Column
from raymetrics.shards.view import View
from raymetrics.statistics import Moments


def npz_bytes(view: View, column: Column, ddof: int) -> bytes:
    """The file: mu float64 [d], sigma float64 [d, d], and a text in JSON that says what the
    features are, which only raymetrics reads. The same samples give the same bytes."""
    moments = Moments.empty(column.dimension)
    for shard in view.present:
        moments = moments.merge(Moments.from_samples(view.block(shard, [column.name])[column.name]))
    buffer = io.BytesIO()
    sigma = moments.covariance(ddof)
    # The third is what `reference.MADE_OF` names.
    np.savez(
        buffer, mu=moments.mean, sigma=sigma, raymetrics=np.array(_origin_json(view, column, ddof))
    )
    return buffer.getvalue()


def _origin_json(view: View, column: Column, ddof: int) -> str:
    """How the features were made, in JSON."""
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
