"""What matching classes and what weights do to the numbers: Kynkaanniemi et al. 2023, Tables 1-3.

Beside each way of drawing stands a random draw of as many samples, and every feature space that
both sets have: the one in which was matched, and the others for a second opinion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from raymetrics import queries
from raymetrics.errors import NotEnoughData
from raymetrics.evaluation.resampled import SHOWN, Draws, evaluate_draws
from raymetrics.metrics import Convention
from raymetrics.resampling.drawing import draw
from raymetrics.resampling.stratified import stratified
from raymetrics.results import Result
from raymetrics.shards.choices import WEIGHT, Choice, read_choice, read_weights
from raymetrics.shards.reader import open_shards
from raymetrics.shards.selected import open_view
from raymetrics.shards.view import View
from raymetrics.statistics import Measure, Rows
from raymetrics.streaming.fold import fold_shards
from raymetrics.streaming.session import session

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
    ids = np.sort(choice.sample_ids)
    if shards.spec.accepted is not None:
        only = [Draws(MATCHED, [ids], matched_how(choice))]
        chosen = queries.join(generated, {"ids": accepted, "partial": "yes"})
        return numbers(real, chosen, only, convention)
    view = open_view(generated)
    drawn = view.sample_ids[view.sample_ids <= ids[-1]]
    classes = classes_of(view, str(choice.metadata["column"]))[: len(drawn)]
    counts = np.bincount(choice.columns["class"], minlength=classes.max() + 1)
    others = [drawn[stratified(classes, counts, seed)] for seed in range(1, seeds)]
    ways = [
        random_draws(drawn, len(ids), seeds),
        Draws(MATCHED, [ids, *others], matched_how(choice)),
    ]
    return numbers(real, generated, ways, convention)


def evaluate_reweighted(
    *, real: str, generated: str, weights: Sequence[str], n: int | None = None, seeds: int = 10,
    scheme: str = "systematic", convention: Convention | None = None,
) -> list[Result]:  # fmt: skip
    """Tables 2 and 3: random draws against draws by weights.

    weights: files that `reweight` wrote for these sets. n: samples to a draw, as many as the
    real side has by default. NotEnoughData where fewer candidates than n are there.
    """
    view, of_real = open_view(generated), open_view(real)
    count = len(of_real) if n is None else n
    if not 1 <= count <= len(view):
        raise NotEnoughData(
            f"draws of {count} samples from {len(view)} candidates in {view.shards.uri}; ask for "
            "fewer (--n), or extract more candidates"
        )
    ways = [random_draws(view.sample_ids, count, seeds)]
    for path in weights:
        ways.append(
            weighted_draws(read_weights(path).require_of(view.shards), count, seeds, scheme)
        )
    return numbers(real, generated, ways, convention)


def numbers(
    real: str, generated: str, ways: Sequence[Draws], convention: Convention | None
) -> list[Result]:
    """All that there are enough samples for."""
    asked = convention or Convention()
    enough = min(len(open_view(real)), len(ways[0].ids[0])) >= asked.kid_subset_size
    return evaluate_draws(
        real=real,
        generated=generated,
        draws=ways,
        metrics=("fid", "kid", "top1") if enough else ("fid", "top1"),
        convention=asked,
    )


def random_draws(sample_ids: np.ndarray, n: int, seeds: int) -> Draws:
    """Draws of n samples without repetition."""
    drawn = [np.random.default_rng(s).choice(sample_ids, n, replace=False) for s in range(seeds)]
    return Draws(RANDOM, [np.sort(ids) for ids in drawn])


def weighted_draws(choice: Choice, n: int, seeds: int, scheme: str) -> Draws:
    """Draws of n samples by their weights, with the ids of small and of large ones for Fig. 5."""
    weights = choice.columns[WEIGHT]
    drawn = [choice.sample_ids[draw(weights, n, seed, scheme)] for seed in range(seeds)]
    match = str(choice.metadata["match"])
    how = {"scheme": scheme, "match": match, "matched_by": choice.metadata["extractor"]}
    how |= {"effective_sample_size": choice.metadata["effective_sample_size"]}
    return Draws(f"reweighted by {match}", [np.sort(ids) for ids in drawn], how, extremes(choice))


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


def matched_how(choice: Choice) -> Mapping[str, object]:
    """What a result says of matched draws."""
    said = {"matched_by": choice.metadata["extractor"], "draws": choice.metadata["draws"]}
    return said if choice.complete else {**said, "complete": False}


def classes_of(view: View, column: str) -> np.ndarray:
    """The Top-1 class of every sample, int64 [n]; of equal logits the first class."""
    with session():
        rows: Rows = fold_shards(view, {"classes": Measure(column, top1)})["classes"]
    return rows.features[:, 0].astype(np.int64)


def top1(sample_ids: np.ndarray, logits: np.ndarray) -> Rows:
    """Classes as features of one dimension; whole numbers below 2^24 are exact in float32."""
    return Rows.of(sample_ids, logits.argmax(axis=1).astype(np.float32)[:, None])
