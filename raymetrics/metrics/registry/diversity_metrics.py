"""The metrics of variety: of one side with the other's beside it, and of both together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from raymetrics import metrics
from raymetrics.errors import RaymetricsError
from raymetrics.metrics import Convention
from raymetrics.metrics.influences import Influences, vendi_influence
from raymetrics.metrics.metric import Metric, MetricValue, needs_of_both_sides
from raymetrics.metrics.required_statistics import (
    AllRows,
    NormalizedMoments,
    SampleIds,
    SelectedRows,
    StatisticFunction,
)


def vendi_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention, *, order: float
) -> list[MetricValue]:
    """Compute the Vendi score of the generated side; the details hold the real side's."""
    generated_score, real_score = (
        metrics.vendi_score(side["normalised moments"], order) for side in (generated, real)
    )
    # JSON has no infinity.
    written = "inf" if np.isinf(order) else int(order) if order == int(order) else order
    name = "Vendi" if order == 1 else f"Vendi, order {written}"
    fields = {"kernel": "cosine", "order": written}

    def influences() -> Influences:
        moments = generated["normalised moments"]
        return {"generated": vendi_influence(moments, generated_score, order)}

    return [
        MetricValue(
            "vendi_score",
            name,
            generated_score,
            "higher",
            fields,
            None,
            {"real": real_score},
            bounds=(1.0, math.inf),
            influences=influences if 0 < order < math.inf else None,
        )
    ]


def rke_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention, *, sigma: float
) -> list[MetricValue]:
    """Compute the RKE mode count of the generated side; the details hold the real side's."""
    generated_count, real_count = (
        metrics.gaussian_mode_count(side["rows"].features, sigma)
        if sigma
        else metrics.vendi_score(side["normalised moments"], 2)
        for side in (generated, real)
    )
    details = {"real": real_count}
    fields = {**kernel_fields(sigma), "order": 2}

    def influences() -> Influences:
        return {"generated": vendi_influence(generated["normalised moments"], generated_count, 2)}

    return [
        MetricValue(
            "rke",
            "RKE modes",
            generated_count,
            "higher",
            fields,
            None,
            details,
            bounds=(1.0, math.inf),
            influences=None if sigma else influences,
        )
    ]


def rke_needs(
    samples: SampleIds, side: str, convention: Convention, *, sigma: float
) -> Mapping[str, StatisticFunction]:
    """Name the moments of directions for cosines, and all rows for a Gaussian kernel."""
    return {"rows": AllRows()} if sigma else {"normalised moments": NormalizedMoments()}


def kernel_fields(sigma: float) -> dict[str, Any]:
    """Return what a result says of its kernel."""
    return {"kernel": "gaussian", "sigma": sigma} if sigma else {"kernel": "cosine"}


def rrke_values(
    real: Any,
    generated: Any,
    samples: SampleIds,
    convention: Convention,
    *,
    sigma: float,
    count: int,
) -> list[MetricValue]:
    """Compute the relative entropy of the sides."""
    if count:
        x, y = (side["rows"].features for side in (real, generated))
        kernel = metrics.gaussian_kernel(x, y, sigma) if sigma else metrics.cosine_kernel(x, y)
        value = metrics.relative_entropy(kernel)
    else:
        value = metrics.relative_cosine_entropy(
            real=real["normalised moments"], generated=generated["normalised moments"]
        )
    chosen = f"the first {count} of each side" if count else "all"
    fields = {**kernel_fields(sigma), "order": 0.5, "of": chosen}
    return [MetricValue("rrke", "RRKE", value, "lower", fields)]


def rrke_needs(
    samples: SampleIds, side: str, convention: Convention, *, sigma: float, count: int
) -> Mapping[str, StatisticFunction]:
    """Name the first rows by id, or the moments of the directions of all."""
    if not count:
        return {"normalised moments": NormalizedMoments()}
    return {"rows": SelectedRows(samples.for_side(side)[:count])}


def require_kernel(*, sigma: float, count: int = 1) -> None:
    """Raise RaymetricsError for a width or a count that makes no sense."""
    if not 0 <= sigma < np.inf:
        raise RaymetricsError(f"sigma is {sigma}, expected a number from 0, which means cosines")
    if count < 0:
        raise RaymetricsError(f"count is {count}, expected a number from 0, which means all")
    if sigma and not count:
        raise RaymetricsError(
            "RRKE of all samples takes cosines, as a Gaussian kernel would hold all pairs; leave "
            "sigma out, or ask for a count: rrke?sigma=1&count=500"
        )


ROWS = (
    Metric(
        "vendi",
        "Vendi score, with the real side's beside it",
        compute=vendi_values,
        needs=needs_of_both_sides("normalised moments", NormalizedMoments()),
        settings={"order": 1.0},
        require_settings=metrics.require_order,
        repeats_allowed=True,
        interval="influences",
    ),
    Metric(
        "rke",
        "RKE mode count, with the real side's beside it",
        compute=rke_values,
        needs=rke_needs,
        settings={"sigma": 0.0},
        require_settings=require_kernel,
        interval="influences",
    ),
    Metric(
        "rrke",
        "relative Renyi kernel entropy of the sides",
        compute=rrke_values,
        needs=rrke_needs,
        settings={"sigma": 0.0, "count": 500},
        require_settings=require_kernel,
        min_samples=lambda convention, sigma, count: max(count, 1),
        fewer_samples_hint=" or ask for fewer: rrke?count=100",
    ),
)
