"""What matching classes and what weights do to the numbers: Kynkaanniemi et al. 2023, Tables 1-3.

Beside each way of drawing stands a random draw of as many samples, and every feature space that
both sets have: the one in which was matched, and the others for a second opinion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from raymetrics.attacks.top1_rejection import stratified_positions
from raymetrics.attacks.weighted_sampling import draw_by_weight
from raymetrics.distributed.fold import fold_shards
from raymetrics.distributed.session import session
from raymetrics.errors import ShardError
from raymetrics.metrics import Convention
from raymetrics.results import Result
from raymetrics.shards.open_view import open_view
from raymetrics.shards.selection_files import WEIGHT, SelectionFile, read_selection, read_weights
from raymetrics.shards.shard_set import ShardSet, open_shards
from raymetrics.shards.view import View
from raymetrics.statistics import ColumnStatistic, FeatureRows
from raymetrics.studies.resampled_metrics import SAMPLES_SHOWN, Resampling, evaluate_resamplings
from raymetrics.studies.reweight.weights_file import require_draw_size

_RANDOM = "random"
_MATCHED = "Top-1 matched"


def evaluate_matched(
    *, real: str, generated: str, accepted: str, seeds: int = 5,
    convention: Convention | None = None,
) -> list[Result]:  # fmt: skip
    """Table 1: random draws against sets with the Top-1 histogram of the real one.

    accepted: the file that `match` wrote. The first seed's set is the accepted one; the others
    take as many samples of every class at random from all that were drawn until it was full.
    """
    shards = open_shards(generated)
    choice = read_selection(accepted, partial=True).require_made_from(shards)
    first, count = (int(_require_metadata(choice, name)) for name in ("first", "draws"))
    ids, convention_fields = np.sort(choice.sample_ids), _matching_fields(choice, shards)
    name = _MATCHED if choice.complete else f"{_MATCHED}, in part"
    drawn_view = View(shards, (range(first, first + count),))
    classes = fold_top1_classes(drawn_view, _require_metadata(choice, "column"))
    counts = np.bincount(choice.columns["class"], minlength=classes.max() + 1)
    other_draws = [
        drawn_view.sample_ids[stratified_positions(classes, counts, seed)]
        for seed in range(1, seeds)
    ]
    resamplings = [
        _random_resampling(drawn_view.sample_ids, len(ids), seeds),
        Resampling(name, [ids, *other_draws], convention_fields),
    ]
    return _evaluate_with_defaults(real, drawn_view, resamplings, convention)


def evaluate_reweighted(
    *, real: str, generated: str, weights: Sequence[str], n: int | None = None, seeds: int = 10,
    scheme: str = "systematic", convention: Convention | None = None,
) -> list[Result]:  # fmt: skip
    """Tables 2 and 3: random draws against draws by weights.

    weights: files that `reweight` wrote for these sets. n: samples to a draw, as many as the
    real side has by default. NotEnoughData where fewer candidates than n are there.
    """
    view = open_view(generated)
    count = require_draw_size(real=real, generated=generated, n=n)
    resamplings = [_random_resampling(view.sample_ids, count, seeds)]
    for path in weights:
        resamplings.append(
            _weighted_resampling(
                read_weights(path).require_made_from(view.shards), count, seeds, scheme
            )
        )
    return _evaluate_with_defaults(real, view, resamplings, convention)


def _evaluate_with_defaults(
    real: str, generated: View, resamplings: Sequence[Resampling], convention: Convention | None
) -> list[Result]:
    """By default KID's subsets are shared out among the seeds, so that the mean is over as many as
    usual, and are half of few samples."""
    size = min(len(open_view(real)), len(resamplings[0].ids[0]))
    if convention is None:
        defaults = Convention()
        convention = Convention(
            kid_subsets=max(
                1, defaults.kid_subsets // max(len(resampling.ids) for resampling in resamplings)
            ),
            kid_subset_size=defaults.kid_subset_size
            if size >= defaults.kid_subset_size
            else size // 2,
        )
    enough = convention.kid_subset_size > 1
    return evaluate_resamplings(
        real=real,
        generated=generated,
        resamplings=resamplings,
        metrics=("fid", "kid", "top1") if enough else ("fid", "top1"),
        convention=convention,
    )


def _random_resampling(sample_ids: np.ndarray, n: int, seeds: int) -> Resampling:
    """Draws of n samples without repetition."""
    draws = [
        np.random.default_rng(seed).choice(sample_ids, n, replace=False) for seed in range(seeds)
    ]
    return Resampling(_RANDOM, [np.sort(ids) for ids in draws], {"candidates": len(sample_ids)})


def _weighted_resampling(choice: SelectionFile, n: int, seeds: int, scheme: str) -> Resampling:
    """Draws of n samples by their weights, with the ids of small and of large ones for Fig. 5."""
    weights = choice.columns[WEIGHT]
    draws = [choice.sample_ids[draw_by_weight(weights, n, seed, scheme)] for seed in range(seeds)]
    match, extractor, optimizer = (
        _require_metadata(choice, name) for name in ("match", "extractor", "optimizer")
    )
    name = f"reweighted by {extractor} {match}{'' if optimizer == 'lbfgs' else f', {optimizer}'}"
    convention_fields = {
        "scheme": scheme,
        "match": match,
        "matched_by": extractor,
        "effective_sample_size": choice.metadata["effective_sample_size"],
        "candidates": len(choice),
    }
    return Resampling(
        name, [np.sort(ids) for ids in draws], convention_fields, _extreme_weight_ids(choice)
    )


def _extreme_weight_ids(choice: SelectionFile) -> dict[str, list[int]]:
    """Some samples at random of the tenth with the smallest weights, and of the largest."""
    order = np.argsort(choice.columns[WEIGHT], kind="stable")
    tenth = max(1, len(order) // 10)
    rng = np.random.default_rng(0)
    return {
        name: np.sort(
            rng.choice(choice.sample_ids[rows], min(SAMPLES_SHOWN, tenth), replace=False)
        ).tolist()
        for name, rows in (("smallest", order[:tenth]), ("largest", order[-tenth:]))
    }


def _matching_fields(choice: SelectionFile, shards: ShardSet) -> Mapping[str, object]:
    """What a result says of matched draws."""
    extractor = shards.columns[_require_metadata(choice, "column")].extractor
    fields = {"matched_by": extractor, "candidates": int(_require_metadata(choice, "draws"))}
    return fields if choice.complete else {**fields, "complete": False}


def _require_metadata(choice: SelectionFile, name: str) -> str:
    """What a file says of itself. ShardError if it does not."""
    if name not in choice.metadata:
        raise ShardError(
            f"{choice.path} does not say its {name!r}; expected a file that raymetrics match or "
            "raymetrics reweight wrote"
        )
    return str(choice.metadata[name])


def fold_top1_classes(view: View, column: str) -> np.ndarray:
    """The Top-1 class of every sample, int64 [n]; of equal logits the first class."""
    with session():
        rows: FeatureRows = fold_shards(view, {"classes": ColumnStatistic(column, _top1_rows)})[
            "classes"
        ]
    return rows.features[:, 0].astype(np.int64)


def _top1_rows(sample_ids: np.ndarray, logits: np.ndarray) -> FeatureRows:
    """Classes as features of one dimension; whole numbers below 2^24 are exact in float32."""
    return FeatureRows.from_samples(sample_ids, logits.argmax(axis=1).astype(np.float32)[:, None])
