"""The command that computes the results of a comparison again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from raymetrics.results import Result
from raymetrics.shards.view import CHOSEN_AT_RANDOM

# The name by which `evaluate` computes a number, by what the number is called in results.
METRIC_NAMES = {
    "frechet_distance": "fid", "kernel_distance": "kid", "precision": "pr", "recall": "pr",
    "f_score": "pr", "density": "dc", "coverage": "dc", "realistic": "realism",
    "realism_median": "realism", "prd_f_8": "prd", "prd_f_1_8": "prd", "inception_score": "is",
    "frechet_infinity": "fid-infinity", "frechet_by_count": "fid-counts", "vendi_score": "vendi",
    "top1_distance": "top1", "probability_distance": "fid-probabilities", "cmmd": "cmmd",
    "kad": "kad", "mind": "mind", "sliced_wasserstein": "sliced-wasserstein",
    "clipped_density": "clipped", "clipped_coverage": "clipped",
    "symmetric_precision": "symmetric-pr", "symmetric_recall": "symmetric-pr",
    "probabilistic_precision": "probabilistic-pr", "probabilistic_recall": "probabilistic-pr",
    "precision_cover": "pr-cover", "recall_cover": "pr-cover",
    "pr_curve_f_8": "pr-curve", "pr_curve_f_1_8": "pr-curve",
    "log_density": "geometry", "effective_rank": "geometry", "rke": "rke", "rrke": "rrke",
    "frechet_ratio": "fdr", "frechet_ratio_mean": "fdr", "mifid": "mifid", "jedi": "jedi",
    "auth_pct": "auth-pct",
}  # fmt: skip


def evaluate_command(results: Sequence[Result]) -> str:
    """Return the command for the numbers of whole sides; "" where it cannot be said.

    It cannot for samples that were chosen one by one, unless a protocol chose them by a seed, and
    for metrics of the user's own.
    """
    whole = [result for result in results if not result.subset]
    names = [_metric_with_settings(result) for result in whole]
    if not whole or "" in names:
        return ""
    first = whole[0]
    words = ["raymetrics", "evaluate", "--real", first.real.uri, "--generated", first.generated.uri]
    words += _validation_words(whole)
    protocol = first.convention.get("protocol")
    selections = [side.selection for side in (first.real, first.generated) if side.selection]
    choices = [CHOSEN_AT_RANDOM.fullmatch(selection["file"]) for selection in selections]
    seeds = {choice["seed"] if choice and protocol else None for choice in choices}
    if None in seeds or len(seeds) > 1:
        return ""
    if protocol:
        words += ["--protocol", str(protocol)]
        words += [word for seed in seeds if seed for word in ("--random-ids", seed)]
    else:
        words += ["--metrics", ",".join(dict.fromkeys(names)), *_convention_words(whole)]
        for option, side in (("--real-samples", first.real), ("--samples", first.generated)):
            words += [option, ",".join(side.samples)] if side.samples else []
    changed = first.convention.get("changed")
    if changed:
        words += ["--set", str(changed).replace(", ", ",")]
    return shlex.join(words)


def _metric_with_settings(result: Result) -> str:
    """Return what to write for a number, "vendi?order=2"; "" for a metric of the user's own."""
    name, settings = METRIC_NAMES.get(result.metric, ""), result.convention.get("settings")
    return f"{name}?{settings}" if name and settings else name


def _convention_words(results: Sequence[Result]) -> list[str]:
    """Return the options of the convention and of the numbers of neighbours."""
    program = results[0].convention.get("program")
    ks = dict.fromkeys(str(r.convention["k"]) for r in results if "k" in r.convention)
    words = ["--convention", str(program)] if program else []
    return [*words, "--k", ",".join(ks)] if ks else words


def _validation_words(results: Sequence[Result]) -> list[str]:
    """Return the option of the validation set that FDr has its norms of."""
    sides = [r.details["validation"] for r in results if "validation" in r.details]
    if not sides:
        return []
    return ["--validation", sides[0] if isinstance(sides[0], str) else str(sides[0]["uri"])]
