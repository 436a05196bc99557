"""Failures of GPUs, told apart by what torch raises."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from raymetrics.devices import failures
from raymetrics.devices.failures import is_device_lost, is_out_of_memory
from raymetrics.errors import SourceError

LOST = [
    torch.AcceleratorError("an illegal memory access was encountered"),
    RuntimeError("CUDA error: device-side assert triggered\nCompile with ..."),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(...)`"),
]
NOT_LOST = [
    RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
    RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if you passed"),
    ValueError("CUDA error in the name of a file"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. CUDA error"),
    KeyError("no such latent"),
]


def raised_from_cause(error: Exception) -> Exception:
    """As a generator of the user's own reports what it raised."""
    try:
        raise SourceError("failed on sample 3") from error
    except SourceError as wrapper:
        return wrapper


def raised_from_none(error: Exception) -> Exception:
    """As a network in a file reports it: the cause is not shown."""
    try:
        try:
            raise error
        except Exception:
            raise SourceError("failed on z") from None
    except SourceError as wrapper:
        return wrapper


WRAPPERS = [lambda error: error, raised_from_cause, raised_from_none]


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_a_lost_device_is_told_from_other_errors(wrap: Callable[[Exception], Exception]) -> None:
    assert [is_device_lost(wrap(error)) for error in LOST] == [True] * len(LOST)
    assert [is_device_lost(wrap(error)) for error in NOT_LOST] == [False] * len(NOT_LOST)


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_memory_that_is_full_is_told_from_other_errors(
    wrap: Callable[[Exception], Exception],
) -> None:
    assert is_out_of_memory(wrap(torch.OutOfMemoryError("CUDA out of memory")))
    assert not any(is_out_of_memory(wrap(error)) for error in LOST)


def test_causes_that_refer_to_each_other_come_to_an_end() -> None:
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__cause__, second.__cause__ = second, first
    assert not is_device_lost(first)


def test_the_build_is_described_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "driver_version", lambda: "470.57")
    text = failures.describe_build()
    assert torch.__version__ in text
    assert text.endswith("driver 470.57")
