"""The draws of torch's generator: torch's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raymetrics.metrics.torch_random import TorchRandom


@pytest.mark.parametrize("seed", [0, 2020, 2**32 - 1])
@pytest.mark.parametrize("count", [0, 1, 2, 5000])
@pytest.mark.parametrize("shape", [(16, 1), (4, 4), (33, 7), (40, 512)])
def test_permutation_and_normals(seed: int, count: int, shape: tuple[int, int]) -> None:
    """One after the other from one stream; torch's own processors differ in the last bits."""
    theirs, ours = torch.Generator().manual_seed(seed), TorchRandom(seed)
    expected = torch.randperm(count, generator=theirs).numpy()
    half = count // 2
    np.testing.assert_array_equal(ours.permutation_start(count, half), expected[:half])
    normals = ours.normals(*shape)
    assert normals.dtype == np.float32
    expected = torch.randn(*shape, generator=theirs).numpy()
    np.testing.assert_allclose(normals, expected, rtol=1e-6, atol=1e-6)


def test_few_normals_are_an_error() -> None:
    with pytest.raises(ValueError, match="15 normal numbers, expected at least 16"):
        TorchRandom(0).normals(3, 5)
