"""The block and the layout: their defaults, their options, and their choice by timing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from raymetrics.errors import ExtractorError
from raymetrics.extractors import make_extractor
from raymetrics.extractors.base import NetworkExtractor
from raymetrics.extractors.numerics import Numerics, default_numerics
from raymetrics.extractors.precision import PRECISIONS
from raymetrics.extractors.tune_numerics import tune_numerics
from tests.helpers.fake_cuda import CUDA

CPU = torch.device("cpu")
DEFAULT = {"block": 16, "layout": "channels_last"}


def digits(query: str = "", numerics: dict | None = None) -> NetworkExtractor:
    return make_extractor(f"digits?{query}" if query else "digits", CPU, numerics=numerics)


def test_defaults() -> None:
    for precision in PRECISIONS:
        assert default_numerics(CPU, precision).as_dict() == DEFAULT
    gpu = {precision: default_numerics(CUDA, precision) for precision in PRECISIONS}
    assert gpu.pop("float32") == Numerics(64, "contiguous")
    assert set(gpu.values()) == {Numerics(256, "channels_last")}


def test_a_record_is_read_as_it_was_written() -> None:
    numerics = Numerics(7, "contiguous")
    assert numerics.as_dict() == {"block": 7, "layout": "contiguous"}
    assert Numerics.from_dict({**numerics.as_dict(), "field of a later version": 1}) == numerics


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"block": 16}, "without layout; expected block and layout"),
        ({}, "without block and layout"),
        ({"block": 0, "layout": "contiguous"}, "block of an extractor is 0, expected a whole"),
        ({"block": "16", "layout": "contiguous"}, "block of an extractor is '16', expected"),
        ({"block": 16, "layout": "NHWC"}, "is 'NHWC', expected one of contiguous, channels_last"),
    ],
)
def test_records_that_are_none(fields: dict, message: str) -> None:
    with pytest.raises(ExtractorError, match=message):
        Numerics.from_dict(fields)


def test_options_win_over_the_record_and_the_record_over_the_default() -> None:
    recorded = {"block": 5, "layout": "contiguous"}
    assert digits().numerics.as_dict() == DEFAULT
    assert digits(numerics=recorded).numerics.as_dict() == recorded
    assert digits("block=9", recorded).numerics == Numerics(9, "contiguous")
    assert digits("layout=channels_last", recorded).numerics == Numerics(5, "channels_last")
    assert digits("block=9&layout=contiguous").block == 9
    with pytest.raises(ExtractorError, match="has no layout 'NHWC'; there are contiguous, channel"):
        digits("layout=NHWC")
    with pytest.raises(ExtractorError, match="block of digits is '0', expected a whole number"):
        digits("block=0")


def is_channels_last(extractor: NetworkExtractor) -> bool:
    """Whether the channels of the kernels come last in memory."""
    kernel = extractor.network.body[3].weight
    assert kernel.shape[1] > 1
    return kernel.stride(1) == 1


def test_numerics_change_only_the_last_bits(rng) -> None:
    images = rng.integers(0, 256, (16, 3, 28, 28), np.uint8)
    first = digits()
    other = first.with_numerics(Numerics(4, "contiguous"))
    assert (is_channels_last(first), is_channels_last(other)) == (True, False)
    assert (first.block, other.block) == (16, 4)
    assert first.spec == other.spec == digits("block=3&layout=contiguous").spec
    for name, values in first(images).items():
        scale = np.abs(values).max()
        np.testing.assert_allclose(other(images)[name], values, rtol=0, atol=1e-5 * scale)


def test_another_block_shares_the_network() -> None:
    first = digits()
    other = first.with_numerics(replace(first.numerics, block=4))
    assert other.network is first.network


def as_if_on_a_gpu(precision: str = "float32") -> NetworkExtractor:
    """Return an extractor that can be copied and timed by a table, but not called."""
    numerics = default_numerics(CUDA, precision)
    query = f"precision={precision}&layout={numerics.layout}"
    return replace(digits(query), device=CUDA, numerics=numerics)


class Clock:
    """A timer of calls that take no time: the seconds for an image are a table."""

    def __init__(self, seconds: dict[tuple[int, str], float | None]) -> None:
        self.seconds, self.asked = seconds, []

    def __call__(self, extractor: NetworkExtractor, images: Tensor) -> float:
        n = extractor.numerics
        assert tuple(images.shape) == (n.block, 3, 40, 30)
        assert images.dtype == torch.uint8
        assert is_channels_last(extractor) == (n.layout == "channels_last")
        self.asked.append(n)
        seconds = self.seconds[n.block, n.layout]
        if seconds is None:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return seconds * n.block


TABLE = {
    (64, "contiguous"): 2.0, (128, "contiguous"): 1.7, (256, "contiguous"): 1.5,
    (64, "channels_last"): 1.2, (128, "channels_last"): 1.04, (256, "channels_last"): 1.0,
}  # fmt: skip
NO_MEMORY = dict.fromkeys(TABLE, None)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (128, "channels_last")),  # 4 % slower than the best, with half the block
        ({(128, "channels_last"): 1.06}, (256, "channels_last")),
        ({(64, "contiguous"): 1.01, (64, "channels_last"): 1.03}, (64, "contiguous")),
        ({(256, "channels_last"): None, (128, "channels_last"): None}, (64, "channels_last")),
        ({**NO_MEMORY, (64, "contiguous"): 9.0}, (64, "contiguous")),
    ],
)
def test_the_fastest_is_taken_and_of_close_ones_the_smallest(changes, expected) -> None:
    clock = Clock({**TABLE, **changes})
    assert tune_numerics(as_if_on_a_gpu(), (3, 40, 30), clock) == Numerics(*expected)
    assert {(n.block, n.layout) for n in clock.asked} == set(TABLE)


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_without_memory_for_any_candidate_the_default_is_left(precision: str) -> None:
    extractor = as_if_on_a_gpu(precision)
    assert tune_numerics(extractor, (3, 40, 30), Clock(NO_MEMORY)) == extractor.numerics


def test_a_cpu_times_nothing() -> None:
    def refuse(extractor: NetworkExtractor, images: Tensor) -> float:
        raise AssertionError("a CPU is timed")

    assert tune_numerics(digits(), timer=refuse).as_dict() == DEFAULT


@pytest.mark.gpu
def test_a_gpu_is_timed() -> None:
    found = tune_numerics(make_extractor("digits", CUDA), (3, 28, 28))
    assert found.block in (64, 128, 256)
