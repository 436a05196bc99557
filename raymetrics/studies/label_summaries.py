"""The mean of a number over the labels, and its worst label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from raymetrics.results import Result, Side
from raymetrics.studies.subsets import SIDES

MEAN, WORST = "label_mean", "worst_label"  # with which the names of such metrics end


def summarize_labels(results: Sequence[Result]) -> list[Result]:
    """Return for every number by label its mean over the labels, and the worst label's; of labels
    that are two at least.

    The spread of a mean is the standard deviation over the labels, with ddof 1.
    """
    by_measure: dict[tuple[object, ...], list[Result]] = {}
    for result in results:
        key = (result.metric, result.measure_name, result.convention.get("k"))
        by_measure.setdefault(key, []).append(result)
    return [
        summary
        for of_labels in by_measure.values()
        if len(of_labels) > 1
        for summary in (_mean_result(of_labels), _worst_result(of_labels))
    ]


def _mean_result(of_labels: Sequence[Result]) -> Result:
    """Return the mean over the labels; its details hold the value of each."""
    values = [result.value for result in of_labels]
    return _summary(
        of_labels,
        MEAN,
        f"label-mean {of_labels[0].short_name}",
        value=float(np.mean(values)),
        spread=float(np.std(values, ddof=1)),
        details={"values": {str(r.subset["label"]): r.value for r in of_labels}},
    )


def _worst_result(of_labels: Sequence[Result]) -> Result:
    """Return the number of the worst label, which is named; of equal ones the first."""
    pick = max if of_labels[0].better == "lower" else min
    worst = pick(of_labels, key=lambda result: result.value)
    label, name = worst.subset["label"], worst.subset["name"]
    summary = _summary(
        of_labels,
        WORST,
        f"worst-label {worst.short_name}",
        value=worst.value,
        spread=worst.spread,
        details={
            "label": label,
            "name": name,
            "count": {s: getattr(worst, s).count for s in SIDES},
        },
    )
    title = str(label) if name == str(label) else f"{label} ({name})"
    return replace(summary, label=f"{summary.label}: {title}")


def _summary(
    of_labels: Sequence[Result],
    kind: str,
    short_name: str,
    *,
    value: float,
    spread: float | None,
    details: dict[str, Any],
) -> Result:
    """Return a number of the samples of all labels together."""
    first = of_labels[0]
    fields = {k: v for k, v in first.convention.items() if k != "label"}
    sides = {s: _joined_side([getattr(result, s) for result in of_labels]) for s in SIDES}
    return replace(
        first,
        **sides,  # type: ignore[arg-type]
        metric=f"{first.metric}_{kind}",
        short_name=short_name,
        label=" ".join(filter(None, (short_name, first.space_name))),
        value=value,
        spread=spread,
        convention={**fields, "labels": len(of_labels)},
        details=details,
        subset={"labels": len(of_labels)},
        interval={},
        errors={},
        seconds=sum(result.seconds for result in of_labels),
        warnings=(),
    )


def _joined_side(sides: Sequence[Side]) -> Side:
    """Return the side of several labels, with the count of their samples together."""
    return replace(sides[0], count=sum(side.count or 0 for side in sides))
