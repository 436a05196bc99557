"""A source of images with prompts, and scores of images and prompts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch


class Spots:
    """Images of one color, uint8 [n, 3, 8, 8], with the color's number as the prompt.

    prompts: "one" for each; or "few", "numbers", "none" or "drifting", which are wrong.
    """

    def __init__(self, given: str = "one", length: str = "40") -> None:
        self.given, self.length, self.calls = given, int(length), 0

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        colors = (sample_ids % 200).astype(np.uint8)
        return np.broadcast_to(colors[:, None, None, None], (len(sample_ids), 3, 8, 8)).copy()

    def labels(self, sample_ids: np.ndarray) -> np.ndarray:
        return sample_ids % 2

    def prompts(self, sample_ids: np.ndarray) -> Sequence[object] | None:
        self.calls += 1
        texts = [f"color {k % 200}" for k in sample_ids]
        wrong = {
            "few": texts[1:],
            "numbers": [1] * len(texts),
            "none": None,
            "drifting": [f"{text} {self.calls}" for text in texts],
        }
        return wrong.get(self.given, texts)


def fit(images: np.ndarray, prompts: list[str]) -> np.ndarray:
    """Return minus the distance of each image's color to that of its prompt, float32 [n]."""
    asked = np.array([float(text.split()[-1]) if "color" in text else 0 for text in prompts])
    return -np.abs(images.mean(axis=(1, 2, 3)) - asked).astype(np.float32)


def brightness(images: np.ndarray) -> torch.Tensor:
    """Return the mean of each image, as a tensor."""
    return torch.from_numpy(images.astype(np.float64)).mean(dim=(1, 2, 3))


class Darkness:
    """A score of which small values are good ones."""

    better = "lower"
    block = 8

    def __call__(self, images: np.ndarray, size: int = 3) -> np.ndarray:
        return brightness(images).numpy()


def half(images: np.ndarray) -> np.ndarray:
    """Return scores of too few images."""
    return np.zeros(len(images) // 2, np.float32)


def column(images: np.ndarray) -> np.ndarray:
    """Return scores of another shape."""
    return np.zeros((len(images), 1), np.float32)


def whole(images: np.ndarray) -> np.ndarray:
    """Return scores of another type."""
    return np.zeros(len(images), np.int64)


def broken(images: np.ndarray, prompts: list[str]) -> np.ndarray:
    """Return NaN for one image."""
    values = np.zeros(len(images), np.float32)
    values[[text == "color 7" for text in prompts]] = np.nan
    return values


def failing(images: np.ndarray) -> np.ndarray:
    """Fail."""
    raise ValueError("no such model")


class Undecided:
    """A score that says nothing of what is good."""

    better = "more"

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return np.zeros(len(images), np.float32)
