"""What an extractor of the user's own may give, and the features that it is taken for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from raymetrics.errors import ExtractorError

_EXPECTED = "expected floats [n, d] for n images, or several of them by name"
_UNNAMED_COLUMN = "features"  # the column of what has no name
OWN_RESIZE = "own"  # the resize of what takes images as they are
_GRAY = 128
TRIAL_SIDE = 64  # of the image that tells which columns there are, where any size will do


def gray_images(count: int, side: int = TRIAL_SIDE) -> np.ndarray:
    """Grey images, uint8 [count, 3, side, side]."""
    return np.full((count, 3, side, side), _GRAY, np.uint8)


def require_images(images: Any, extractor: str) -> np.ndarray:
    """Take images for an extractor: uint8 [n, 3, h, w], of numpy or torch; as numpy.

    ExtractorError for anything else, floats above all: whether -1..1 or 0..1 is meant changes every
    number and cannot be seen.
    """
    if isinstance(images, torch.Tensor):
        images = images.detach().cpu()
        images = images.numpy() if images.dtype == torch.uint8 else images
    dtype = str(getattr(images, "dtype", "")).removeprefix("torch.")
    shape = list(getattr(images, "shape", ()))
    if isinstance(images, np.ndarray) and dtype == "uint8" and len(shape) == 4 and shape[1] == 3:
        return np.require(images, requirements="W")  # as torch takes no others
    received = f"{dtype} {shape}" if dtype else type(images).__name__
    raise ExtractorError(
        f"{extractor} got {received}, expected images uint8 [n, 3, height, width]{_image_hint(dtype, shape)}"
    )


def _image_hint(dtype: str, shape: list[int]) -> str:
    if "float" in dtype:
        return (
            "; make bytes of them by the rule that you report: from -1..1 "
            "(x * 127.5 + 128).clip(0, 255).astype('uint8'), from 0..1 (x * 255).round()"
            ".clip(0, 255).astype('uint8')"
        )
    if len(shape) == 4 and shape[3] == 3:
        return "; the channels come last: transpose them, (0, 3, 1, 2)"
    if len(shape) == 4 and shape[1] == 1:
        return "; repeat the grey channel, np.repeat(images, 3, axis=1)"
    return ""


def column_safe(name: str) -> str:
    """A name of which columns can be made: letters, digits, underscores, hyphens."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name)


def features_by_name(result: Any, count: int, extractor: str) -> dict[str, np.ndarray]:
    """What was given for `count` images, as {column: float32 [count, d]}.

    found: an array or a tensor [count, d] of floats, which becomes the column `features`; or
    several of them by name, in a mapping or a NamedTuple. ExtractorError for anything else.
    """
    if hasattr(result, "_asdict"):
        result = result._asdict()
    outputs = result if isinstance(result, Mapping) else {_UNNAMED_COLUMN: result}
    if not outputs:
        raise ExtractorError(f"{extractor} gave no features; {_EXPECTED}")
    return {
        _require_column_name(name, extractor): _require_features(
            values, count, f"{extractor} gave {name!r} as"
        )
        for name, values in outputs.items()
    }


def _require_column_name(name: object, extractor: str) -> str:
    """The name of an output. ExtractorError for one of which no column can be made."""
    if not isinstance(name, str) or name != column_safe(name) or not name:
        raise ExtractorError(
            f"{extractor} gave an output called {name!r}; expected letters, digits and underscores"
        )
    return name


def _require_features(values: Any, count: int, what: str) -> np.ndarray:
    """float32 [count, d]. ExtractorError, which begins with `what`, for anything else."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() else values
    try:
        array = np.asarray(values)
    except (TypeError, ValueError):
        raise ExtractorError(f"{what} {type(values).__name__}; {_EXPECTED}") from None
    if array.dtype.kind != "f" or array.ndim != 2 or len(array) != count or not array.shape[1]:
        raise ExtractorError(
            f"{what} {array.dtype} {list(array.shape)} for {count} images; {_EXPECTED}"
        )
    return array.astype(np.float32, copy=False)


def require_same_columns(
    features: Mapping[str, np.ndarray], columns: Mapping[str, int], extractor: str
) -> None:
    """ExtractorError if these are not the columns that the extractor has."""
    dimensions = {name: values.shape[1] for name, values in features.items()}
    if dimensions != dict(columns):
        raise ExtractorError(f"{extractor} gave columns {dimensions}, expected {dict(columns)}")
