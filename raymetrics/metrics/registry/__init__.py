"""The metrics by name: the only list of them, from which help, tables and checks are made.

To add a metric to the package, write its formula into a file of `raymetrics.metrics`, and its
numbers and one row with its facts into the file of its family in this folder.

A metric of your own needs no change of the package. Where a name is expected, write
`module:callable`; see `raymetrics.metrics.user_metric` for what the callable may be.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace

from raymetrics.errors import RaymetricsError
from raymetrics.metrics.metric import Metric
from raymetrics.metrics.registry import (
    class_metrics,
    diversity_metrics,
    frechet_metrics,
    kernel_metrics,
    manifold_metrics,
    memorization_metrics,
    sliced_metrics,
    text_metrics,
)
from raymetrics.metrics.user_metric import is_user_metric, load_user_metric
from raymetrics.option_strings import parse_options

METRICS = {
    metric.name: metric.with_settings({})
    for family in (
        frechet_metrics,
        kernel_metrics,
        manifold_metrics,
        class_metrics,
        diversity_metrics,
        sliced_metrics,
        memorization_metrics,
        text_metrics,
    )
    for metric in family.ROWS
}
DEFAULT_METRICS = tuple(metric.name for metric in METRICS.values() if metric.is_default)


# Other names that users write, in lower case. KDD is the kernel distance in DINOv2's features.
ALIASES = {
    "fd": "fid", "kd": "kid", "kdd": "kid:dinov2", "precision": "pr", "recall": "pr", "prc": "pr",
    "f-score": "pr", "density": "dc", "coverage": "dc", "prdc": "dc", "inception-score": "is",
    "isc": "is", "top-1": "top1",
}  # fmt: skip


def find_metric(name: str) -> Metric:
    """Return the metric of a name, or the user's own one of `module:callable?option=value`.

    Names may be written in capitals, and there are ALIASES. A name of METRICS may be bound to an
    extractor or a column, "pr:vgg16", and have settings, "vendi?order=2". RaymetricsError if there
    is no such metric or setting, MetricError if the user's code cannot be loaded.
    """
    named, chosen = parse_options(name)
    bound = ALIASES.get(named.strip().lower(), named)
    head, colon, space = (part.strip() for part in bound.partition(":"))
    plain = head.lower().replace("_", "-")
    plain = ALIASES.get(plain, plain)
    if plain in METRICS and (space or not colon):
        metric = METRICS[plain].with_settings(chosen) if chosen else METRICS[plain]
        return replace(metric, space=space) if colon else metric
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
