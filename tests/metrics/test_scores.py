"""Means of scores: closed forms, laws, and the aesthetic head in the layout of its file."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from raymetrics import in_memory
from raymetrics.errors import ExtractorError, NotEnoughData, RaymetricsError, ShardError
from raymetrics.metrics import aesthetic, clip_score, mean_score, normalize_rows, scale_cosines
from raymetrics.metrics.registry import find_metric
from raymetrics.statistics import Moments

RNG = np.random.default_rng(3)


def test_mean_and_standard_error() -> None:
    scores = RNG.normal(20, 3, 500)
    mean, error = in_memory.score(generated=scores)
    assert mean == pytest.approx(scores.mean(), rel=1e-12)
    assert error == pytest.approx(scores.std(ddof=1) / np.sqrt(500), rel=1e-10)
    assert in_memory.score(generated=scores[:1]) == (pytest.approx(scores[0]), None)
    assert in_memory.score(generated=torch.tensor([2.0, 2.0])) == (2.0, 0.0)


def test_any_partition_gives_the_same_score() -> None:
    scores = RNG.normal(size=(300, 1)) + 1e4
    whole = mean_score(Moments.from_samples(scores))
    parts = [Moments.from_samples(part) for part in np.split(scores, [1, 7, 7, 250])]
    merged = Moments.empty(1)
    for part in reversed(parts):
        merged = part.merge(merged)
    np.testing.assert_allclose(mean_score(merged), whole, rtol=1e-10)


@pytest.mark.parametrize(
    ("cosines", "torchmetrics", "hessel", "cosine"),
    [([0.3, 0.2], 25.0, 0.625, 0.25), ([0.3, -0.5], 0.0, 0.375, -0.1), ([-1.0], 0.0, 0.0, -1.0)],
)
def test_scalings(cosines: list[float], torchmetrics: float, hessel: float, cosine: float) -> None:
    """torchmetrics cuts the mean at 0, Hessel et al. every cosine."""
    expected = {"torchmetrics": torchmetrics, "hessel": hessel, "cosine": cosine}
    for scaling, value in expected.items():
        score = in_memory.clipscore(generated=np.array(cosines), scaling=scaling)
        assert score.mean == pytest.approx(value, abs=1e-12)


def test_scaled_cosines_merge() -> None:
    cosines = RNG.uniform(-0.5, 0.9, (100, 1)).astype(np.float32)
    for scaling in ("torchmetrics", "hessel", "cosine"):
        whole = clip_score(Moments.from_samples(scale_cosines(cosines, scaling)), scaling)
        halves = [Moments.from_samples(scale_cosines(x, scaling)) for x in np.split(cosines, 2)]
        np.testing.assert_allclose(clip_score(halves[1].merge(halves[0]), scaling), whole)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: in_memory.score(generated=np.zeros(0)), NotEnoughData, "takes at least 1"),
        (lambda: in_memory.score(generated=np.array([1, np.nan])), ShardError, "NaN"),
        (lambda: in_memory.score(generated=np.zeros((3, 2))), ShardError, r"shape \[3, 2\]"),
        (lambda: in_memory.clipscore(generated=np.array([31.0])), ShardError, "beyond -1 to 1"),
        (
            lambda: in_memory.clipscore(generated=np.zeros(3), scaling="percent"),
            RaymetricsError,
            "scaling of clipscore is 'percent'; there are torchmetrics, hessel, cosine",
        ),
        (lambda: find_metric("clipscore?scaling=x"), RaymetricsError, "scaling of clipscore"),
    ],
)
def test_bad_scores(call, error: type[RaymetricsError], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """The authors' network with random weights, whose file is the known one for this test."""
    torch.manual_seed(0)
    widths = ((768, 1024, 0.2), (1024, 128, 0.2), (128, 64, 0.1))
    layers = [part for i, o, p in widths for part in (nn.Linear(i, o), nn.Dropout(p))]
    network = nn.Module()
    network.layers = nn.Sequential(*layers, nn.Linear(64, 16), nn.Linear(16, 1)).eval()
    file = tmp_path / aesthetic.AESTHETIC.name
    torch.save(network.state_dict(), file)
    monkeypatch.setenv("RAYMETRICS_WEIGHTS", str(tmp_path))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setattr(aesthetic, "AESTHETIC", replace(aesthetic.AESTHETIC, sha256=digest))
    return network


def test_the_aesthetic_score_is_the_network_s(head: nn.Module) -> None:
    """Mean and error of the scores of single images, as simple_inference.py computes them."""
    embeddings = RNG.normal(0.2, 1, (60, 768)).astype(np.float32)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    with torch.no_grad():
        scores = head.layers(torch.from_numpy(unit)).double().numpy()[:, 0]
    mean, error = in_memory.aesthetic(generated=embeddings)
    assert mean == pytest.approx(scores.mean(), rel=1e-5)
    assert error == pytest.approx(scores.std(ddof=1) / np.sqrt(60), rel=1e-4)


def test_the_aesthetic_head_is_one_linear_function(head: nn.Module) -> None:
    """In float64, to rounding."""
    loaded = aesthetic.load_aesthetic_head()
    unit = normalize_rows(RNG.normal(size=(5, 768)))
    with torch.no_grad():
        expected = head.double().layers(torch.from_numpy(unit)).numpy()[:, 0]
    np.testing.assert_allclose(unit @ loaded.weights + loaded.bias, expected, rtol=1e-10)


def test_wrong_heads_and_features(
    head: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ExtractorError, match="takes 768 features of clip-vit-l-14, not 512"):
        in_memory.aesthetic(generated=RNG.normal(size=(5, 512)))
    with pytest.raises(ShardError, match="have no direction"):
        in_memory.aesthetic(generated=np.zeros((5, 768)))
    state = {name: value.numpy() for name, value in head.state_dict().items()}
    del state["layers.7.bias"]
    with pytest.raises(ExtractorError, match=r"not those of the aesthetic head .*layers.7.bias"):
        aesthetic.fold_layers(state, "there")
    (tmp_path / aesthetic.AESTHETIC.name).write_bytes(b"damaged")
    with pytest.raises(ExtractorError, match="have SHA-256"):
        aesthetic.load_aesthetic_head()


def test_the_metric_takes_one_network_only() -> None:
    metric = find_metric("aesthetic")
    assert metric.applies_to("features", "clip-vit-l-14", explicit=False)
    for network in ("clip-vit-l-14-336", "clip-vit-b-32", "dinov2-vit-l-14"):
        assert not metric.applies_to("features", network, explicit=True)
