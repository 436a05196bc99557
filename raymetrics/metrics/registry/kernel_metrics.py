"""The kernel distances: squared maximum mean discrepancies (MMD)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from raymetrics import metrics
from raymetrics.metrics import Convention, required_statistics
from raymetrics.metrics.metric import Metric, MetricValue, needs_of_both_sides
from raymetrics.metrics.required_statistics import (
    AllRows,
    FeatureMoments,
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
    return [
        MetricValue("kernel_distance", "KD", distance.mean, "lower", fields, spread=distance.std)
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
    return [
        MetricValue(
            "cmmd", "CMMD", value, "lower", {"sigma": 10, "scale": 1000, "estimate": "biased"}
        )
    ]


def jedi_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """Compute JEDi."""
    value = metrics.jedi(real=real["moments"], generated=generated["moments"])
    fields = {"kernel": "(x.y/d)^2", "scale": 100, "estimate": "biased"}
    return [MetricValue("jedi", "JEDi", value, "lower", fields)]


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
        is_default=True,
    ),
    Metric(
        "cmmd",
        "CMMD, where there is a column of CLIP",
        compute=cmmd_values,
        needs=needs_of_both_sides("rows", AllRows()),
        requires_space="clip",
    ),
    Metric(
        "jedi",
        "kernel distance with (x.y/d)^2, as of V-JEPA features of clips",
        compute=jedi_values,
        needs=needs_of_both_sides("moments", FeatureMoments()),
        repeats_allowed=True,
    ),
)
