"""The kernel distances: squared maximum mean discrepancies (MMD)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from raymetrics import metrics
from raymetrics.metrics import (
    CMMDBandwidth,
    CMMDLengths,
    Convention,
    KADBandwidth,
    required_statistics,
)
from raymetrics.metrics.influences import Influences, influence_rows
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

    def selector(side: str, drawn: FeatureRows) -> Callable[[np.ndarray], np.ndarray]:
        ids = samples.for_side(side)
        return lambda rows: drawn.features[np.searchsorted(drawn.sample_ids, ids[rows])]

    selectors = selector("real", real["drawn"]), selector("generated", generated["drawn"])
    draws = required_statistics.kid_subsets(samples, convention)
    distance = metrics.kernel_distance_of_draws(*selectors, draws, convention.kid_estimator)
    fields = {
        "subsets": convention.kid_subsets,
        "subset_size": convention.kid_subset_size,
        "seed": convention.seed,
        "draws": f"{convention.kid_order}, {convention.kid_generator}",
        "kernel": "(x.y/d + 1)^3",
        "estimate": convention.kid_estimator,
    }
    name = "KD" if convention.kid_estimator == "unbiased" else f"KD ({convention.kid_estimator})"

    def influences() -> Influences:
        parts = metrics.kernel_distance_parts(
            *selectors,
            draws,
            (len(samples.real), len(samples.generated)),
            convention.kid_estimator,
        )
        return {
            side: influence_rows(samples.for_side(side), len(part) * part)
            for side, part in zip(("real", "generated"), parts, strict=True)
        }

    return [
        MetricValue(
            "kernel_distance",
            name,
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
    real: Any,
    generated: Any,
    samples: SampleIds,
    convention: Convention,
    *,
    bandwidth: CMMDBandwidth,
    lengths: CMMDLengths,
) -> list[MetricValue]:
    """Compute CMMD."""
    value = metrics.cmmd(
        real=real["rows"].features,
        generated=generated["rows"].features,
        bandwidth=bandwidth,
        lengths=lengths,
    )
    fields = {"sigma": 10, "scale": 1000, "estimate": "biased", "lengths": lengths}
    if bandwidth == "median":  # which moves with the samples, so that there is no interval
        fields["sigma"] = "median of both sides"
        return [MetricValue("cmmd", "CMMD (median)", value, "lower", fields)]

    def influences() -> Influences:
        sides: dict[str, FeatureRows] = {"real": real["rows"], "generated": generated["rows"]}
        parts = metrics.cmmd_influences(
            real=sides["real"].features, generated=sides["generated"].features, lengths=lengths
        )
        return {
            side: influence_rows(rows.sample_ids, part)
            for (side, rows), part in zip(sides.items(), parts, strict=True)
        }

    return [
        MetricValue(
            "cmmd", "CMMD", value, "lower", fields, bounds=(0.0, math.inf), influences=influences
        )
    ]


def kad_values(
    real: Any,
    generated: Any,
    samples: SampleIds,
    convention: Convention,
    *,
    bandwidth: KADBandwidth,
) -> list[MetricValue]:
    """Compute KAD."""
    value = metrics.kad(
        real=real["rows"].features, generated=generated["rows"].features, bandwidth=bandwidth
    )
    fields = {"sigma": f"median of the {bandwidth} side", "scale": 100, "estimate": "unbiased"}
    short_name = "KAD" if bandwidth == "real" else "KAD (generated)"
    return [MetricValue("kad", short_name, value, "lower", fields)]


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
        choices=(
            "kid_subsets",
            "kid_subset_size",
            "kid_order",
            "kid_generator",
            "kid_estimator",
            "seed",
        ),
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
        settings={"bandwidth": ("10", "median"), "lengths": ("unit", "kept")},
        requires_space="clip",
        interval="influences",
    ),
    Metric(
        "kad",
        "KAD: Gaussian kernel, as wide as the real median distance",
        compute=kad_values,
        needs=needs_of_both_sides("rows", AllRows()),
        settings={"bandwidth": ("real", "generated")},
        min_samples=lambda convention, **settings: 2,
    ),
    Metric(
        "jedi",
        "kernel distance with (x.y/d)^2, as of V-JEPA features of clips",
        compute=jedi_values,
        needs=needs_of_both_sides("moments", FeatureMoments()),
        repeats_allowed=True,
        interval="groups",
    ),
)
