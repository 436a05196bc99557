"""Precision and recall: what they mean, and peers. Flag by flag: tests/search."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from prdc import compute_prdc
from torch_fidelity.metric_prc import prc_features_to_metric

import raymetrics as rm
from raymetrics.errors import NotEnoughData, ShardError


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


def test_bad_arrays_are_named() -> None:
    good = np.zeros((10, 3))
    with pytest.raises(ShardError, match=r"generated.*\[samples, dimension\]"):
        rm.precision_recall(real=good, generated=np.zeros(3))
    with pytest.raises(ShardError, match="3 dimensions.*4"):
        rm.precision_recall(real=good, generated=np.zeros((10, 4)))
    with pytest.raises(ShardError, match="real features hold NaN"):
        rm.precision_recall(real=np.full((10, 3), np.nan), generated=good)
    with pytest.raises(NotEnoughData, match="at least 4"):
        rm.precision_recall(real=good[:3], generated=good, k=3)
