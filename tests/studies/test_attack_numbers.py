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
from raymetrics.studies.resampled_metrics import draw_convention
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


def matched(sets: dict[str, ShardSet], path: str, n: int, **changes: object) -> np.ndarray:
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
        **changes,
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


def test_a_part_and_one_seed_stand_beside_random_draws(
    sets: dict[str, ShardSet], tmp_path: Path
) -> None:
    path = str(tmp_path / "accepted.parquet")
    ids = matched(sets, path, 150, complete=False)
    uris = {side: shards.uri for side, shards in sets.items()}
    one = by_label(evaluate_matched(**uris, accepted=path, seeds=1))
    assert [label.partition(", ")[2] for label in one] == ["random", "Top-1 matched, in part"] * 4
    assert {result.spread for result in one.values()} == {None}
    two = by_label(evaluate_matched(**uris, accepted=path, seeds=[3, 0]))
    name = "KD made-up, Top-1 matched, in part"
    assert two[name].convention["seeds"] == "0,3"
    assert two[name].details["values"][0] == one[name].value
    assert two[name].spread == np.std(two[name].details["values"], ddof=1) > 0
    # KID of fewer than 1000 samples is over subsets of all samples of the smaller side.
    features = {side: shards.read(NAME) for side, shards in sets.items()}
    accepted = {"real": features["real"], "generated": features["generated"][ids]}
    expected = rm.kernel_distance(**accepted, subsets=100, subset_size=len(ids)).mean
    assert one[name].value == pytest.approx(expected, rel=1e-9)


def test_the_convention_of_draws() -> None:
    """As the paper's program: min(samples, 1000) in each of 100 subsets."""
    for real, n, subsets, size in ((5000, 2000, 100, 1000), (5000, 300, 100, 300), (60, 60, 1, 60)):
        convention = draw_convention(real=real, n=n)
        assert (convention.kid_subsets, convention.kid_subset_size) == (subsets, size)


def weights_file(sets: dict[str, ShardSet], path: str, **changes: object) -> np.ndarray:
    """Weights of the generated samples, in a file as `reweight` writes it."""
    weights = reweight(**{side: shards.read(NAME) for side, shards in sets.items()}).weights
    about = selection_metadata(
        "weights",
        View.from_shards(sets["generated"]),
        match="pre_logits",
        extractor="made-up",
        effective_sample_size=1 / (weights**2).sum(),
        **{"optimizer": "lbfgs", **changes},
    )
    write_selection(path, {"sample_id": np.arange(900), "weight": weights}, about)
    return weights


def test_a_name_says_what_is_not_as_by_default(sets: dict[str, ShardSet], tmp_path: Path) -> None:
    path, uris = str(tmp_path / "weights.parquet"), {s: shards.uri for s, shards in sets.items()}
    unusual = {"optimizer": "gd", "covariance": "program", "select": "best-of-draws"}
    weights = weights_file(sets, path, **unusual, learning_rate=3.0)
    found = evaluate_reweighted(
        **uris, weights=[path], seeds=[4, 9], scheme="systematic", convention=SMALL
    )
    name = "reweighted by made-up pre_logits, gd, program's covariance, best of draws, "
    result = by_label(found)[f"FD made-up, {name}systematic draws"]
    said = {"drawn": f"{name}systematic draws", "scheme": "systematic", "learning_rate": 3.0}
    assert {**result.convention, **said, **unusual, "seeds": "4,9"} == result.convention
    (warning,) = result.warnings
    assert warning.startswith("the weights are those of the smallest distance of drawn samples")
    # The grid shows a part of the draw itself, with its repetitions.
    draw = draw_by_weight(weights, 200, 4, "systematic").tolist()
    shown = result.details["shown"]
    assert len(shown) == 144
    assert all(shown.count(i) <= draw.count(i) for i in shown)
    assert len(set(shown)) < 144
    assert len(by_label(found)["FD made-up, random"].details["shown"]) == 144


def test_reweighted_draws(sets: dict[str, ShardSet], tmp_path: Path) -> None:
    uris = {side: shards.uri for side, shards in sets.items()}
    features = {side: shards.read(NAME) for side, shards in sets.items()}
    path = str(tmp_path / "weights.parquet")
    weights = weights_file(sets, path)
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
