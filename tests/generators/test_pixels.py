"""How floats become bytes: the rules against the programs that they are named after."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import to_pil_image

from raymetrics.errors import SourceError
from raymetrics.generators import open_source
from raymetrics.generators.pixels import RULES

CPU = torch.device("cpu")
SIGNED = torch.linspace(-1.5, 1.5, 3 * 64).reshape(1, 3, 8, 8)
UNIT = torch.linspace(0, 1, 3 * 64).reshape(1, 3, 8, 8)


def test_the_rules_of_signed_floats() -> None:
    """One rounds, one cuts: the second is one below wherever the fraction is a half or more."""
    exact = (SIGNED.double() + 1) * 127.5
    inside = exact.clamp(0, 255)
    np.testing.assert_array_equal(RULES["nvidia"](SIGNED), (inside + 0.5).floor().clamp(max=255))
    np.testing.assert_array_equal(RULES["signed-truncate"](SIGNED), inside.floor())


def test_unit_rules_are_those_of_torchvision_and_diffusers() -> None:
    theirs = np.asarray(to_pil_image(UNIT[0])).transpose(2, 0, 1)
    np.testing.assert_array_equal(RULES["unit-truncate"](UNIT)[0], theirs)
    rounded = (UNIT.numpy() * 255).round().astype("uint8")
    np.testing.assert_array_equal(RULES["unit-round"](UNIT), rounded)


@pytest.mark.parametrize("rule", RULES)
def test_a_callable_s_floats(rule: str) -> None:
    source = open_source(f"sources:Signed?uint8={rule}", CPU)
    images = source(np.arange(2))
    floats = torch.from_numpy(np.linspace(-1.2, 1.2, 16).reshape(1, 1, 4, 4))
    np.testing.assert_array_equal(images[1], RULES[rule](floats.expand(1, 3, 4, 4))[0])
    assert source.spec["uint8"] == rule


def test_floats_without_a_rule() -> None:
    with pytest.raises(SourceError, match="gave float64 .* by a rule .* 'uint8' names: nvidia, "):
        open_source("sources:floats", CPU)(np.arange(2))
    with pytest.raises(SourceError, match="uint8 of sources:Signed is 'gamma'; the rules are nvi"):
        open_source("sources:Signed?uint8=gamma", CPU)
