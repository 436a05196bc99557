"""The metrics that tell copies of training samples from new samples."""

from __future__ import annotations

from raymetrics import metrics
from raymetrics.metrics import Convention, NearestTraining
from raymetrics.metrics.metric import Metric, MetricValue
from raymetrics.metrics.required_statistics import SampleIds

_FLD_OFFSET = 50.0  # percent, of data that is neither copied nor far from the training set


def auth_pct_values(
    nearest: NearestTraining, samples: SampleIds, convention: Convention, program: str
) -> list[MetricValue]:
    """Compute AuthPct; of `program` fld, which subtracts 50 from it.

    fld also draws 10,000 samples of each side at random: choose them with --samples and
    --random-ids.
    """
    offset = _FLD_OFFSET if program == "fld" else 0.0
    value = metrics.auth_pct(nearest) - offset
    fields = {"real": "training set", "equal distances": "not authentic"}
    if offset:
        fields |= {"subtracted": f"{offset:g}", "as": program}
    details = {"copies": int((nearest.distances == 0).sum())}
    return [MetricValue("auth_pct", "AuthPct", value, "higher", fields, None, details)]


ROWS: tuple[Metric, ...] = (
    Metric(
        "auth-pct",
        "percentage of samples that copy no training (real) sample",
        nearest_values=auth_pct_values,
        settings={"program": ("dgm-eval", "fld")},
        min_samples=lambda convention, **settings: (
            2
        ),  # a training sample, and its nearest other one
    ),
)
