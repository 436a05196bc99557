"""The metrics of classes: of the Top-1 histogram, and of class probabilities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from raymetrics import metrics
from raymetrics.metrics import Convention, required_statistics
from raymetrics.metrics.influences import inception_influence, top1_influences
from raymetrics.metrics.metric import Metric, MetricValue, needs_of_both_sides
from raymetrics.metrics.required_statistics import (
    SampleIds,
    StatisticFunction,
    Top1Histogram,
)
from raymetrics.output_names import CLASS_LOGITS, LOGITS
from raymetrics.statistics import ClassScores, Histogram


def top1_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """Compute the total variation between Top-1 histograms, with both in the details."""
    histograms: dict[str, Histogram] = {
        "real": real["histogram"],
        "generated": generated["histogram"],
    }
    value = metrics.total_variation(**histograms)
    details = {side: histogram.counts.tolist() for side, histogram in histograms.items()}
    fields = {"distance": "total variation", "ties": "first class"}
    return [
        MetricValue(
            "top1_distance",
            "Top-1 distance",
            value,
            "lower",
            fields,
            None,
            details,
            bounds=(0.0, 1.0),
            influences=lambda: top1_influences(**histograms),
        )
    ]


def inception_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """Compute the Inception Score of the generated side; the details hold the real side's."""
    scores: list[ClassScores] = [side["class scores"] for side in (generated, real)]
    generated_score, real_score = (
        metrics.inception_score(side, convention.is_ddof) for side in scores
    )
    size = convention.is_split_size
    parts = {"splits": convention.is_splits} if size is None else {"split_size": size}
    fields = {**parts, "shuffled": convention.is_shuffle}
    details = {"real": {"mean": real_score.mean, "std": real_score.std}}
    ids = samples.generated
    return [
        MetricValue(
            "inception_score",
            "Inception Score",
            generated_score.mean,
            "higher",
            fields,
            generated_score.std,
            details,
            bounds=(1.0, math.inf),
            influences=lambda: {
                "generated": inception_influence(
                    scores[0], ids, required_statistics.inception_splits(len(ids), convention)
                )
            },
        )
    ]


def inception_needs(
    samples: SampleIds, side: str, convention: Convention
) -> Mapping[str, StatisticFunction]:
    """Name the class scores by split."""
    return {"class scores": required_statistics.split_class_scores(samples, side, convention)}


ROWS = (
    Metric(
        "top1",
        "total variation between the histograms of Top-1 classes",
        compute=top1_values,
        needs=needs_of_both_sides("histogram", Top1Histogram()),
        logits_outputs=(LOGITS,),
        repeats_allowed=True,
        resamplings_allowed=True,
        interval="influences",
        is_default=True,
    ),
    Metric(
        "is",
        "Inception Score",
        compute=inception_values,
        needs=inception_needs,
        logits_outputs=CLASS_LOGITS,
        choices=("is_splits", "is_split_size", "is_shuffle", "is_ddof"),
        min_samples=lambda convention: convention.is_splits,
        interval="influences",
    ),
)
