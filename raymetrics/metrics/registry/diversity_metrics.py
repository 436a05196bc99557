"""The metrics of one side's variety, with the other side's beside it."""

from __future__ import annotations

import math
from typing import Any

from raymetrics import metrics
from raymetrics.metrics import Convention
from raymetrics.metrics.influences import vendi_influence
from raymetrics.metrics.metric import Metric, MetricValue, needs_of_both_sides
from raymetrics.metrics.required_statistics import (
    NormalizedMoments,
    SampleIds,
)


def vendi_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """Compute the Vendi score of the generated side; the details hold the real side's."""
    generated_score, real_score = (
        metrics.vendi_score(side["normalised moments"]) for side in (generated, real)
    )
    fields = {"kernel": "cosine", "order": 1}
    return [
        MetricValue(
            "vendi_score",
            "Vendi",
            generated_score,
            "higher",
            fields,
            None,
            {"real": real_score},
            bounds=(1.0, math.inf),
            influences=lambda: {
                "generated": vendi_influence(generated["normalised moments"], generated_score)
            },
        )
    ]


ROWS = (
    Metric(
        "vendi",
        "Vendi score, with the real side's beside it",
        compute=vendi_values,
        needs=needs_of_both_sides("normalised moments", NormalizedMoments()),
        repeats_allowed=True,
        interval="influences",
    ),
)
