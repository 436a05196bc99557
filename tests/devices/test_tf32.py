"""Flags of products, and constants of devices."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch

from raymetrics.devices.constants import cache_constants, forget_constants
from raymetrics.devices.tf32 import set_tf32

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@dataclass(frozen=True)
class Flags:
    """What torch says of products of matrices and of convolutions, by all its names."""

    matmul: str
    convolution: str
    former: tuple[bool, bool] | None  # None where torch refuses to answer

    @classmethod
    def read(cls) -> Flags:
        matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
        try:
            former = matmul.allow_tf32, cudnn.allow_tf32
        except RuntimeError:
            former = None
        return cls(matmul.fp32_precision, cudnn.conv.fp32_precision, former)

    @property
    def allow(self) -> bool:
        """Whether both are in TF32; both must be, or none."""
        assert (self.matmul == "tf32") == (self.convolution == "tf32")
        return self.matmul == "tf32"


def set_by_matmul_precision(precision: str, convolve: bool) -> None:
    torch.set_float32_matmul_precision(precision)
    torch.backends.cudnn.allow_tf32 = convolve


def set_by_newer_names() -> None:
    torch.backends.cuda.matmul.fp32_precision = "tf32"


SETTINGS = {
    "as torch begins": lambda: set_by_matmul_precision("highest", True),
    "as workers have it": lambda: set_by_matmul_precision("highest", False),
    "as training programs have it": lambda: set_by_matmul_precision("high", True),
    "medium": lambda: set_by_matmul_precision("medium", True),
    "by newer names": set_by_newer_names,
}


@pytest.fixture(params=SETTINGS)
def before(request: pytest.FixtureRequest) -> Iterator[Flags]:
    newer = torch.backends.cuda.matmul.fp32_precision
    former = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    SETTINGS[request.param]()
    yield Flags.read()
    torch.backends.cuda.matmul.fp32_precision = newer
    set_by_matmul_precision(*former)


@pytest.mark.parametrize("allowed", [True, False])
def test_flags_are_set_and_restored(before: Flags, allowed: bool) -> None:
    with set_tf32(allowed, CUDA):
        assert Flags.read().allow == allowed
        with set_tf32(not allowed, CUDA):
            assert Flags.read().allow != allowed
        assert Flags.read().allow == allowed
    after = Flags.read()
    assert (after.matmul == "tf32", after.convolution == "tf32", after.former) == (
        before.matmul == "tf32", before.convolution == "tf32", before.former
    )  # fmt: skip


def test_the_precision_of_a_training_program_is_restored() -> None:
    former = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    with set_tf32(False, CUDA):
        assert torch.get_float32_matmul_precision() == "highest"
    assert torch.get_float32_matmul_precision() == "medium"
    torch.set_float32_matmul_precision(former)


def test_flags_are_restored_after_an_error(before: Flags) -> None:
    with pytest.raises(ValueError, match="of the network"), set_tf32(True, CUDA):
        raise ValueError("of the network")
    assert Flags.read().former == before.former


def test_a_cpu_changes_no_flag(before: Flags) -> None:
    with set_tf32(True, CPU):
        assert Flags.read() == before


def test_threads_do_not_see_each_other_s_flags() -> None:
    seen = []

    def look(allowed: bool) -> None:
        for _ in range(200):
            with set_tf32(allowed, CUDA):
                seen.append(Flags.read().allow == allowed)

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
