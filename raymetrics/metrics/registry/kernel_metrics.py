"""The kernel distances: squared maximum mean discrepancies (MMD)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from raymetrics import metrics
from raymetrics.metrics import Convention, required_statistics
from raymetrics.metrics.influences import Influences, influence_rows
from raymetrics.metrics.metric import Metric, MetricValue, needs_of_both_sides
from raymetrics.metrics.required_statistics import (
    AllRows,
    SampleIds,
    StatisticFunction,
)
from raymetrics.statistics import FeatureRows


def kernel_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """Compute the kernel distance over the rows that its subsets draw."""
    sides: list[FeatureRows] = [real["drawn"], generated["drawn"]]

    def select_features(rows: np.ndarray, side: int) -> np.ndarray:
        ids = (samples.real, samples.generated)[side][rows]
        return sides[side].features[np.searchsorted(sides[side].sample_ids, ids)]

    distance = metrics.kernel_distance_over_subsets(
        (select_features(x, 0), select_features(y, 1))
        for x, y in required_statistics.kid_subsets(samples, convention)
    )
    fields = {
        "subsets": convention.kid_subsets,
        "subset_size": convention.kid_subset_size,
        "seed": convention.seed,
        "draws": f"{convention.kid_order}, {convention.kid_generator}",
        "kernel": "(x.y/d + 1)^3",
        "estimate": "unbiased",
    }

    def influences() -> Influences:
        parts = metrics.kernel_distance_parts(
            required_statistics.kid_subsets(samples, convention),
            select_features,
            (len(samples.real), len(samples.generated)),
        )
        return {
            side: influence_rows(samples.for_side(side), len(part) * part)
            for side, part in zip(("real", "generated"), parts, strict=True)
        }

    return [
        MetricValue(
            "kernel_distance",
            "KD",
            distance.mean,
            "lower",
            fields,
            spread=distance.std,
            influences=influences,
        )
    ]


def kid_needs(
    samples: SampleIds, side: str, convention: Convention
) -> Mapping[str, StatisticFunction]:
    """Name the rows that KID draws."""
    return {"drawn": required_statistics.kid_rows(samples, side, convention)}


def cmmd_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """Compute CMMD."""
    value = metrics.cmmd(real=real["rows"].features, generated=generated["rows"].features)
    fields = {"sigma": 10, "scale": 1000, "estimate": "biased"}

    def influences() -> Influences:
        sides = {"real": real["rows"], "generated": generated["rows"]}
        parts = metrics.cmmd_influences(**{side: rows.features for side, rows in sides.items()})
        return {
            side: influence_rows(rows.sample_ids, part)
            for (side, rows), part in zip(sides.items(), parts, strict=True)
        }

    return [
        MetricValue(
            "cmmd", "CMMD", value, "lower", fields, bounds=(0.0, math.inf), influences=influences
        )
    ]


ROWS = (
    Metric(
        "kid",
        "kernel distance, mean and standard deviation over 100 subsets",
        compute=kernel_values,
        needs=kid_needs,
        choices=("kid_subsets", "kid_subset_size", "kid_order", "kid_generator", "seed"),
        min_samples=lambda convention: convention.kid_subset_size,
        fewer_samples_hint=" or ask for a smaller --kid-subset-size",
        repeats_allowed=True,
        resamplings_allowed=True,
        interval="influences",
        is_default=True,
    ),
    Metric(
        "cmmd",
        "CMMD, where there is a column of CLIP",
        compute=cmmd_values,
        needs=needs_of_both_sides("rows", AllRows()),
        requires_space="clip",
        interval="influences",
    ),
)
