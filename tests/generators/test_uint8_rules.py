"""How floats become bytes: the rules against the programs that they are named after."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import to_pil_image

from raymetrics.errors import SourceError
from raymetrics.generators import open_source
from raymetrics.generators.uint8_rules import RULES

CPU = torch.device("cpu")
SIGNED = torch.linspace(-1.5, 1.5, 3 * 64).reshape(1, 3, 8, 8)
UNIT = torch.linspace(0, 1, 3 * 64).reshape(1, 3, 8, 8)


def test_the_rules_of_signed_floats() -> None:
    """One rounds, one cuts: the second is one below wherever the fraction is a half or more."""
    exact = (SIGNED.double() + 1) * 127.5
    inside = exact.clamp(0, 255)
    np.testing.assert_array_equal(RULES["nvidia"](SIGNED), (inside + 0.5).floor().clamp(max=255))
    np.testing.assert_array_equal(RULES["signed-truncate"](SIGNED), inside.floor())
    wider = (SIGNED.double() + 1) * 128
    np.testing.assert_array_equal(RULES["biggan"](SIGNED), wider.floor().clamp(0, 255))


def test_unit_rules_are_those_of_torchvision_and_diffusers() -> None:
    theirs = np.asarray(to_pil_image(UNIT[0])).transpose(2, 0, 1)
    np.testing.assert_array_equal(RULES["unit-truncate"](UNIT)[0], theirs)
    rounded = (UNIT.numpy() * 255).round().astype("uint8")
    np.testing.assert_array_equal(RULES["unit-round"](UNIT), rounded)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("rule", RULES)
def test_half_precision_is_widened_first(rule: str, dtype: torch.dtype) -> None:
    half = SIGNED.to(dtype)
    np.testing.assert_array_equal(RULES[rule](half), RULES[rule](half.float()))


def test_double_precision_stays() -> None:
    """Below a half by less than float32 can tell."""
    just_below = torch.full((1, 3, 1, 1), 0.5 / 255 * (1 - 1e-12), dtype=torch.float64)
    assert RULES["unit-round"](just_below).max() == 0
    assert RULES["unit-round"](just_below + 1e-14).min() == 1


@pytest.mark.parametrize("rule", RULES)
def test_a_callable_s_floats(rule: str) -> None:
    source = open_source(f"sources:SignedSource?uint8={rule}", CPU)
    images = source(np.arange(2))
    floats = torch.from_numpy(np.linspace(-1.2, 1.2, 16).reshape(1, 1, 4, 4))
    np.testing.assert_array_equal(images[1], RULES[rule](floats.expand(1, 3, 4, 4))[0])
    assert source.spec["uint8"] == rule


class Divided:
    """1 / (5 - id), or its logarithm, in half precision: infinity, or NaN from there on."""

    spec: ClassVar[dict[str, object]] = {}
    uint8 = "unit-truncate"

    def __init__(self, dtype_name: str) -> None:
        self.of = dtype_name

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            values = 1 / (5 - sample_ids).astype(np.float16)
            values = np.log(values) if self.of == "log" else values
        return np.broadcast_to(values[:, None, None, None], (len(values), 3, 2, 2))


@pytest.mark.parametrize(("dtype_name", "wrong"), [("itself", [5]), ("log", [5, 6, 7])])
def test_numbers_that_are_not_finite(dtype_name: str, wrong: list[int]) -> None:
    source = open_source(f"{__name__}:Divided?dtype_name={dtype_name}", CPU)
    assert source(np.array([3, 4])).shape == (2, 3, 2, 2)
    for k in wrong:
        with pytest.raises(SourceError, match=f"Divided gave NaN or infinity for sample {k}, exp"):
            source(np.array([3, k, 5]))


def test_what_is_no_array() -> None:
    what = r"ragged failed on 2 sample ids from 0: ValueError.*function.py, line \d+\)"
    with pytest.raises(SourceError, match=what):
        open_source(f"{__name__}:ragged", CPU)(np.arange(2))
    with pytest.raises(SourceError, match="the channels come last: transpose them"):
        open_source(f"{__name__}:channels_last", CPU)(np.arange(2))
    with pytest.raises(SourceError, match=r"fails_at_sixty failed .*sources.py, line \d+\)"):
        open_source("sources:fails_at_sixty", CPU)(np.array([60]))


def channels_last(sample_ids: np.ndarray) -> np.ndarray:
    """Break the contract: the channels come last, as in images of Pillow."""
    return np.zeros((len(sample_ids), 8, 8, 3), np.uint8)


def ragged(sample_ids: np.ndarray) -> list[list[int]]:
    """Break the contract."""
    return [[0] * int(k) for k in sample_ids]


def test_floats_without_a_rule() -> None:
    with pytest.raises(SourceError, match="gave float64 .* by a rule .* 'uint8' names: nvidia, "):
        open_source("sources:floats", CPU)(np.arange(2))
    with pytest.raises(
        SourceError, match="uint8 of sources:SignedSource is 'gamma'; the rules are nvi"
    ):
        open_source("sources:SignedSource?uint8=gamma", CPU)
