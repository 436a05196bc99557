"""Tables 1 to 3 on small sets: what matching and weights do to the numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import raymetrics as rm
from raymetrics.attacks import draw_by_weight, reweight
from raymetrics.attacks.top1_rejection import match_top1, target_counts
from raymetrics.errors import NotEnoughData, SpecMismatch
from raymetrics.metrics import Convention
from raymetrics.results import Result
from raymetrics.shards.selection_files import selection_metadata, write_selection
from raymetrics.shards.shard_set import ShardSet
from raymetrics.shards.view import View
from raymetrics.studies.attack_numbers import (
    evaluate_matched,
    evaluate_reweighted,
    fold_top1_classes,
)
from tests.conftest import write_set

pytestmark = pytest.mark.usefixtures("ray_session")

SMALL = Convention(kid_subsets=5, kid_subset_size=40)
NAME, LOGITS = "made_up_pre_logits", "made_up_logits"


def a_set(uri: str, rng: np.random.Generator, rates: list[float], count: int) -> ShardSet:
    """Features that lie around a point for each of three classes, and their logits."""
    classes = rng.choice(3, count, p=rates)
    features = rng.normal(size=(count, 4)) + 3 * np.eye(4)[classes]
    logits = features[:, :3] + rng.normal(0, 0.1, (count, 3))
    made = {"pre_logits": features, "logits": logits}
    return write_set(uri, {name: x.astype(np.float32) for name, x in made.items()}, shard_rows=128)


@pytest.fixture
def sets(tmp_path: Path, rng: np.random.Generator) -> dict[str, ShardSet]:
    return {
        "real": a_set(str(tmp_path / "real"), rng, [0.6, 0.3, 0.1], 200),
        "generated": a_set(str(tmp_path / "generated"), rng, [0.2, 0.3, 0.5], 900),
    }


def by_label(found: list[Result]) -> dict[str, Result]:
    return {result.label: result for result in found}


def classes(shards: ShardSet) -> np.ndarray:
    return np.asarray(shards.read(LOGITS).argmax(axis=1))


def matched(sets: dict[str, ShardSet], path: str, n: int) -> np.ndarray:
    """The accepted ids, in a file as `match` writes it."""
    targets = target_counts(np.bincount(classes(sets["real"]), minlength=3), n)
    of_generated = classes(sets["generated"])
    ids = match_top1(target_counts=targets, classes=of_generated)
    about = selection_metadata(
        "accepted",
        View.from_shards(sets["generated"]),
        column=LOGITS,
        first=0,
        draws=int(ids[-1]) + 1,
    )
    columns = {"sample_id": ids, "class": of_generated[ids], "draw": ids}
    write_selection(path, columns, about)
    return ids


def test_the_top_1_class_of_every_sample(sets: dict[str, ShardSet]) -> None:
    found = fold_top1_classes(View.from_shards(sets["generated"]), LOGITS)
    np.testing.assert_array_equal(found, classes(sets["generated"]))


def test_matched_draws_have_the_real_histogram(sets: dict[str, ShardSet], tmp_path: Path) -> None:
    path = str(tmp_path / "accepted.parquet")
    ids = matched(sets, path, 200)
    uris = {side: shards.uri for side, shards in sets.items()}
    found = by_label(evaluate_matched(**uris, accepted=path, seeds=3, convention=SMALL))
    assert found["Top-1 distance made-up, random"].value > 0.2
    assert found["Top-1 distance made-up, Top-1 matched"].details["values"] == [0, 0, 0]
    distance = found["FD made-up, Top-1 matched"]
    features = {side: shards.read(NAME) for side, shards in sets.items()}
    first = rm.frechet_distance(real=features["real"], generated=features["generated"][ids])
    assert distance.details["values"][0] == pytest.approx(first, rel=1e-9)
    assert len(set(distance.details["values"])) == 3
    assert distance.value < 0.5 * found["FD made-up, random"].value
    assert distance.convention["matched_by"] == "made-up"
    assert distance.convention["candidates"] == ids.max() + 1
    assert distance.subset == {
        "scheme": "Top-1 matched",
        "n": len(ids),
        "seeds": 3,
        "candidates": ids.max() + 1,
        "matched_by": "made-up",
    }
    # Random draws are of what was drawn until the last bin was full, and of nothing later.
    assert max(found["FD made-up, random"].details["shown"]) <= ids.max()


def test_reweighted_draws(sets: dict[str, ShardSet], tmp_path: Path) -> None:
    uris = {side: shards.uri for side, shards in sets.items()}
    features = {side: shards.read(NAME) for side, shards in sets.items()}
    weights = reweight(**features).weights
    path = str(tmp_path / "weights.parquet")
    about = selection_metadata(
        "weights",
        View.from_shards(sets["generated"]),
        match="pre_logits",
        extractor="made-up",
        optimizer="lbfgs",
        effective_sample_size=1 / (weights**2).sum(),
    )
    write_selection(path, {"sample_id": np.arange(900), "weight": weights}, about)
    found = by_label(evaluate_reweighted(**uris, weights=[path], seeds=3, convention=SMALL))
    name = "FD made-up, reweighted by made-up pre_logits"
    expected = [
        rm.frechet_distance(
            real=features["real"],
            generated=features["generated"][draw_by_weight(weights, 200, seed)],
        )
        for seed in range(3)
    ]
    np.testing.assert_allclose(found[name].details["values"], expected, rtol=1e-9)
    assert found[name].value < 0.5 * found["FD made-up, random"].value
    assert found[name].generated.count == 200
    small, large = (found[name].details[what] for what in ("smallest", "largest"))
    assert weights[small].max() < weights[large].min()
    with pytest.raises(NotEnoughData, match="draws of 901 samples from 900 candidates"):
        evaluate_reweighted(**uris, weights=[path], n=901)
    other = write_set(str(tmp_path / "other"), {"pre_logits": features["real"]}, extractor="b")
    with pytest.raises(SpecMismatch, match="weights of another shard set"):
        evaluate_reweighted(real=uris["real"], generated=other.uri, weights=[path])
