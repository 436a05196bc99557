"""Philox against the published numbers of its authors, and its normals against their laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from raymetrics.generators.philox import normals, philox

IDS = torch.tensor([0, 1, 107, 2**31, 2**32, 2**40 + 107])


# From the file kat_vectors of Random123, the program of Salmon et al. (2011).
@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000",
         "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
         "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
         "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)  # fmt: skip
def test_the_published_numbers(counter: str, key: str, expected: str, device: torch.device) -> None:
    words = [[torch.tensor(int(x, 16), device=device) for x in t.split()] for t in (counter, key)]
    assert " ".join(f"{int(word):08x}" for word in philox(*words)) == expected


def test_numbers_are_standard_normal_and_independent(device: torch.device) -> None:
    values = normals(torch.arange(200, device=device), 3, 1001).cpu().double().numpy()
    assert stats.kstest(values.ravel(), "norm").pvalue > 1e-3
    for power, moment in ((1, 0), (2, 1), (3, 0), (4, 3)):
        of_power = values**power
        assert abs(of_power.mean() - moment) < 4 * of_power.std() / math.sqrt(values.size)
    # Neighbors in a sample, and the same place of two samples; the pairs of Box and Muller too.
    for one, other in ((values[:, :-1], values[:, 1:]), (values[:-1], values[1:])):
        for power in (1, 2):
            assert abs(np.corrcoef(one.ravel() ** power, other.ravel() ** power)[0, 1]) < 0.01


def test_a_sample_s_numbers_depend_on_its_id_and_the_stream_alone(device: torch.device) -> None:
    ids = IDS.to(device)
    together = normals(ids, 1, 10)
    assert (together.dtype, together.shape) == (torch.float32, (6, 10))
    assert together.device.type == device.type
    for row, k in enumerate(ids):
        assert normals(k[None], 1, 10)[0].equal(together[row])
    assert normals(ids.flip(0), 1, 10).flip(0).equal(together)
    assert normals(ids, 1, 7).equal(together[:, :7])
    other_stream = normals(ids, 2, 10)
    assert len(torch.cat([together, other_stream]).flatten().unique()) == 120


@pytest.mark.gpu
def test_a_gpu_draws_what_a_cpu_draws() -> None:
    ids = torch.arange(64)
    cpu, gpu = normals(ids, 0, 10_000), normals(ids.cuda(), 0, 10_000).cpu()
    torch.testing.assert_close(gpu, cpu, rtol=2e-7, atol=0)
    assert (gpu != cpu).float().mean() < 1e-5
