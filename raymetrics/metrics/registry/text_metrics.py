"""The metrics of images and the texts that they were made from: means of scores."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from raymetrics import metrics
from raymetrics.metrics import Convention, MeanScore
from raymetrics.metrics.influences import QuadraticInfluence, linear_influence
from raymetrics.metrics.metric import Metric, MetricValue, needs_of_both_sides
from raymetrics.metrics.required_statistics import (
    CosineMoments,
    FeatureMoments,
    NormalizedMoments,
    SampleIds,
    StatisticFunction,
)
from raymetrics.output_names import COSINE, SCORE

_ONE = np.ones(1)  # the weight of a score


def _score_value(
    metric: str,
    short_name: str,
    scores: Mapping[str, MeanScore],
    convention_fields: Mapping[str, Any],
    influence: QuadraticInfluence,
) -> MetricValue:
    """Return the generated side's mean; the details hold the real side's, where it is there."""
    fields = {**convention_fields, "spread": "standard error of the mean"}
    generated = scores["generated"]
    details = {"real": scores["real"]._asdict()} if "real" in scores else {}
    return MetricValue(
        metric,
        short_name,
        generated.mean,
        "higher",
        fields,
        generated.standard_error,
        details,
        influences=lambda: {"generated": influence},
    )


def _sides(real: Mapping[str, Any], generated: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the statistics of the sides that have any: the real one may lack the column."""
    return {side: found for side, found in (("real", real), ("generated", generated)) if found}


def score_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """Compute the mean of a score; the details hold the real side's."""
    scores = {
        side: metrics.mean_score(found["moments"])
        for side, found in _sides(real, generated).items()
    }
    return [_score_value("score", "score", scores, {}, linear_influence(_ONE))]


def clip_score_needs(
    samples: SampleIds, side: str, convention: Convention, *, scaling: str
) -> Mapping[str, StatisticFunction]:
    """Name the moments of scaled cosines."""
    return {"cosines": CosineMoments(scaling)}


def clip_score_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention, *, scaling: str
) -> list[MetricValue]:
    """Compute CLIPScore with one scaling; the details hold the real side's."""
    scores = {
        side: metrics.clip_score(found["cosines"], scaling)
        for side, found in _sides(real, generated).items()
    }
    influence = linear_influence(_ONE, partial(metrics.scale_cosines, scaling=scaling))
    return [_score_value("clip_score", "CLIPScore", scores, {"scaling": scaling}, influence)]


def aesthetic_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """Compute the mean aesthetic score; the details hold the real side's."""
    head = metrics.load_aesthetic_head()
    scores = {
        side: metrics.aesthetic_score(found["normalised moments"], head)
        for side, found in _sides(real, generated).items()
    }
    influence = linear_influence(head.weights, metrics.normalize_rows)
    return [_score_value("aesthetic_score", "aesthetic", scores, head.file, influence)]


_Score = partial(Metric, repeats_allowed=True, generated_suffices=True, interval="influences")

ROWS = (
    _Score(
        "score",
        "mean of a column of scores, with its standard error",
        compute=score_values,
        needs=needs_of_both_sides("moments", FeatureMoments()),
        requires_space=SCORE,
    ),
    _Score(
        "clipscore",
        "CLIPScore, where there are cosines of images and prompts",
        compute=clip_score_values,
        needs=clip_score_needs,
        requires_space=COSINE,
        settings={"scaling": metrics.SCALINGS},
    ),
    _Score(
        "aesthetic",
        "LAION's aesthetic score, of a column of clip-vit-l-14",
        compute=aesthetic_values,
        needs=needs_of_both_sides("normalised moments", NormalizedMoments()),
        requires_space="clip-vit-l-14",
        require_files=metrics.load_aesthetic_head,
    ),
)
