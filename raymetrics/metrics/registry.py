"""The metrics by name: the only list of them, from which help, tables and checks are made.

To add a metric to the package, write its formula into a file of `raymetrics.metrics`, its numbers
into `metric_values`, and one row with its facts into METRICS below.

A metric of your own needs no change of the package. Where a name is expected, write
`module:callable`; see `raymetrics.metrics.user_metric` for what the callable may be.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace

from raymetrics.errors import RaymetricsError
from raymetrics.metrics import Convention
from raymetrics.metrics import metric_values as values
from raymetrics.metrics.metric import Metric
from raymetrics.metrics.prd import require_equal_counts
from raymetrics.metrics.required_statistics import (
    AllRows,
    FeatureMoments,
    NormalizedMoments,
    ProbabilityMoments,
    Top1Histogram,
)
from raymetrics.metrics.user_metric import is_user_metric, load_user_metric
from raymetrics.output_names import CLASS_LOGITS, LOGITS, SPATIAL


def _more_than_k(convention: Convention) -> int:
    """Return the samples of which each has k neighbors beside the sample."""
    return convention.ks[-1] + 1


_BALLS = ("k", "ball", "distances")  # choices of a convention
_MOMENTS = values.needs_of_both_sides("moments", FeatureMoments())
_ROWS = values.needs_of_both_sides("rows", AllRows())

METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            "fid",
            "Frechet distance; called FID only in the space that defines FID",
            compute=values.frechet_values,
            needs=values.frechet_needs,
            choices=("ddof", "seed"),
            min_samples=lambda convention: convention.ddof + 1,
            repeats_allowed=True,
            moments_suffice=True,
            resamplings_allowed=True,
            is_default=True,
            in_sweeps=True,
            in_sweeps_by_label=True,
        ),
        Metric(
            "kid",
            "kernel distance, mean and standard deviation over 100 subsets",
            compute=values.kernel_values,
            needs=values.kid_needs,
            choices=("kid_subsets", "kid_subset_size", "kid_order", "kid_generator", "seed"),
            min_samples=lambda convention: convention.kid_subset_size,
            fewer_samples_hint=" or ask for a smaller --kid-subset-size",
            repeats_allowed=True,
            resamplings_allowed=True,
            is_default=True,
        ),
        Metric(
            "pr",
            "improved precision and recall, and their F-score; exact",
            survey_values=values.precision_recall_values,
            survey=frozenset(),
            choices=_BALLS,
            min_samples=_more_than_k,
            is_default=True,
            in_sweeps=True,
            in_sweeps_by_label=True,
        ),
        Metric(
            "top1",
            "total variation between the histograms of Top-1 classes",
            compute=values.top1_values,
            needs=values.needs_of_both_sides("histogram", Top1Histogram()),
            logits_outputs=(LOGITS,),
            repeats_allowed=True,
            resamplings_allowed=True,
            is_default=True,
        ),
        Metric(
            "dc",
            "density and coverage; exact",
            survey_values=values.density_coverage_values,
            survey=frozenset({"count"}),
            choices=_BALLS,
            min_samples=_more_than_k,
            in_sweeps=True,
            in_sweeps_by_label=True,
        ),
        Metric(
            "realism",
            "share of realistic samples, the most and the least realistic ones",
            survey_values=values.realism_values,
            survey=frozenset({"realism"}),
            choices=_BALLS,
            min_samples=_more_than_k,
        ),
        Metric(
            "prd",
            "F_8 and F_1/8 of Sajjadi et al.",
            compute=values.prd_values,
            needs=_ROWS,
            choices=("seed",),
            min_samples=lambda convention: 20,  # as many as it has clusters
            require_counts=lambda real, generated: require_equal_counts(real, generated, 20),
            in_sweeps=True,  # not by label: a class may have fewer samples than there are clusters
        ),
        Metric(
            "is",
            "Inception Score",
            compute=values.inception_values,
            needs=values.inception_needs,
            logits_outputs=CLASS_LOGITS,
            choices=("is_splits", "is_split_size", "is_shuffle", "is_ddof"),
            min_samples=lambda convention: convention.is_splits,
        ),
        Metric(
            "fid-infinity",
            "fid, extrapolated to infinitely many generated samples",
            compute=values.frechet_infinity_values,
            needs=values.frechet_infinity_needs,
            choices=("ddof", "seed"),
            min_samples=lambda convention: 150,
        ),
        Metric(
            "fid-counts",
            "fid at several sample counts, and of all real samples, over ten draws",
            compute=values.frechet_by_count_values,
            needs=values.frechet_by_count_needs,
            choices=("ddof", "seed"),
            min_samples=lambda convention: 20,
        ),
        Metric(
            "fid-probabilities",
            "fid of class probabilities, the softmax of a column of logits",
            compute=values.probability_distance_values,
            needs=values.needs_of_both_sides("probability moments", ProbabilityMoments()),
            choices=("ddof",),
            logits_outputs=CLASS_LOGITS,
            min_samples=lambda convention: convention.ddof + 1,
            repeats_allowed=True,
            in_sweeps_by_label=True,
        ),
        Metric(
            "vendi",
            "Vendi score, with the real side's beside it",
            compute=values.vendi_values,
            needs=values.needs_of_both_sides("normalised moments", NormalizedMoments()),
            repeats_allowed=True,
        ),
        Metric(
            "cmmd",
            "CMMD, where there is a column of CLIP",
            compute=values.cmmd_values,
            needs=_ROWS,
            requires_space="clip",
        ),
        Metric(
            "sfid",
            "Frechet distance, where there is a column of spatial features",
            compute=values.frechet_values,
            needs=_MOMENTS,
            requires_space=SPATIAL,
            choices=("ddof",),
            min_samples=lambda convention: convention.ddof + 1,
            repeats_allowed=True,
            moments_suffice=True,
        ),
    )
}
DEFAULT_METRICS = tuple(metric.name for metric in METRICS.values() if metric.is_default)


# Other names that users write, in lower case.
ALIASES = {
    "fd": "fid", "kd": "kid", "precision": "pr", "recall": "pr", "prc": "pr", "f-score": "pr",
    "density": "dc", "coverage": "dc", "prdc": "dc", "inception-score": "is", "isc": "is",
    "top-1": "top1",
}  # fmt: skip


def find_metric(name: str) -> Metric:
    """Return the metric of a name, or the user's own one of `module:callable?option=value`.

    Names may be written in capitals, and there are ALIASES. A name of METRICS may be bound to an
    extractor or a column: "pr:vgg16". RaymetricsError if there is no such metric, MetricError if
    the user's code cannot be loaded.
    """
    head, colon, space = (part.strip() for part in name.partition(":"))
    plain = head.lower().replace("_", "-")
    plain = ALIASES.get(plain, plain)
    if plain in METRICS and (space or not colon):
        return replace(METRICS[plain], space=space) if colon else METRICS[plain]
    if is_user_metric(name):
        return load_user_metric(name)
    near = difflib.get_close_matches(plain, [*METRICS, *ALIASES], 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise RaymetricsError(
        f"no metric {name!r}{hint}; there are {', '.join(METRICS)}, and module:callable; of one "
        "feature space: pr:vgg16"
    )


def find_metrics(names: Sequence[str]) -> list[Metric]:
    """Return the metrics of these names in their order, each once.

    RaymetricsError if there is no name, or no metric of a name.
    """
    if not names:
        raise RaymetricsError(f"no metrics are asked for; there are {', '.join(METRICS)}")
    metrics = [find_metric(name) for name in names]
    return list({metric.text: metric for metric in metrics}.values())


def help_lines() -> str:
    """Return one line for every metric, with its name and its summary, for --help."""
    width = max(map(len, METRICS)) + 2  # of the first column
    lines = [f"{metric.name:{width}}{metric.summary}" for metric in METRICS.values()]
    return "\n".join([*lines, f"{'module:name':{width}}a metric of your own, see below"])


def markdown_table() -> str:
    """Return the table of all metrics for the documentation, as Markdown."""
    rows = [
        f"| `{metric.name}` | {metric.summary} | {metric.column_kind} | "
        f"{'yes' if metric.repeats_allowed else 'no'} |"
        for metric in METRICS.values()
    ]
    head = ["| metric | what it is | takes a column of | repeated samples |", "|---|---|---|---|"]
    return "\n".join([*head, *rows])
