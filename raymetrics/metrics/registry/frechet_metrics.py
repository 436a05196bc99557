"""The Frechet distances: of samples, by count, extrapolated, of class probabilities, as a ratio to
a validation set's, and divided by the memorization distance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from raymetrics import metrics
from raymetrics.errors import RaymetricsError
from raymetrics.metrics import Convention, Norm, required_statistics
from raymetrics.metrics.influences import Influences, class_shares, frechet_influences
from raymetrics.metrics.metric import Metric, MetricValue, needs_of_both_sides
from raymetrics.metrics.required_statistics import (
    AllRows,
    FeatureMoments,
    HalfMoments,
    ProbabilityMoments,
    SampleIds,
    StatisticFunction,
)
from raymetrics.output_names import CLASS_LOGITS, SPATIAL
from raymetrics.statistics import FeatureRows, Moments, NestedMoments

# Below so many real samples, the distance of two halves of them is computed too: it is all bias.
_FEW_REAL_SAMPLES = 10_000


_DISTANCES = (0.0, math.inf)  # their bounds
_HALVES = ("one half", "the other half")


def frechet_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """Compute the Frechet distance."""
    real_moments: Moments = real["moments"]
    value = metrics.frechet_distance(
        real=real_moments, generated=generated["moments"], ddof=convention.ddof
    )
    details = {}
    if _HALVES[0] in real:
        first, second = (real[name] for name in _HALVES)
        halves = metrics.frechet_distance(real=first, generated=second, ddof=convention.ddof)
        details["real_halves"] = halves
    fields = {"ddof": convention.ddof}
    return [
        MetricValue(
            "frechet_distance",
            "FD",
            value,
            "lower",
            fields,
            None,
            details,
            bounds=_DISTANCES,
            influences=lambda: frechet_influences(
                real=real_moments, generated=generated["moments"], ddof=convention.ddof
            ),
        )
    ]


def frechet_needs(
    samples: SampleIds, side: str, convention: Convention
) -> Mapping[str, StatisticFunction]:
    """Name the moments; of few real samples those of two halves too."""
    ids = samples.for_side(side)
    needs: dict[str, StatisticFunction] = {"moments": FeatureMoments()}
    enough = len(ids) >= 2 * (convention.ddof + 1)
    if side == "real" and enough and len(ids) < _FEW_REAL_SAMPLES and (np.diff(ids) > 0).all():
        needs |= {name: HalfMoments(ids, convention.seed, i) for i, name in enumerate(_HALVES)}
    return needs


def probability_distance_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """Compute the Frechet distance of class probabilities (Kynkaanniemi et al. 2023, Fig. 1)."""
    value = metrics.frechet_distance(
        real=real["probability moments"],
        generated=generated["probability moments"],
        ddof=convention.ddof,
    )
    fields = {"ddof": convention.ddof, "probabilities": "softmax of the logits"}
    return [
        MetricValue(
            "probability_distance",
            "FD of probabilities",
            value,
            "lower",
            fields,
            bounds=_DISTANCES,
            influences=lambda: frechet_influences(
                real=real["probability moments"],
                generated=generated["probability moments"],
                ddof=convention.ddof,
                transform=class_shares,
            ),
        )
    ]


NO_VALIDATION = (
    "fdr divides by the distance of a validation set, and none is given; name it with --validation "
    "SIDE, or take the published norms of ImageNet 256x256 with --validation published"
)


def frechet_ratio_values(
    real: Any,
    generated: Any,
    samples: SampleIds,
    convention: Convention,
    *,
    validation: Moments | Norm | None = None,
) -> list[MetricValue]:
    """Compute FDr, and of a published norm the range that its rounding allows.

    validation: the moments of the validation set in the same space, or a published norm.
    RaymetricsError without one.
    """
    if validation is None:
        raise RaymetricsError(NO_VALIDATION)
    distance = _distance(real, generated["moments"], convention)
    norm = (
        validation
        if isinstance(validation, Norm)
        else Norm(_distance(real, validation, convention))
    )
    fields: dict[str, Any] = {"ddof": convention.ddof, "norm": str(norm)}
    details: dict[str, Any] = {"distance": distance, "norm": norm.value}
    if norm.rounding:
        lowest, highest = norm.ratio_range(distance)
        fields["range"] = f"{lowest:.5g} to {highest:.5g}"
        details["range"] = [lowest, highest]

    def influences() -> Influences:
        of_distance = frechet_influences(
            real=real["moments"], generated=generated["moments"], ddof=convention.ddof
        )
        return {"generated": of_distance["generated"].scale(norm.ratio(1.0))}

    return [
        MetricValue(
            "frechet_ratio",
            "FDr",
            norm.ratio(distance),
            "lower",
            fields,
            None,
            details,
            bounds=_DISTANCES,
            influences=influences,
        )
    ]


def _distance(real: Mapping[str, Any], generated: Moments, convention: Convention) -> float:
    """Compute the Frechet distance of some moments from those of the real side."""
    return metrics.frechet_distance(real=real["moments"], generated=generated, ddof=convention.ddof)


def mifid_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention, *, threshold: float
) -> list[MetricValue]:
    """Compute MiFID, with both of its parts in the details."""
    distance = _distance(real, generated["moments"], convention)
    sides: list[FeatureRows] = [generated["rows"], real["rows"]]
    if convention.mifid_side == "real":
        sides.reverse()
    memorization = metrics.memorization_distance(*(side.features for side in sides))
    value = metrics.mifid(distance, memorization, threshold)
    fields = {
        "ddof": convention.ddof, "threshold": threshold,
        "neighbors_of": f"{convention.mifid_side} samples",
    }  # fmt: skip
    details = {"distance": distance, "memorization_distance": memorization}
    return [MetricValue("mifid", "MiFD", value, "lower", fields, None, details)]


def frechet_infinity_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """Compute the Frechet distance, extrapolated to infinitely many generated samples."""
    subsets: NestedMoments = generated["nested"]
    extrapolation = metrics.frechet_infinity(
        real=real["moments"], generated=subsets.moments(), ddof=convention.ddof
    )
    fields = {
        "ddof": convention.ddof,
        "points": len(extrapolation.counts),
        "seed": convention.seed,
        "draws": "nested",
    }
    details = {
        "counts": extrapolation.counts.tolist(),
        "distances": extrapolation.distances.tolist(),
    }
    return [
        MetricValue(
            "frechet_infinity", "FD-infinity", extrapolation.value, "lower", fields, None, details
        )
    ]


def frechet_infinity_needs(
    samples: SampleIds, side: str, convention: Convention
) -> Mapping[str, StatisticFunction]:
    """Name the moments of all real samples and of nested subsets of the generated ones."""
    if side == "real":
        return {"moments": FeatureMoments()}
    sizes = required_statistics.infinity_subset_sizes(len(samples.generated))
    return {"nested": required_statistics.nested_subsets(samples.generated, sizes, convention.seed)}


def _default_sample_counts(samples: SampleIds) -> list[int]:
    """Choose the sample counts at which the distance is computed.

    These are the paper's counts that both sides have, if there are at least two such counts;
    otherwise a tenth, a fifth and a half of the smaller side.
    """
    smaller_side = min(len(samples.real), len(samples.generated))
    paper_counts = [n for n in (5_000, 10_000, 50_000) if n <= smaller_side]
    return (
        paper_counts
        if len(paper_counts) > 1
        else [smaller_side // 10, smaller_side // 5, smaller_side // 2]
    )


_FID_COUNT_SEEDS = 10


def frechet_by_count_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """Compute the Frechet distance at several sample counts, over draws of both sides.

    The last value is of all real samples against draws of the largest count of generated ones,
    "All + 50k" in Kynkaanniemi et al. 2023, Fig. 8a.
    """
    names = [f"nested {seed}" for seed in range(_FID_COUNT_SEEDS)]
    real_draws, generated_draws = (
        [side[name].moments() for name in names] for side in (real, generated)
    )
    curve = metrics.frechet_by_count(
        real=[[*nested, real["moments"]] for nested in real_draws],
        generated=[[*nested, nested[-1]] for nested in generated_draws],
        ddof=convention.ddof,
    )
    counts, means, deviations = (values.tolist() for values in curve)
    both = [("real", len(samples.real)), ("generated", len(samples.generated))]
    rows = [
        _value_at_count(str(n), n, mean, std, both, convention)
        for n, mean, std in zip(counts[:-1], means[:-1], deviations[:-1], strict=True)
    ]
    n = counts[-1]
    return [
        *rows,
        _value_at_count(f"all + {n}", n, means[-1], deviations[-1], both[1:], convention),
    ]


def _value_at_count(
    name: str,
    n: int,
    mean: float,
    std: float,
    drawn: Sequence[tuple[str, int]],
    convention: Convention,
) -> MetricValue:
    """Return the distance at a count, without a deviation where a draw takes a whole side.

    drawn: the sides that are drawn from, with their numbers of samples.
    """
    drawn_sides = (
        "both sides" if len(drawn) == 2 else "the generated side, against all real samples"
    )
    fields = {
        "ddof": convention.ddof,
        "draws": f"{_FID_COUNT_SEEDS} of {drawn_sides}, without replacement",
        "seed": convention.seed,
        "samples": n,
    }
    whole = [side for side, count in drawn if count == n]
    if whole:
        fields["deviation"] = f"none: all draws of the {' and the '.join(whole)} side are one set"
    spread = None if whole else std
    return MetricValue("frechet_by_count", f"FD at {name}", mean, "lower", fields, spread)


def frechet_by_count_needs(
    samples: SampleIds, side: str, convention: Convention
) -> Mapping[str, StatisticFunction]:
    """Name nested subsets in one order for each seed, and the moments of all real samples.

    The two sides have different orders.
    """
    first_seed = 2 * convention.seed * _FID_COUNT_SEEDS + (
        _FID_COUNT_SEEDS if side == "generated" else 0
    )
    sizes = _default_sample_counts(samples)
    subsets = {
        f"nested {seed}": required_statistics.nested_subsets(
            samples.for_side(side), sizes, first_seed + seed
        )
        for seed in range(_FID_COUNT_SEEDS)
    }
    return {**subsets, "moments": FeatureMoments()} if side == "real" else subsets


def _more_than_ddof(convention: Convention, **settings: object) -> int:
    """Return the samples that a covariance takes."""
    return convention.ddof + 1


ROWS = (
    Metric(
        "fid",
        "Frechet distance; called FID only in the space that defines FID",
        compute=frechet_values,
        needs=frechet_needs,
        choices=("ddof", "seed"),
        min_samples=_more_than_ddof,
        repeats_allowed=True,
        interval="influences",
        moments_suffice=True,
        resamplings_allowed=True,
        is_default=True,
        in_sweeps=True,
        in_sweeps_by_label=True,
    ),
    Metric(
        "fid-infinity",
        "fid, extrapolated to infinitely many generated samples",
        compute=frechet_infinity_values,
        needs=frechet_infinity_needs,
        choices=("ddof", "seed"),
        min_samples=lambda convention: 150,
    ),
    Metric(
        "fid-counts",
        "fid at several sample counts, and of all real samples, over ten draws",
        compute=frechet_by_count_values,
        needs=frechet_by_count_needs,
        choices=("ddof", "seed"),
        min_samples=lambda convention: 20,
    ),
    Metric(
        "fid-probabilities",
        "fid of class probabilities, the softmax of a column of logits",
        compute=probability_distance_values,
        needs=needs_of_both_sides("probability moments", ProbabilityMoments()),
        choices=("ddof",),
        logits_outputs=CLASS_LOGITS,
        min_samples=_more_than_ddof,
        interval="influences",
        repeats_allowed=True,
        in_sweeps_by_label=True,
    ),
    Metric(
        "sfid",
        "Frechet distance, where there is a column of spatial features",
        compute=frechet_values,
        needs=needs_of_both_sides("moments", FeatureMoments()),
        requires_space=SPATIAL,
        choices=("ddof",),
        min_samples=_more_than_ddof,
        repeats_allowed=True,
        moments_suffice=True,
        interval="influences",
    ),
    Metric(
        "fdr",
        "fid as a ratio to a validation set's; several spaces with the mean",
        compute=frechet_ratio_values,
        needs=needs_of_both_sides("moments", FeatureMoments()),
        choices=("ddof",),
        min_samples=_more_than_ddof,
        repeats_allowed=True,
        moments_suffice=True,
        takes_validation=True,
        interval="influences",
    ),
    Metric(
        "mifid",
        "fid divided by the cosine distance of nearest neighbors",
        compute=mifid_values,
        needs=lambda samples, side, convention, **settings: {
            "moments": FeatureMoments(),
            "rows": AllRows(),
        },
        settings={"threshold": metrics.MIFID_THRESHOLD},
        choices=("ddof", "mifid_side"),
        min_samples=_more_than_ddof,
    ),
)
