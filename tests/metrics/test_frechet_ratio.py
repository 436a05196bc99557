"""FDr: a ratio of two distances, and what the digits of published norms allow."""

from __future__ import annotations

import numpy as np
import pytest

import raymetrics as rm
from raymetrics.errors import NotEnoughData
from raymetrics.metrics import FDR6_SPACES, PUBLISHED_NORMS, Norm
from tests.helpers import oracles


def test_the_ratio_of_two_distances(rng: np.random.Generator) -> None:
    real, generated, validation = (
        rng.normal(shift, 1, size=(n, 5)) for n, shift in ((80, 0.0), (70, 0.5), (60, 0.1))
    )
    theirs = [oracles.frechet_distance(real=real, generated=s) for s in (generated, validation)]
    found = rm.in_memory.fdr(real=real, generated=generated, validation=validation)
    assert found == pytest.approx(theirs[0] / theirs[1], rel=1e-6)
    # The validation set itself is at 1.
    assert rm.in_memory.fdr(real=real, generated=validation, validation=validation) == 1
    with pytest.raises(NotEnoughData, match="the validation set is at distance 0 from the real"):
        rm.in_memory.fdr(real=np.ones((3, 1)), generated=real[:, :1], validation=np.ones((2, 1)))


@pytest.mark.parametrize(
    ("text", "rounding"), [("0.04", 0.005), ("0.60", 0.005), ("56.87", 0.005), ("2", 0.5)]
)
def test_published_digits(text: str, rounding: float) -> None:
    norm = Norm.from_text(text)
    assert (norm.value, norm.rounding) == (float(text), pytest.approx(rounding))
    lowest, highest = norm.ratio_range(3.0)
    assert lowest == pytest.approx(3 / (float(text) + rounding))
    assert highest == pytest.approx(3 / (float(text) - rounding))
    assert lowest < norm.ratio(3.0) < highest


def test_the_norms_of_the_paper() -> None:
    """As in its table and its program, with all of their digits."""
    assert [*PUBLISHED_NORMS.values()] == ["1.68", "56.87", "14.19", "0.04", "0.60", "5.60"]
    assert len(FDR6_SPACES) == 6
    assert str(Norm.from_text("0.04")) == "0.04 ± 0.005"
    assert str(Norm(14.187654)) == "14.188"
