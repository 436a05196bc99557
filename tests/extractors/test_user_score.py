"""Scores of images and prompts as users write them: score:module:callable."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raymetrics.errors import ExtractorError
from raymetrics.extractors import make_extractor
from raymetrics.extractors.base import extract_tensors, takes_prompts
from raymetrics.permissions import extractor_danger
from tests.helpers import prompted_sources

CPU = torch.device("cpu")
MODULE = "score:tests.helpers.prompted_sources"


def test_a_score_of_images_and_prompts() -> None:
    """Its block is 16: the samples begin in the middle of one, and each has its own prompt."""
    score = make_extractor(f"{MODULE}:fit", CPU)
    assert (score.name, score.columns, takes_prompts(score)) == ("fit", {"score": 1}, True)
    ids = np.array([5, 30, 31, 32])
    images = prompted_sources.Spots()(ids)
    prompts = [f"color {k}" for k in (5, 31, 31, 40)]
    got = extract_tensors(score, ids, torch.from_numpy(images), prompts)["score"]
    np.testing.assert_array_equal(got.numpy(), [[0], [-1], [0], [-8]])
    assert got.dtype == torch.float32


def test_a_score_of_images_alone() -> None:
    score = make_extractor(f"{MODULE}:Darkness?name=dark", CPU)
    assert (score.name, takes_prompts(score), score.block) == ("dark", False, 8)
    assert score.spec["better"] == "lower"
    images = prompted_sources.Spots()(np.arange(3))
    np.testing.assert_array_equal(score(images)["score"], [[0], [1], [2]])
    assert make_extractor(f"{MODULE}:brightness", CPU).spec["better"] == "higher"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("half", r"gave float32 \[8\] for 16 images, expected scores, float32 \[16\]"),
        ("column", r"gave float32 \[16, 1\] for 16 images"),
        ("whole", r"gave int64 \[16\] for 16 images"),
        ("failing", r"failed on 16 images of 64 x 64: ValueError: no such model"),
        ("Undecided", r"better of .*Undecided is 'more'; there are higher and lower"),
        ("absent", r"has no 'absent'"),
    ],
)
def test_wrong_scores(name: str, message: str) -> None:
    with pytest.raises(ExtractorError, match=message):
        _ = make_extractor(f"{MODULE}:{name}", CPU).spec


def test_wrong_prompts() -> None:
    score = make_extractor(f"{MODULE}:fit", CPU)
    images = prompted_sources.Spots()(np.arange(3))
    with pytest.raises(ExtractorError, match="takes images and their prompts, but got none"):
        score(images)
    with pytest.raises(ExtractorError, match="got 3 images and 2 prompts, expected as many"):
        score(images, ["a", "b"])  # type: ignore[call-arg]  # of extractors that take prompts
    with pytest.raises(ExtractorError, match="fit takes the prompts of the images"):
        extract_tensors(score, np.arange(3), torch.from_numpy(images))


def test_a_score_is_a_program() -> None:
    assert extractor_danger(f"{MODULE}:fit?x=1") == "runs Python code"
