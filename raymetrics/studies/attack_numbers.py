"""The effect of matched classes and of weights on metrics: Kynkaanniemi et al. 2023, Tables 1-3.

Each way of drawing is compared with random draws of as many samples, in every feature space that
both sets have: the space in which samples were matched, and the others for a second opinion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from raymetrics.attacks.top1_rejection import stratified_positions
from raymetrics.attacks.weighted_sampling import draw_by_weight
from raymetrics.distributed.fold import fold_shards
from raymetrics.distributed.session import session
from raymetrics.errors import ShardError
from raymetrics.metrics import Convention
from raymetrics.results import Result
from raymetrics.shards.selection_files import WEIGHT, SelectionFile, read_selection, read_weights
from raymetrics.shards.shard_set import ShardSet, open_shards
from raymetrics.shards.view import View
from raymetrics.statistics import ColumnStatistic, FeatureRows
from raymetrics.studies.comparison import open_as_view
from raymetrics.studies.resampled_metrics import (
    Resampling,
    choose_shown_ids,
    draw_convention,
    evaluate_resamplings,
)
from raymetrics.studies.reweight.drawn_metrics import trace_of_measure
from raymetrics.studies.reweight.weights_file import require_draw_size
from raymetrics.studies.seeds import as_seeds

_RANDOM = "random"
_MATCHED = "Top-1 matched"


def evaluate_matched(
    *,
    real: str | View,
    generated: str | ShardSet,
    accepted: str,
    seeds: int | Sequence[int] = 5,
    convention: Convention | None = None,
) -> list[Result]:
    """Evaluate random draws and draws with the real Top-1 histogram, as in Table 1.

    generated: the set that was drawn from, complete or not.
    accepted: the file that `match` wrote.
    seeds: how many, or which. The set of seed 0 is the accepted one. The sets of other seeds take
    as many samples of every class at random from all samples that were drawn for it, so of a class
    that was just filled they take the same ones.
    """
    seeds = as_seeds(seeds)
    shards = open_shards(generated) if isinstance(generated, str) else generated
    choice = read_selection(accepted, partial=True).require_made_from(shards)
    first, count = (int(_require_metadata(choice, name)) for name in ("first", "draws"))
    ids, convention_fields = np.sort(choice.sample_ids), _matching_fields(choice, shards)
    name = _MATCHED if choice.complete else f"{_MATCHED}, in part"
    drawn_view = View(shards, (range(first, first + count),))
    classes = fold_top1_classes(drawn_view, _require_metadata(choice, "column"))
    counts = np.bincount(choice.columns["class"], minlength=classes.max() + 1)
    matched_draws = [
        drawn_view.sample_ids[stratified_positions(classes, counts, seed)] if seed else ids
        for seed in seeds
    ]
    resamplings = [
        _random_resampling(drawn_view.sample_ids, len(ids), seeds),
        Resampling(name, matched_draws, convention_fields, seeds=seeds),
    ]
    return _evaluate_with_defaults(open_as_view(real), drawn_view, resamplings, convention)


def evaluate_reweighted(
    *,
    real: str | View,
    generated: str | View,
    weights: Sequence[str],
    n: int | None = None,
    seeds: int | Sequence[int] = 10,
    scheme: str = "multinomial",
    convention: Convention | None = None,
) -> list[Result]:
    """Evaluate random draws and draws by weights, as in Tables 2 and 3.

    weights: files that `reweight` wrote for these sets. n: samples of a draw, by default as many
    as the real side has. seeds: how many draws, or with which seeds. scheme: see `draw_by_weight`.
    NotEnoughData if there are fewer candidates than n.
    """
    seeds = as_seeds(seeds)
    real_view, view = open_as_view(real), open_as_view(generated)
    count = require_draw_size(real=real_view, generated=view, n=n)
    resamplings, rows_by_name = [_random_resampling(view.sample_ids, count, seeds)], {}
    for path in weights:
        choice = read_weights(path).require_made_from(view.shards)
        resamplings.append(_weighted_resampling(choice, count, seeds, scheme))
        rows_by_name[resamplings[-1].name] = choice.metadata.get("drawn", ())
    results = _evaluate_with_defaults(real_view, view, resamplings, convention)
    return [_add_trace(result, rows_by_name.get(result.subset["scheme"], ())) for result in results]


def _add_trace(result: Result, rows: Sequence[Mapping[str, Any]]) -> Result:
    """Add how draws on the way to the weights had the measure, where they were evaluated."""
    trace = trace_of_measure(rows, result.measure_name)
    return replace(result, details={**result.details, "trace": trace}) if trace else result


def _evaluate_with_defaults(
    real: View, generated: View, resamplings: Sequence[Resampling], convention: Convention | None
) -> list[Result]:
    """Evaluate all that a table of the paper has, by `draw_convention` if none is given."""
    n = len(resamplings[0].ids[0])
    return evaluate_resamplings(
        real=real,
        generated=generated,
        resamplings=resamplings,
        convention=convention or draw_convention(real=len(real), n=n),
    )


def _random_resampling(sample_ids: np.ndarray, n: int, seeds: Sequence[int]) -> Resampling:
    """Draw n samples without repetition, for every seed."""
    draws = [np.random.default_rng(seed).choice(sample_ids, n, replace=False) for seed in seeds]
    fields = {"candidates": len(sample_ids)}
    return Resampling(_RANDOM, [np.sort(ids) for ids in draws], fields, seeds=seeds)


def _weighted_resampling(
    choice: SelectionFile, n: int, seeds: Sequence[int], scheme: str
) -> Resampling:
    """Draw n samples by weights for every seed, with ids of small and large weights for Fig. 5."""
    weights = choice.columns[WEIGHT]
    draws = [choice.sample_ids[draw_by_weight(weights, n, seed, scheme)] for seed in seeds]
    about = {"covariance": "paper", "select": "last", **choice.metadata}
    match, extractor, optimizer = (
        _require_metadata(choice, name) for name in ("match", "extractor", "optimizer")
    )
    convention_fields = {
        "scheme": scheme,
        "select": about["select"],
        "covariance": about["covariance"],
        "optimizer": optimizer,
        "match": match,
        "matched_by": extractor,
        "effective_sample_size": choice.metadata["effective_sample_size"],
        "candidates": len(choice),
    }
    if "learning_rate" in about:
        convention_fields["learning_rate"] = about["learning_rate"]
    name = f"reweighted by {extractor} {match}{_deviations(convention_fields)}"
    return Resampling(
        name,
        [np.sort(ids) for ids in draws],
        convention_fields,
        _extreme_weight_ids(choice),
        seeds,
        (_OPTIMISTIC,) if about["select"] == "best-of-draws" else (),
    )


_OPTIMISTIC = (
    "the weights are those of the smallest distance of drawn samples among all that were evaluated "
    "on the way: a minimum that was selected is optimistic"
)

# What a name says of weights and draws that are not as by default.
_DEVIATIONS = {
    ("optimizer", "gd"): "gd",
    ("covariance", "program"): "program's covariance",
    ("select", "best-of-draws"): "best of draws",
    ("scheme", "systematic"): "systematic draws",
}


def _deviations(fields: Mapping[str, object]) -> str:
    """Return ", gd, systematic draws", or "" for the defaults."""
    said = (text for (name, value), text in _DEVIATIONS.items() if fields[name] == value)
    return "".join(f", {text}" for text in said)


def _extreme_weight_ids(choice: SelectionFile) -> dict[str, list[int]]:
    """Draw samples from the tenth with the smallest weights, and from the largest tenth."""
    order = np.argsort(choice.columns[WEIGHT], kind="stable")
    tenth = max(1, len(order) // 10)
    tenths = {"smallest": order[:tenth], "largest": order[-tenth:]}
    return {name: choose_shown_ids(choice.sample_ids[rows]) for name, rows in tenths.items()}


def _matching_fields(choice: SelectionFile, shards: ShardSet) -> Mapping[str, object]:
    """Return what a result says about matched draws."""
    extractor = shards.columns[_require_metadata(choice, "column")].extractor
    fields = {"matched_by": extractor, "candidates": int(_require_metadata(choice, "draws"))}
    return fields if choice.complete else {**fields, "complete": False}


def _require_metadata(choice: SelectionFile, name: str) -> str:
    """Return a field of the metadata of a file. ShardError if the field is missing."""
    if name not in choice.metadata:
        raise ShardError(
            f"{choice.path} does not say its {name!r}; expected a file that raymetrics match or "
            "raymetrics reweight wrote"
        )
    return str(choice.metadata[name])


def fold_top1_classes(view: View, column: str) -> np.ndarray:
    """Return the Top-1 class of every sample, int64 [n]; of equal logits the first class."""
    with session():
        rows: FeatureRows = fold_shards(view, {"classes": ColumnStatistic(column, _top1_rows)})[
            "classes"
        ]
    return rows.features[:, 0].astype(np.int64)


def _top1_rows(sample_ids: np.ndarray, logits: np.ndarray) -> FeatureRows:
    """Return classes as features of one dimension; float32 is exact for ints below 2^24."""
    return FeatureRows.from_samples(sample_ids, logits.argmax(axis=1).astype(np.float32)[:, None])
