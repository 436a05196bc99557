"""Lay out numbers for the page: what each means, what stands beside it, and its figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from raymetrics.reports.figures import Line, line_chart
from raymetrics.reports.terminal import describe_interval, format_convention, format_value
from raymetrics.results import Result

# What a number says, in one line.
_MEANINGS = {
    "frechet_distance": "how far means and covariances of both sides are apart; 0 for equal ones",
    "probability_distance": "the same of class probabilities, the softmax of the logits",
    "frechet_infinity": "the same, extrapolated to infinitely many generated samples",
    "frechet_by_count": "the same, of fewer samples of both sides",
    "kernel_distance": "how far the sides are apart in all moments to the third; about 0 if equal",
    "precision": "the share of generated samples that lie among the real ones: fidelity",
    "recall": "the share of real samples that lie among the generated ones: variety",
    "f_score": "the harmonic mean of precision and recall",
    "density": "how many real neighbourhoods hold a generated sample, on average: fidelity",
    "coverage": "the share of real samples with a generated one near them: variety",
    "realistic": "the share of generated samples inside of a real neighbourhood, R at least 1",
    "realism_median": "the realism of the middle sample; above 1 it is inside of a neighbourhood",
    "prd_f_8": "recall by clusters (Sajjadi et al.)",
    "prd_f_1_8": "precision by clusters (Sajjadi et al.)",
    "inception_score": "how certain and how varied the classes are; compare with the real side's",
    "vendi_score": "how many different samples there are in effect; compare with the real side's",
    "clipped_density": "about the share of good generated samples: fidelity, robust to outliers",
    "clipped_coverage": "the share of good samples that would cover as much: variety",
    "symmetric_precision": "the lesser of precision and the share of generated balls that hold any",
    "symmetric_recall": "the lesser of recall and coverage",
    "probabilistic_precision": "how probably a generated sample lies among the real ones",
    "probabilistic_recall": "how probably a real sample lies among the generated ones",
    "precision_cover": "the share of generated balls that hold enough real samples: fidelity",
    "recall_cover": "the share of real balls that hold enough generated samples: variety",
    "pr_curve_f_8": "recall by nearest-neighbor classifiers (Sykes et al.)",
    "pr_curve_f_1_8": "precision by nearest-neighbor classifiers (Sykes et al.)",
    "log_density": "how densely the real samples lie; a fact of the reference",
    "effective_rank": "in how many directions the real samples spread; a fact of the reference",
    "rke": "how many modes there are in effect; compare with the real side's",
    "rrke": "how far the sides are apart by a kernel; 0 if equal",
    "top1_distance": "how far the shares of classes are apart; 0 if equal, 1 if no class is shared",
    "auth_pct": "the percentage of samples that are no copies of training samples",
    "mind": "how far the sides are apart along random directions; equal moments do not suffice",
    "sliced_wasserstein": "how far the sides are apart along random directions",
    "kad": "how far the sides are apart, by a Gaussian kernel; it may be below 0",
    "frechet_ratio": "the distance in units of a validation set's; 1 is as near as real samples",
    "frechet_ratio_mean": "the mean of the ratios of all spaces",
    "mifid": "the distance, many times as large if samples are near to copies of the other side",
    "jedi": "how far the sides are apart in their second moments",
    "cmmd": "how far the sides are apart in CLIP's space, by a Gaussian kernel",
    "score": "the mean of a score of each generated image, or of each image and its prompt",
    "clip_score": "how well images fit to their prompts, by the cosines of CLIP's embeddings",
    "aesthetic_score": "how pleasing the images are to LAION's predictor, from about 1 to 10",
}
_STANDARD_ERROR = "± is the standard error of the mean"
_MEANINGS_OVER_LABELS = {
    "_label_mean": "the mean over the labels",
    "_worst_label": "the worst of the labels",
}
_SPREADS = {
    "kernel_distance": "± is the deviation over the subsets, not an error of the mean",
    "inception_score": "± is the deviation over the splits",
    "frechet_by_count": "± is the deviation over the draws",
    "score": _STANDARD_ERROR,
    "clip_score": _STANDARD_ERROR,
    "aesthetic_score": _STANDARD_ERROR,
}


@dataclass(frozen=True)
class NumberCard:
    """A number on the page. figure: SVG, "" for none."""

    result: Result
    title: str
    value: str
    meaning: str
    convention: str
    notes: list[str] = field(default_factory=list)
    figure: str = ""


def make_cards(results: Sequence[Result]) -> list[NumberCard]:
    """Return a card for each number of one space; several k stand in the titles."""
    ks = {result.convention.get("k") for result in results if "k" in result.convention}
    return [_make_card(result, with_k=len(ks) > 1) for result in results]


def _make_card(result: Result, *, with_k: bool) -> NumberCard:
    k = result.convention.get("k")
    title = f"{result.label}, k = {k}" if with_k and k is not None else result.label
    draw = _FIGURES.get(result.metric)
    notes = [*_notes_of(result)]
    return NumberCard(
        result,
        title,
        format_value(result.value, result.spread, result.interval),
        _meaning(result.metric),
        format_convention(result),
        notes,
        draw(result) if draw is not None and result.details else "",
    )


def _meaning(metric: str) -> str:
    """Return what a number says; of a number over labels what it is of the labels' numbers."""
    for ending, of_labels in _MEANINGS_OVER_LABELS.items():
        if metric.endswith(ending):
            return f"{of_labels}: {_MEANINGS.get(metric.removesuffix(ending), '')}".rstrip(": ")
    return _MEANINGS.get(metric, "")


def _notes_of(result: Result) -> list[str]:
    """Return what stands beside a number: the real side's own, and what the spread is."""
    notes = []
    real = result.details.get("real")
    if isinstance(real, Mapping):  # of the Inception Score, and of scores
        spread = real.get("std", real.get("standard_error"))
        notes.append(f"the real side's own: {format_value(real['mean'], spread)}")
    elif isinstance(real, int | float):
        notes.append(f"the real side's own: {format_value(real)}")
    halves = result.details.get("real_halves")
    if isinstance(halves, int | float):
        text = format_value(halves)
        notes.append(f"two halves of the real samples: {text}, all of it bias of half the count")
    if result.spread is not None:
        default = "± is one standard deviation"
        over_labels = "± is the deviation over the labels"
        is_mean = result.metric.endswith("_label_mean")
        notes.append(over_labels if is_mean else _SPREADS.get(result.metric, default))
    if result.interval:
        notes.append(f"[low, high]: {describe_interval(result)}")
    return notes


def _draw_prd(result: Result) -> str:
    """Draw the curve of precision over recall (Sajjadi et al. 2018, Fig. 1)."""
    precision, recall = (result.details.get(name) for name in ("precision", "recall"))
    if not precision or not recall:
        return ""
    curve = Line("", recall, precision, 1, marker="", size=0)
    return line_chart([curve], "recall", "precision", from_zero=True)


def _draw_extrapolation(result: Result) -> str:
    """Draw the distances over 1 / samples with the line to infinitely many (Chong & Forsyth)."""
    counts, distances = (result.details.get(name) for name in ("counts", "distances"))
    if not counts or not distances:
        return ""
    inverse = [1e3 / count for count in counts]
    points = Line("distances", inverse, distances, 1, marker="o", stroke="")
    far = max(inverse)
    slope = (sum(distances) / len(distances) - result.value) / (sum(inverse) / len(inverse))
    fit = Line("fit", [0, far], [result.value, result.value + slope * far], 0, marker="")
    return line_chart([points, fit], "1000 / generated samples", "distance")


_FIGURES: Mapping[str, Callable[[Result], str]] = {
    "prd_f_8": _draw_prd,
    "frechet_infinity": _draw_extrapolation,
}
