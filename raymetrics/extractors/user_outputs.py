"""Check the images that an extractor gets and the outputs that a user's extractor returns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from raymetrics.errors import ExtractorError

_EXPECTED = "expected floats [n, d] for n images, or several of them by name"
_UNNAMED_COLUMN = "features"  # the column of an output without a name
OWN_RESIZE = "own"  # recorded as the resize of an extractor that gets the images unchanged
_GRAY = 128
TRIAL_SIDE = 64  # of the grey images of a first call, for extractors that take any size


def gray_images(count: int, side: int = TRIAL_SIDE) -> np.ndarray:
    """Return grey images, uint8 [count, 3, side, side]."""
    return np.full((count, 3, side, side), _GRAY, np.uint8)


def require_images(images: Any, extractor: str) -> np.ndarray:
    """Return the images as an array of numpy if they are uint8 [n, 3, h, w], of numpy or torch.

    Raises ExtractorError, with `extractor` as the name, for anything else, such as floats: whether
    their range is -1..1 or 0..1 changes every feature and cannot be seen.
    """
    checked = _require_uint8_images(images, extractor)
    if isinstance(checked, torch.Tensor):
        checked = checked.cpu().numpy()
    return np.require(checked, requirements="W")  # torch takes only writable arrays


def require_image_tensor(images: Any, extractor: str) -> torch.Tensor:
    """Return the images as a tensor, where they are, if they are uint8 [n, 3, h, w].

    images: an array of numpy, or a tensor on any device. Raises ExtractorError as `require_images`.
    """
    checked = _require_uint8_images(images, extractor)
    if isinstance(checked, np.ndarray):
        return torch.from_numpy(np.require(checked, requirements="W"))
    return checked


def _require_uint8_images(images: Any, extractor: str) -> np.ndarray | torch.Tensor:
    """Return images uint8 [n, 3, h, w] unchanged; raise ExtractorError for anything else."""
    dtype = str(getattr(images, "dtype", "")).removeprefix("torch.")
    shape = list(getattr(images, "shape", ()))
    is_array = isinstance(images, np.ndarray | torch.Tensor)
    if is_array and dtype == "uint8" and len(shape) == 4 and shape[1] == 3:
        return images.detach() if isinstance(images, torch.Tensor) else images
    received = f"{dtype} {shape}" if dtype else type(images).__name__
    raise ExtractorError(
        f"{extractor} got {received}, expected images uint8 [n, 3, height, width]"
        f"{_image_hint(dtype, shape)}"
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
    """Replace characters that names of columns must not have by underscores.

    Letters, digits, underscores and hyphens stay.
    """
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name)


def features_by_name(result: Any, count: int, extractor: str) -> dict[str, np.ndarray]:
    """Convert the outputs for `count` images to {column: float32 [count, d]}.

    result: an array or a tensor [count, d] of floats, which becomes the column `features`; or
    several of them by name, in a mapping or a NamedTuple. Raises ExtractorError, with `extractor`
    as the name, for anything else.
    """
    outputs = _outputs_by_name(result, count, extractor)
    return {
        name: values.cpu().numpy() if isinstance(values, torch.Tensor) else values
        for name, values in outputs.items()
    }


def feature_tensors_by_name(
    result: Any, count: int, extractor: str, device: torch.device
) -> dict[str, torch.Tensor]:
    """Convert the outputs for `count` images to tensors {column: float32 [count, d]} on a device.

    result: as in `features_by_name`, which raises the same errors. The tensors are copies.
    """
    outputs = _outputs_by_name(result, count, extractor)
    return {
        name: torch.as_tensor(values, device=device).clone() for name, values in outputs.items()
    }


def _outputs_by_name(
    result: Any, count: int, extractor: str
) -> dict[str, np.ndarray | torch.Tensor]:
    """Return the outputs {column: float32 [count, d]}; raise ExtractorError for anything else."""
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
    """Return the name of an output; raise ExtractorError if it cannot be a column's name."""
    if not isinstance(name, str) or name != column_safe(name) or not name:
        raise ExtractorError(
            f"{extractor} gave an output called {name!r}; expected letters, digits and underscores"
        )
    return name


def _require_features(values: Any, count: int, what: str) -> np.ndarray | torch.Tensor:
    """Convert values to float32 [count, d], a tensor where it is.

    Raises ExtractorError, with a message that begins with `what`, for anything else.
    """
    if isinstance(values, torch.Tensor):
        _require_matrix(values, count, what, floats=values.is_floating_point())
        return values.detach().float()
    try:
        array = np.asarray(values)
    except (TypeError, ValueError):
        raise ExtractorError(f"{what} {type(values).__name__}; {_EXPECTED}") from None
    _require_matrix(array, count, what, floats=array.dtype.kind == "f")
    return array.astype(np.float32, copy=False)


def _require_matrix(values: Any, count: int, what: str, *, floats: bool) -> None:
    """Raise ExtractorError unless values are floats [count, d], with d of 1 or more."""
    if not floats or values.ndim != 2 or len(values) != count or not values.shape[1]:
        dtype = str(values.dtype).removeprefix("torch.")
        raise ExtractorError(f"{what} {dtype} {list(values.shape)} for {count} images; {_EXPECTED}")


def require_same_columns(
    features: Mapping[str, np.ndarray] | Mapping[str, torch.Tensor],
    columns: Mapping[str, int],
    extractor: str,
) -> None:
    """Raise ExtractorError unless the features have the names and dimensions of `columns`."""
    dimensions = {name: values.shape[1] for name, values in features.items()}
    if dimensions != dict(columns):
        raise ExtractorError(f"{extractor} gave columns {dimensions}, expected {dict(columns)}")
