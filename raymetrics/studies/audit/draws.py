"""The draws of an audit: at random, with the real Top-1 classes, and by weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from raymetrics.attacks.top1_rejection import (
    Matcher,
    describe_unfilled,
    stratified_positions,
    target_counts,
)
from raymetrics.attacks.weighted_sampling import draw_by_weight
from raymetrics.errors import NotEnoughData
from raymetrics.shards.schema import SAMPLE_ID
from raymetrics.shards.selection_files import selection_metadata, write_selection
from raymetrics.shards.view import View
from raymetrics.studies.resampled_metrics import Resampling
from raymetrics.studies.reweight.weights_file import SampleWeights

MATCHED_FILE = "matched.parquet"
SCHEME = "multinomial"  # draws with replacement, as the paper's
_LEAST_MATCHED = 0.5  # of a draw: with fewer the rest is no match of the real classes


@dataclass(frozen=True, eq=False)
class MatchedCounts:
    """How many samples of every Top-1 class a matched draw takes."""

    classes: np.ndarray  # int64 [candidates]
    counts: np.ndarray  # int64 [classes]; fewer than asked for where the candidates lack some
    n: int  # samples asked for

    @property
    def size(self) -> int:
        """The samples of a draw."""
        return int(self.counts.sum())

    @property
    def complete(self) -> bool:
        """Whether a draw has all samples that were asked for."""
        return self.size == self.n


def count_matched(
    *,
    real_classes: np.ndarray,
    candidate_classes: np.ndarray,
    n: int,
    uri: str,
    names: Sequence[str] = (),
) -> MatchedCounts:
    """Count the candidates of every class that have room in the real histogram, scaled to n.

    real_classes, candidate_classes: Top-1 classes, int64. uri, names: of the candidates and of the
    classes, for the error. NotEnoughData if fewer than half of n samples find a place.
    """
    class_count = 1 + int(max(real_classes.max(), candidate_classes.max()))
    matcher = Matcher(target_counts(np.bincount(real_classes, minlength=class_count), n))
    matcher.accept(candidate_classes)
    matched = MatchedCounts(candidate_classes, matcher.accepted_counts, n)
    if matched.size < max(2, _LEAST_MATCHED * n):
        raise NotEnoughData(
            f"only {matched.size} of the {len(candidate_classes)} candidates in {uri} have room in "
            f"the real Top-1 histogram of {n} samples: {describe_unfilled(matcher, names)}; "
            "extract more candidates, or ask for smaller draws (--n)"
        )
    return matched


def random_draws(candidates: View, n: int, seeds: Sequence[int]) -> Resampling:
    """Draw n samples without repetition, for every seed."""
    ids = candidates.sample_ids
    draws = [np.random.default_rng(seed).choice(ids, n, replace=False) for seed in seeds]
    fields = {"candidates": len(ids)}
    return Resampling("random", [np.sort(draw) for draw in draws], fields, seeds=seeds)


def matched_draws(
    candidates: View, matched: MatchedCounts, extractor: str, seeds: Sequence[int]
) -> Resampling:
    """Draw as many samples of every class as the real set has, for every seed.

    They are unique within a draw (section 3.1 of the paper), and taken at random from all
    candidates.
    """
    draws = [
        candidates.sample_ids[stratified_positions(matched.classes, matched.counts, seed)]
        for seed in seeds
    ]
    fields: dict[str, object] = {"matched_by": extractor, "candidates": len(candidates)}
    if matched.complete:
        return Resampling("Top-1 matched", draws, fields, seeds=seeds)
    fields["complete"] = False
    return Resampling("Top-1 matched, in part", draws, fields, seeds=seeds)


def weighted_draws(weights: SampleWeights, n: int, seeds: Sequence[int]) -> Resampling:
    """Draw n samples with replacement by their weights, for every seed (Eq. 3 of the paper)."""
    metadata = weights.metadata
    draws = [weights.sample_ids[draw_by_weight(weights.weights, n, seed, SCHEME)] for seed in seeds]
    fields = {
        "scheme": SCHEME,
        "match": metadata["match"],
        "matched_by": metadata["extractor"],
        "effective_sample_size": metadata["effective_sample_size"],
        "converged": weights.converged,
        "candidates": len(weights.weights),
    }
    name = f"reweighted by {metadata['extractor']} {metadata['match']}"
    return Resampling(name, draws, fields, seeds=seeds)


def write_matched(
    folder: str, candidates: View, matched: MatchedCounts, request: Mapping[str, object]
) -> None:
    """Write the matched draw with seed 0, a selection for other verbs, with how it was made."""
    positions = stratified_positions(matched.classes, matched.counts, 0)
    columns = {SAMPLE_ID: candidates.sample_ids[positions], "class": matched.classes[positions]}
    metadata = selection_metadata("matched", candidates, complete=matched.complete, **request)
    write_selection(f"{folder}/{MATCHED_FILE}", columns, metadata)
