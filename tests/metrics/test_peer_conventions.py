"""The conventions of torchmetrics and of ADM's evaluator, and choices that are set one by one."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax

import raymetrics as rm
from raymetrics.errors import NotEnoughData, RaymetricsError
from raymetrics.metrics import (
    CONVENTIONS,
    Convention,
    assign_splits,
    get_convention,
    inception_score,
)
from raymetrics.metrics.conventions import change_convention, largest_roots, parse_changes
from raymetrics.metrics.required_statistics import inception_splits
from raymetrics.statistics import ClassScores


class Pixels(torch.nn.Module):
    """A network whose features are the pixels of an image."""

    num_features = 12

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1).float()


def pictures(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.integers(0, 256, (count, 3, 2, 2), np.uint8)


def features(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float32)


def test_distances_are_those_of_torchmetrics(rng: np.random.Generator) -> None:
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance

    real, generated = pictures(rng, 60), pictures(rng, 60) // 2
    sides = {"real": features(real), "generated": features(generated)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # All rows in every subset: its draws have no seed.
        kid = KernelInceptionDistance(feature=Pixels(), subsets=2, subset_size=60)
        fid = FrechetInceptionDistance(feature=Pixels())
        for metric in (fid.set_dtype(torch.float64), kid):
            metric.update(torch.from_numpy(real), real=True)
            metric.update(torch.from_numpy(generated), real=False)
        frechet, (kernel, _) = float(fid.compute()), kid.compute()
    ours = rm.frechet_distance(**sides, convention="torchmetrics")
    assert ours == pytest.approx(frechet, rel=1e-6)
    ours = rm.kernel_distance(**sides, subsets=2, subset_size=60, convention="torchmetrics").mean
    assert ours == pytest.approx(float(kernel), rel=1e-3)  # theirs is float32


def test_the_inception_score_is_that_of_torchmetrics(rng: np.random.Generator) -> None:
    from torchmetrics.image.inception import InceptionScore

    images = pictures(rng, 50)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metric = InceptionScore(feature=Pixels(), splits=5)
        metric.update(torch.from_numpy(images))
        torch.manual_seed(3)
        mean, std = metric.compute()
    torch.manual_seed(3)
    order = torch.randperm(50).numpy()
    convention = get_convention("torchmetrics", is_splits=5)
    splits = assign_splits(50, convention.is_splits, None)
    scores = ClassScores.from_samples(splits, features(images)[order], 5)
    score = inception_score(scores, convention.is_ddof)
    assert score == pytest.approx((float(mean), float(std)), rel=1e-4)


def adm_inception_score(logits: np.ndarray, split_size: int = 5000) -> float:
    """guided-diffusion/evaluations/evaluator.py, compute_inception_score, in float64."""
    p, log_p = softmax(logits, axis=1), log_softmax(logits, axis=1)
    scores = []
    for start in range(0, len(p), split_size):
        part, log_part = p[start : start + split_size], log_p[start : start + split_size]
        kl = part * (log_part - np.log(part.mean(axis=0)))
        scores.append(np.exp(kl.sum(axis=1).mean()))
    return float(np.mean(scores))


@pytest.mark.parametrize("count", [7000, 10_000, 300])
def test_the_inception_score_of_adm(rng: np.random.Generator, count: int) -> None:
    logits = rng.normal(size=(count, 6)) * 3
    logits[: count // 2, 0] += 4  # sorted by class, which it does not shuffle
    splits = inception_splits(count, get_convention("adm"))
    scores = ClassScores.from_samples(splits, logits, int(splits.max()) + 1)
    assert inception_score(scores).mean == pytest.approx(adm_inception_score(logits), rel=1e-12)


def in_balls_of_adm(queries: np.ndarray, features: np.ndarray, k: int) -> np.ndarray:
    """evaluator.py, DistanceBlock and ManifoldEstimator: squared distances in float16, and <=."""
    q, x = (a.astype(np.float16).astype(np.float64) for a in (queries, features))

    def squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return ((a[:, None] - b) ** 2).sum(axis=2).astype(np.float16)

    radii = np.partition(squared(x, x), range(k + 1), axis=1)[:, k]
    return (squared(q, x) <= radii).any(axis=1)


@pytest.mark.parametrize("scale", [1.0, 0.03])
def test_balls_of_adm(rng: np.random.Generator, scale: float) -> None:
    real, generated = ((scale * rng.normal(size=(n, 5))).astype(np.float32) for n in (140, 120))
    generated[:20] = real[:20]
    generated[20:60] = real[20:60] + np.float32(scale * 0.01)
    precision, recall = rm.precision_recall(real=real, generated=generated, convention="adm")
    assert precision == in_balls_of_adm(generated, real, 3).mean()
    assert recall == in_balls_of_adm(real, generated, 3).mean()


@given(st.floats(1e-30, 1e17))
def test_the_largest_root_is_the_last_whose_square_fits(square: float) -> None:
    root = float(largest_roots(np.array([square]))[0])
    larger = float(np.nextafter(root, np.inf))
    assert root * root <= square < larger * larger  # a power of scalars may be rounded otherwise


def test_choices_are_set_by_name() -> None:
    changes = parse_changes("kid_subsets=20, is_splits=5,k=3+5,ball=open")
    assert changes == {"kid_subsets": 20, "is_splits": 5, "k": (3, 5), "ball": "open"}
    changed = change_convention(CONVENTIONS["nvidia"], **changes)
    assert (changed.kid_subsets, changed.ks, changed.distances) == (20, (3, 5), "float16")
    assert changed.changes == ("kid_subsets=20", "is_splits=5", "k=3+5", "ball=open")
    assert change_convention(CONVENTIONS["nvidia"], ddof=0).changes == ()
    assert parse_changes("") == {}


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("kid_subset=20", RaymetricsError, "did you mean kid_subsets"),
        ("kid_subsets", RaymetricsError, "write NAME=VALUE with k, ball"),
        ("kid_subsets=many", RaymetricsError, "expected a whole number"),
        ("name=mine", RaymetricsError, "sets no choice"),
        ("ball=oval", RaymetricsError, "there are closed, open"),
        ("is_split_size=0", NotEnoughData, "expected at least 1"),
        ("ddof=-1", NotEnoughData, "expected at least 0"),
    ],
)
def test_choices_that_do_not_exist(text: str, error: type[RaymetricsError], message: str) -> None:
    with pytest.raises(error, match=message):
        change_convention(Convention(), **parse_changes(text))


def fd_evaluator_inception_score(logits: np.ndarray, splits: int = 10) -> float:
    """fd_evaluator/api.py, _inception_score, without its 1e-10 and in float64."""
    probabilities = softmax(logits, axis=1)
    count = len(probabilities)
    probabilities = probabilities[np.random.RandomState(0).permutation(count)]
    chunk = count // splits
    scores = []
    for k in range(splits):
        part = probabilities[k * chunk : (k + 1) * chunk]
        kl = part * (np.log(part) - np.log(part.mean(axis=0, keepdims=True)))
        scores.append(np.exp(kl.sum(axis=1).mean()))
    return float(np.mean(scores))


def fd_loss_inception_score(logits: np.ndarray, splits: int = 10) -> tuple[float, float]:
    """frechet_distance/metrics.py of FD-loss, compute_isc."""
    count = len(logits)
    logits = logits[np.random.RandomState(2020).permutation(count)]
    p, log_p = softmax(logits, axis=1), log_softmax(logits, axis=1)
    scores = []
    for i in range(splits):
        rows = slice(i * count // splits, (i + 1) * count // splits)
        kl = p[rows] * (log_p[rows] - np.log(p[rows].mean(axis=0)))
        scores.append(np.exp(kl.sum(axis=1).mean()))
    return float(np.mean(scores)), float(np.std(scores))


def test_the_inception_scores_of_2026(rng: np.random.Generator) -> None:
    logits = rng.normal(size=(730, 5)) * 2
    scores = {
        name: inception_score(
            ClassScores.from_samples(inception_splits(730, CONVENTIONS[name]), logits, 10)
        )
        for name in ("fdeval", "fd-loss", "mar")
    }
    assert scores["fdeval"].mean == pytest.approx(fd_evaluator_inception_score(logits), rel=1e-12)
    assert scores["fd-loss"] == pytest.approx(fd_loss_inception_score(logits), rel=1e-12)
    assert scores["mar"] == scores["fd-loss"]  # the fork shuffles as torch-fidelity does


def test_the_distance_of_edm2(rng: np.random.Generator) -> None:
    """calculate_metrics.py: sums over batches, divided by n - 1, and a root by scipy."""
    from scipy.linalg import sqrtm

    sides = {"real": rng.normal(size=(90, 4)), "generated": rng.normal(1, 2, size=(70, 4))}
    moments = []
    for x in sides.values():
        mean = x.sum(axis=0) / len(x)
        moments.append((mean, (x.T @ x - np.outer(mean, mean) * len(x)) / (len(x) - 1)))
    (m, s), (mu, sigma) = moments
    root = sqrtm(s @ sigma).real
    expected = np.square(m - mu).sum() + np.trace(s + sigma - 2 * root)
    for convention in ("edm2", "fd-loss", "fdeval", "adm", "mar"):
        ours = rm.frechet_distance(**sides, convention=convention)
        assert ours == pytest.approx(float(expected), rel=1e-9)
