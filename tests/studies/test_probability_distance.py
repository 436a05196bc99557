"""The Frechet distance of class probabilities, against numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import raymetrics as rm
from raymetrics.errors import RaymetricsError
from tests.conftest import write_set
from tests.helpers import oracles

pytestmark = pytest.mark.usefixtures("no_actors")


def softmax(logits: np.ndarray) -> np.ndarray:
    """exp(x) / sum exp(x), as Bridle (1990) writes it."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.fixture
def logits(tmp_path: Path, rng: np.random.Generator) -> dict[str, dict[str, np.ndarray]]:
    """Logits of both sides, of two kinds, which are also written as shard sets."""
    sides = {}
    for side, count, scale in (("real", 130, 2.0), ("generated", 90, 3.0)):
        logits = (scale * rng.normal(size=(count, 6))).astype(np.float32)
        sides[side] = {"logits": logits, "logits_unbiased": logits + np.arange(6, dtype=np.float32)}
        write_set(str(tmp_path / side), sides[side], shard_rows=40)
    return sides


def test_of_each_column_of_logits(tmp_path: Path, logits: dict) -> None:
    uris = {side: str(tmp_path / side) for side in logits}
    found = rm.evaluate(**uris, metrics="fid-probabilities")
    for result in found:
        output = result.space["output"]
        sides = {side: softmax(columns[output])[:, :5] for side, columns in logits.items()}
        # The sixth is 1 minus the others, so its part is that of their sum; Eq. 1 is not changed by
        # a rotation, and the covariance of all six is singular, which the oracle cannot take.
        basis = np.linalg.svd(np.vstack([np.eye(5), -np.ones(5)]), full_matrices=False)
        rotated = {side: p @ np.diag(basis[1]).dot(basis[2]).T for side, p in sides.items()}
        assert result.value == pytest.approx(oracles.frechet_distance(**rotated), rel=1e-6)
        assert result.convention["probabilities"] == "softmax of the logits"
    assert [result.label for result in found] == [
        "FD of probabilities made-up",
        "FD of probabilities made-up logits_unbiased",
    ]


def test_features_are_no_logits(tmp_path: Path, rng: np.random.Generator) -> None:
    write_set(str(tmp_path / "a"), {"pre_logits": rng.normal(size=(20, 3)).astype(np.float32)})
    with pytest.raises(RaymetricsError, match="fid-probabilities takes a column of logits; there"):
        rm.evaluate(
            real=str(tmp_path / "a"), generated=str(tmp_path / "a"), metrics="fid-probabilities"
        )
