"""What matching classes and what weights do to the numbers: Kynkaanniemi et al. 2023, Tables 1-3.

Beside each way of drawing stands a random draw of as many samples, and every feature space that
both sets have: the one in which was matched, and the others for a second opinion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from raymetrics.attacks.stratified import stratified
from raymetrics.attacks.weighted_sampling import draw
from raymetrics.distributed.fold import fold_shards
from raymetrics.distributed.session import session
from raymetrics.errors import ShardError
from raymetrics.metrics import Convention
from raymetrics.results import Result
from raymetrics.shards.open_view import open_view
from raymetrics.shards.selection_files import WEIGHT, Choice, read_choice, read_weights
from raymetrics.shards.shard_set import ShardSet, open_shards
from raymetrics.shards.view import Selection, View
from raymetrics.statistics import Measure, Rows
from raymetrics.studies.resampled_metrics import SHOWN, Draws, evaluate_draws
from raymetrics.studies.reweight.weights_file import size_of_draws

RANDOM = "random"
MATCHED = "Top-1 matched"


def evaluate_matched(
    *, real: str, generated: str, accepted: str, seeds: int = 5,
    convention: Convention | None = None,
) -> list[Result]:  # fmt: skip
    """Table 1: random draws against sets with the Top-1 histogram of the real one.

    accepted: the file that `match` wrote. The first seed's set is the accepted one; the others
    take as many samples of every class at random from all that were drawn until it was full. Of a
    set that keeps only accepted samples there is no other, and no random draw.
    """
    shards = open_shards(generated)
    choice = read_choice(accepted, partial=True).require_of(shards)
    first, count = (int(fact(choice, name)) for name in ("first", "draws"))
    ids, how = np.sort(choice.sample_ids), matched_how(choice, shards)
    name = MATCHED if choice.complete else f"{MATCHED}, in part"
    if shards.spec.accepted is not None:
        kept = View(shards, Selection.of(ids, accepted))
        return numbers(real, kept, [Draws(name, [ids], how)], convention)
    drawn = View(shards, (range(first, first + count),))
    classes = classes_of(drawn, fact(choice, "column"))
    counts = np.bincount(choice.columns["class"], minlength=classes.max() + 1)
    others = [drawn.sample_ids[stratified(classes, counts, seed)] for seed in range(1, seeds)]
    ways = [
        random_draws(drawn.sample_ids, len(ids), seeds),
        Draws(name, [ids, *others], how),
    ]
    return numbers(real, drawn, ways, convention)


def evaluate_reweighted(
    *, real: str, generated: str, weights: Sequence[str], n: int | None = None, seeds: int = 10,
    scheme: str = "systematic", convention: Convention | None = None,
) -> list[Result]:  # fmt: skip
    """Tables 2 and 3: random draws against draws by weights.

    weights: files that `reweight` wrote for these sets. n: samples to a draw, as many as the
    real side has by default. NotEnoughData where fewer candidates than n are there.
    """
    view = open_view(generated)
    count = size_of_draws(real=real, generated=generated, n=n)
    ways = [random_draws(view.sample_ids, count, seeds)]
    for path in weights:
        ways.append(
            weighted_draws(read_weights(path).require_of(view.shards), count, seeds, scheme)
        )
    return numbers(real, view, ways, convention)


def numbers(
    real: str, generated: View, ways: Sequence[Draws], convention: Convention | None
) -> list[Result]:
    """By default KID's subsets are shared out among the seeds, so that the mean is over as many as
    usual, and are half of few samples."""
    size = min(len(open_view(real)), len(ways[0].ids[0]))
    if convention is None:
        usual = Convention()
        convention = Convention(
            kid_subsets=max(1, usual.kid_subsets // max(len(way.ids) for way in ways)),
            kid_subset_size=usual.kid_subset_size if size >= usual.kid_subset_size else size // 2,
        )
    enough = convention.kid_subset_size > 1
    return evaluate_draws(
        real=real,
        generated=generated,
        draws=ways,
        metrics=("fid", "kid", "top1") if enough else ("fid", "top1"),
        convention=convention,
    )


def random_draws(sample_ids: np.ndarray, n: int, seeds: int) -> Draws:
    """Draws of n samples without repetition."""
    drawn = [np.random.default_rng(s).choice(sample_ids, n, replace=False) for s in range(seeds)]
    return Draws(RANDOM, [np.sort(ids) for ids in drawn], {"candidates": len(sample_ids)})


def weighted_draws(choice: Choice, n: int, seeds: int, scheme: str) -> Draws:
    """Draws of n samples by their weights, with the ids of small and of large ones for Fig. 5."""
    weights = choice.columns[WEIGHT]
    drawn = [choice.sample_ids[draw(weights, n, seed, scheme)] for seed in range(seeds)]
    match, by, optimizer = (fact(choice, name) for name in ("match", "extractor", "optimizer"))
    name = f"reweighted by {by} {match}{'' if optimizer == 'lbfgs' else f', {optimizer}'}"
    how = {
        "scheme": scheme,
        "match": match,
        "matched_by": by,
        "effective_sample_size": choice.metadata["effective_sample_size"],
        "candidates": len(choice),
    }
    return Draws(name, [np.sort(ids) for ids in drawn], how, extremes(choice))


def extremes(choice: Choice) -> dict[str, list[int]]:
    """Some samples at random of the tenth with the smallest weights, and of the largest."""
    order = np.argsort(choice.columns[WEIGHT], kind="stable")
    tenth = max(1, len(order) // 10)
    rng = np.random.default_rng(0)
    return {
        name: np.sort(
            rng.choice(choice.sample_ids[rows], min(SHOWN, tenth), replace=False)
        ).tolist()
        for name, rows in (("smallest", order[:tenth]), ("largest", order[-tenth:]))
    }


def matched_how(choice: Choice, shards: ShardSet) -> Mapping[str, object]:
    """What a result says of matched draws."""
    by = shards.columns[fact(choice, "column")].extractor
    said = {"matched_by": by, "candidates": int(fact(choice, "draws"))}
    return said if choice.complete else {**said, "complete": False}


def fact(choice: Choice, name: str) -> str:
    """What a file says of itself. ShardError if it does not."""
    if name not in choice.metadata:
        raise ShardError(
            f"{choice.path} does not say its {name!r}; expected a file that raymetrics match or "
            "raymetrics reweight wrote"
        )
    return str(choice.metadata[name])


def classes_of(view: View, column: str) -> np.ndarray:
    """The Top-1 class of every sample, int64 [n]; of equal logits the first class."""
    with session():
        rows: Rows = fold_shards(view, {"classes": Measure(column, top1)})["classes"]
    return rows.features[:, 0].astype(np.int64)


def top1(sample_ids: np.ndarray, logits: np.ndarray) -> Rows:
    """Classes as features of one dimension; whole numbers below 2^24 are exact in float32."""
    return Rows.of(sample_ids, logits.argmax(axis=1).astype(np.float32)[:, None])
