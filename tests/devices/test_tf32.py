"""Flags of products, and constants of devices."""

from __future__ import annotations

import threading

import pytest
import torch

from raymetrics.devices.constants import cache_constants, forget_constants
from raymetrics.devices.tf32 import set_tf32

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def flags() -> tuple[bool, bool]:
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


@pytest.fixture(params=[(False, True), (True, False)])
def before(request: pytest.FixtureRequest):
    kept = flags()
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = request.param
    yield request.param
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = kept


@pytest.mark.parametrize("allowed", [True, False])
def test_flags_are_set_and_restored(before, allowed: bool) -> None:
    with set_tf32(allowed, CUDA):
        assert flags() == (allowed, allowed)
        with set_tf32(not allowed, CUDA):
            assert flags() == (not allowed, not allowed)
        assert flags() == (allowed, allowed)
    assert flags() == before


def test_flags_are_restored_after_an_error(before) -> None:
    with pytest.raises(ValueError, match="of the network"), set_tf32(True, CUDA):
        raise ValueError("of the network")
    assert flags() == before


def test_a_cpu_changes_no_flag(before) -> None:
    with set_tf32(True, CPU):
        assert flags() == before


def test_threads_do_not_see_each_other_s_flags() -> None:
    seen = []

    def look(allowed: bool) -> None:
        for _ in range(200):
            with set_tf32(allowed, CUDA):
                seen.append(flags() == (allowed, allowed))

    threads = [threading.Thread(target=look, args=(allowed,)) for allowed in (True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(seen)
    assert len(seen) == 400


def test_constants_are_made_once_for_each_device() -> None:
    made = []

    @cache_constants
    def ramp(size: int, device: torch.device) -> torch.Tensor:
        made.append((size, device))
        return torch.arange(float(size), device=device)

    with torch.inference_mode():
        first = ramp(3, CPU)
    assert ramp(3, CPU) is first
    assert ramp(3, torch.device("meta")).device.type == "meta"
    assert len(made) == 2
    # Made in inference mode, but of use where gradients are computed.
    scale = torch.ones(3, requires_grad=True)
    (scale * first).sum().backward()
    assert scale.grad.tolist() == [0, 1, 2]
    forget_constants()
    assert ramp(3, CPU) is not first
