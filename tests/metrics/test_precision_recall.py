"""Precision and recall: what they mean, and peers. Flag by flag: tests/search."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from prdc import compute_prdc
from torch_fidelity.metric_prc import prc_features_to_metric

import raymetrics as rm
from raymetrics.errors import NotEnoughData, ShardError
from raymetrics.in_memory.manifolds import survey_features
from raymetrics.metrics import f_score, get_convention, manifold_scores, rank_ids
from raymetrics.metrics.survey_needs import SurveyNeeds
from tests.helpers import oracles

NEEDS = SurveyNeeds.of_convention(count=True, realism=True)


def test_meaning(rng) -> None:
    """A collapsed generator is precise and recalls nothing; a spread one the other way round."""
    real = rng.normal(size=(400, 4))
    collapsed = real[:1] + rng.normal(0, 1e-3, size=(400, 4))
    spread = rng.normal(0, 6, size=(400, 4))
    narrow = rm.precision_recall(real=real, generated=collapsed)
    wide = rm.precision_recall(real=real, generated=spread)
    assert narrow.precision == 1.0
    assert narrow.recall < 0.02
    assert wide.precision < 0.3
    assert wide.recall > 0.9


def with_copies(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Neither side is like the other, and some of the generated are copies of real ones."""
    real = rng.normal(size=(110, 5))
    return {"real": real, "generated": np.concatenate([rng.normal(0.5, 1, (80, 5)), real[:9]])}


def test_equal_sets(rng: np.random.Generator) -> None:
    x = rng.normal(size=(60, 4))
    scores = rm.prdc(real=x, generated=x, k=3)[3]
    assert (scores.precision, scores.recall, scores.f_score, scores.coverage) == (1, 1, 1, 1)
    # Every centre is in its own ball, and k more points are, so that the balls hold n (k + 1).
    assert scores.density == pytest.approx(4 / 3)


def test_disjoint_sets(rng: np.random.Generator) -> None:
    x = rng.normal(size=(60, 4))
    assert rm.prdc(real=x, generated=x + 1000, k=3)[3] == (0, 0, 0, 0, 0)
    assert (rm.in_memory.realism(real=x, generated=x + 1000) < 0.01).all()


def test_dropped_modes_cost_coverage_but_not_precision(rng: np.random.Generator) -> None:
    real = rng.normal(size=(200, 2))
    real[100:] += 100
    scores = rm.prdc(real=real, generated=real[:100] + 1e-6, k=5)[5]
    assert scores.precision == 1
    assert scores.coverage == scores.recall == 0.5


def test_precision_one_way_is_recall_the_other(rng: np.random.Generator) -> None:
    sides = with_copies(rng)
    there = rm.precision_recall(**sides)
    back = rm.precision_recall(real=sides["generated"], generated=sides["real"])
    assert there.precision != there.recall
    assert (back.recall, back.precision) == there


def test_the_textbook(rng: np.random.Generator) -> None:
    """Equations 1 to 3, and density and coverage as their authors define them, by loops."""
    sides = with_copies(rng)
    real, generated = sides["real"], sides["generated"]
    hits, occupancy, realism = oracles.balls(generated, real, 3)
    scores = rm.prdc(**sides, k=3)[3]
    recalled = oracles.manifold_flags(real, generated, 3).mean()
    assert scores[:2] == ((hits > 0).mean(), recalled) == rm.precision_recall(**sides, k=3)
    assert scores.density == pytest.approx(hits.mean() / 3, rel=1e-12)
    assert scores.coverage == (occupancy > 0).mean()
    found = rm.in_memory.realism(**sides, k=3)
    assert np.isinf(found).sum() in range(1, 10)  # copies of the smaller balls' centres
    np.testing.assert_allclose(found, realism, rtol=1e-12)


def test_a_ball_of_median_radius_counts_for_realism() -> None:
    """On a line, with k = 1, the radii are 1, 1, 2, 4, 8; and R is a ratio, not its square."""
    real = np.array([[0.0], [1.0], [3.0], [7.0], [15.0]])
    generated = np.array([[-2.0], [3.0], [5.0], [23.0]])
    # 23 is on the ball of 15, which is too large to count: the one of radius 2 is 20 away.
    expected = [1 / 2, np.inf, 2 / 2, 2 / 20]
    np.testing.assert_allclose(rm.in_memory.realism(real=real, generated=generated, k=1), expected)
    assert rm.precision_recall(real=real, generated=generated, k=1).precision == 0.75


def test_realism_is_of_the_convention(rng: np.random.Generator) -> None:
    """Inside of a kept ball is R >= 1, whatever the ball."""
    real = rng.integers(0, 4, size=(90, 4)).astype(float)
    generated = rng.integers(0, 5, size=(80, 4)).astype(float)
    for name in ("raymetrics", "prdc", "nvidia"):
        found = survey_features(real, generated, get_convention(name, k=3), NEEDS)
        kept = found.real_radii[:, 0] <= np.median(found.real_radii[:, 0])
        apart = np.sqrt(((generated[:, None] - real) ** 2).sum(axis=2))
        held = (apart <= found.real_radii[:, 0]) & kept
        np.testing.assert_array_equal(found.generated_in_real.realism >= 1, held.any(axis=1))


def test_ranked_from_the_most_realistic_and_ties_by_id() -> None:
    realism = np.array([0.5, np.inf, 2.0, 0.5, np.inf, 2.0, 0.1])
    ids = [40, 31, 12, 3, 24, 15, 6]
    assert rank_ids(ids, realism).tolist() == [24, 31, 12, 15, 3, 40, 6]
    assert rank_ids(np.array(ids)[::-1], realism[::-1]).tolist() == [24, 31, 12, 15, 3, 40, 6]


def test_several_k_are_each_as_alone(rng: np.random.Generator) -> None:
    sides = with_copies(rng)
    together = rm.prdc(**sides, k=[5, 1, 3])
    assert list(together) == [1, 3, 5]
    for k, scores in together.items():
        assert rm.prdc(**sides, k=k) == {k: scores}
    assert rm.prdc(**sides, k=3, convention="prdc") != {3: together[3]}
    assert list(rm.prdc(**sides, convention="prdc")) == [5]
    found = survey_features(
        **sides, convention=get_convention("raymetrics", k=(1, 3, 5)), needs=NEEDS
    )
    assert manifold_scores(found) == list(together.values())


def test_f_score() -> None:
    assert f_score(0.5, 1.0) == pytest.approx(2 / 3, rel=1e-15)
    assert f_score(0.25, 0.25) == 0.25
    assert f_score(0.0, 0.0) == f_score(0.0, 1.0) == 0.0


def test_torch_fidelity_and_prdc(rng) -> None:
    """Both agree on data without ties; prdc's open balls make no difference there."""
    real, generated = (rng.normal(m, 1, size=(200, 16)).astype(np.float32) for m in (0, 0.3))
    ours = rm.precision_recall(real=real, generated=generated, k=3)
    theirs = compute_prdc(real, generated, nearest_k=3)
    assert ours == (theirs["precision"], theirs["recall"])
    peers = prc_features_to_metric(
        torch.from_numpy(generated),
        torch.from_numpy(real),
        prc_neighborhood=3,
        prc_batch_size=64,
        save_cpu_ram=False,
        verbose=False,
    )
    assert ours.precision == pytest.approx(peers["precision"], abs=1e-6)  # theirs is float32
    assert ours.recall == pytest.approx(peers["recall"], abs=1e-6)
    assert f_score(*ours) == pytest.approx(peers["f_score"], abs=1e-6)


def test_bad_arrays_are_named() -> None:
    good = np.zeros((10, 3))
    with pytest.raises(ShardError, match=r"generated.*\[samples, dimension\]"):
        rm.precision_recall(real=good, generated=np.zeros(3))
    with pytest.raises(ShardError, match="real features have 3 dimensions, generated ones 4"):
        rm.precision_recall(real=good, generated=np.zeros((10, 4)))
    bad = good.copy()
    bad[[2, 7], [0, 1]] = np.nan, -np.inf
    for verb in (rm.precision_recall, rm.prdc, rm.in_memory.realism):
        with pytest.raises(ShardError, match=r"generated features.*in 2 of 10 rows \(2, 7\)"):
            verb(real=good, generated=bad)
    with pytest.raises(ShardError, match=r"real.*in 10 of 10 rows \(0, 1, 2, 3, 4, \.\.\.\)"):
        rm.precision_recall(real=good + np.nan, generated=good)


def test_too_few_samples_are_an_error_not_a_number(rng: np.random.Generator) -> None:
    x = rng.normal(size=(10, 3))
    assert rm.precision_recall(real=x[:4], generated=x, k=3).precision > 0
    with pytest.raises(NotEnoughData, match="of each of 3 real samples; it takes at least 4"):
        rm.precision_recall(real=x[:3], generated=x, k=3)
    with pytest.raises(NotEnoughData, match="of each of 5 generated samples; it takes at least 6"):
        rm.prdc(real=x, generated=x[:5], k=(1, 5))
    with pytest.raises(NotEnoughData, match="0 generated samples"):
        rm.in_memory.realism(real=x, generated=x[:0])
    with pytest.raises(NotEnoughData, match=r"takes one k, not \(3, 5\); see prdc"):
        rm.precision_recall(real=x, generated=x, k=(3, 5))
