"""The formulas and the words of an audit, on numbers that are given."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from raymetrics.studies.audit.estimates import Estimate
from raymetrics.studies.audit.null_space import (
    AttackEffect,
    AuditedGenerator,
    SpaceChange,
    null_space_share,
    share_in_reach,
)
from raymetrics.studies.audit.verdict import verdict_sentences

FID, CLIP, DINO = "FID", "FD clip", "FD dinov2"


def generator(
    name: str, random: dict[str, float], matched: dict[str, float], deviation: float = 0.03
) -> AuditedGenerator:
    """A generator whose reweighted draws are its matched ones."""
    headline, *seconds = (
        SpaceChange(label, Estimate(random[label], deviation), Estimate(value, deviation))
        for label, value in matched.items()
    )
    effects = tuple(
        AttackEffect(attack, headline, tuple(seconds)) for attack in ("matching", "reweighting")
    )
    return AuditedGenerator(
        name, {label: Estimate(value, deviation) for label, value in random.items()}, effects
    )


def test_deviations_are_those_of_many_draws(rng: np.random.Generator) -> None:
    x, y = rng.normal(5, 0.05, 10**5), rng.normal(2, 0.02, 10**5)
    first, second = Estimate(5, 0.05), Estimate(2, 0.02)
    for found, drawn in (
        (first - second, x - y), (first * second, x * y), (first / second, x / y),
    ):  # fmt: skip
        assert found.value == pytest.approx(drawn.mean(), rel=1e-3)
        assert found.deviation == pytest.approx(drawn.std(), rel=0.02)


@pytest.mark.parametrize(
    ("estimate", "clipped"),
    [
        (Estimate(0.5, 0.1), Estimate(0.5, 0.1)),
        (Estimate(-0.1, 0.3), Estimate(0.0, 0.2)),
        (Estimate(-3.0, 0.3), Estimate(0.0, 0.0)),
        (Estimate(1.2, 0.3), Estimate(1.0, 0.1)),
        (Estimate(0.9, 0.3), Estimate(0.9, 0.3)),
    ],
)
def test_bounds_cut_the_deviation(estimate: Estimate, clipped: Estimate) -> None:
    found = estimate.clip(0, 1)
    assert (found.value, found.deviation) == pytest.approx((clipped.value, clipped.deviation))


@pytest.mark.parametrize(
    ("falls", "share"),
    [
        ([0.6, 0.04], 0.56),  # as in Table 2 of the paper
        ([0.6, 0.04, 0.5], 0.1),  # the space that sees most counts
        ([0.6, -2.0], 0.6),  # a space that rises takes nothing away
        ([0.3, 0.4], 0.0),
        ([-0.2, -0.1], 0.0),
    ],
)
def test_the_share_in_the_null_space(falls: list[float], share: float) -> None:
    headline, *seconds = (Estimate(fall, 0.01) for fall in falls)
    found = null_space_share(headline, seconds)
    assert found.value == pytest.approx(share)
    assert found.deviation <= math.hypot(0.01, 0.01) + 1e-12


def test_numbers_in_words() -> None:
    assert str(Estimate(0.923, 0.0512)) == "0.923 ± 0.051"
    assert str(Estimate(-36.16, 0.554)) == "\u221236.16 ± 0.55"
    assert str(Estimate(1234.5, 67)) == "1234 ± 67"
    assert str(Estimate(0, 0)) == "0 ± 0"
    assert Estimate(0.784, 0.05).as_percent() == "78 ± 5 %"


def test_share_in_reach_is_at_most_all() -> None:
    assert share_in_reach(Estimate(0.72, 0.01), Estimate(-0.92, 0.01)).value == pytest.approx(
        0.72 / 0.92
    )
    assert share_in_reach(Estimate(5, 0.1), Estimate(1, 0.1)) == Estimate(1, 0)


def test_the_example_of_the_paper() -> None:
    """Figures 13 and 16: Projected FastGAN, and StyleGAN2 with its Top-1 classes matched."""
    fastgan = generator("FastGAN", {FID: 4.71, CLIP: 4.87}, {FID: 4.71, CLIP: 4.87})
    stylegan2 = generator("StyleGAN2", {FID: 5.63, CLIP: 2.90}, {FID: 4.91, CLIP: 2.86})
    conclusion, order, matched, _, attacked = verdict_sentences([stylegan2, fastgan])
    assert conclusion == (
        "The second spaces contradict the order of FID: StyleGAN2 is better than FastGAN. Its "
        "difference is larger than what the attacks move in the perceptual null space."
    )
    assert order == (
        "FID prefers FastGAN by 0.920 ± 0.042; FD clip prefers StyleGAN2 by 1.970 ± 0.042: the "
        "spaces disagree."
    )
    assert matched == (
        "Matching Top-1 classes of StyleGAN2 alone moves FID by \u22120.720 ± 0.042 (FD clip: "
        "\u22120.040 ± 0.042): 70 ± 10 % of the difference is in reach of class frequencies."
    )
    assert attacked.startswith("With the classes of both matched, FID prefers FastGAN by 0.200")


@pytest.mark.parametrize(
    ("seconds", "agreement"),
    [
        ({CLIP: (1.0, 3.0)}, "confirm the order"),
        ({CLIP: (3.0, 1.0)}, "contradict the order"),
        ({CLIP: (2.0, 2.05)}, "No second space confirms"),
        ({CLIP: (3.0, 1.0), DINO: (1.0, 3.0)}, "contradict one another"),
    ],
)
@pytest.mark.parametrize(
    ("removed", "reach"),
    [
        (2.0, "within the perceptual null space: matching"),
        (0.2, "larger than what"),
        (1.0, "deviations do not tell"),
    ],
)
def test_every_conclusion_on_two(
    seconds: dict[str, tuple[float, float]], agreement: str, removed: float, reach: str
) -> None:
    first, second = (
        {FID: fid} | {label: pair[i] for label, pair in seconds.items()}
        for i, fid in ((0, 4.0), (1, 5.0))
    )
    attacked = {**second, FID: second[FID] - removed}
    pair = [generator("one", first, first), generator("two", second, attacked)]
    for order in itertools.permutations(pair):
        conclusion = verdict_sentences(order)[0]
        assert agreement in conclusion
        assert reach in conclusion


@pytest.mark.parametrize(
    ("fid", "clip", "conclusion"),
    [
        (2.0, 2.9, "60 ± 2 % of FID lies in the perceptual null space: matching Top-1 classes"),
        (2.0, 1.1, "what the attacks remove, a second space sees too."),
        (5.0, 2.9, "the attacks do not lower it by more than draws differ."),
        (4.85, 2.9, "what the attacks remove, a second space sees too."),  # 3 % are too little
    ],
)
def test_every_conclusion_on_one(fid: float, clip: float, conclusion: str) -> None:
    audited = generator("g", {FID: 5.0, CLIP: 2.9}, {FID: fid, CLIP: clip})
    assert conclusion in verdict_sentences([audited])[0]


def test_a_difference_that_deviations_cover() -> None:
    numbers = {FID: 5.0, CLIP: 3.0}
    pair = [generator("a", numbers, numbers), generator("b", {**numbers, FID: 5.08}, numbers)]
    assert verdict_sentences(pair)[0] == (
        "FID does not distinguish a and b: deviations cover the difference."
    )
