"""Name the tensors of GenForce's StyleGAN as NVIDIA's program for TensorFlow does.

GenForce's `models/stylegan_generator.py` (2020) has NVIDIA's network under names of its own, with
the layouts of PyTorch. Its networks are built with the defaults of NVIDIA's options.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

_MOST_TENSORS = 1000
_RENAMED = {
    r"truncation\.w_avg": "dlatent_avg",
    r"synthesis\.lod": "lod",
    r"mapping\.label_weight": "mapping/LabelConcat/weight",
    r"mapping\.dense(\d+)\.(weight|bias)": r"mapping/Dense\1/\2",
}
_PARTS = {
    "const": "const",
    "weight": "weight",
    "bias": "bias",
    "style.weight": "StyleMod/weight",
    "style.bias": "StyleMod/bias",
    "apply_noise.weight": "Noise/weight",
}
_LAYER_PART = re.compile(r"synthesis\.layer(\d{1,2})\.(.+)")
_COLORS = re.compile(r"synthesis\.output(\d{1,2})\.(weight|bias)")


def tensorflow_variables(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the tensors under the names and in the layouts of TensorFlow's variables.

    Filters are left out, as all networks have the same. Raises ValueError for a tensor that is not
    known, and for more tensors than any of these networks has.
    """
    if len(state) > _MOST_TENSORS:
        raise ValueError(f"it has {len(state)} tensors, at most {_MOST_TENSORS} are expected")
    blocks = sum(_COLORS.fullmatch(name) is not None for name in state) // 2
    named = {
        _tensorflow_name(name, blocks): value
        for name, value in state.items()
        if not name.endswith(".blur.kernel")
    }
    return {name: _tensorflow_layout(name, value) for name, value in named.items()}


def _tensorflow_name(name: str, blocks: int) -> str:
    for pattern, template in _RENAMED.items():
        if match := re.fullmatch(pattern, name):
            return match.expand(template)
    if match := _COLORS.fullmatch(name):
        return f"synthesis/ToRGB_lod{blocks - 1 - int(match[1])}/{match[2]}"
    if match := _LAYER_PART.fullmatch(name):
        if match[2] == "apply_noise.noise":
            return f"synthesis/noise{match[1]}"
        if match[2] in _PARTS:
            return f"synthesis/{_layer_name(int(match[1]))}/{_PARTS[match[2]]}"
    raise ValueError(f"its tensor {name} is not known")


def _layer_name(number: int) -> str:
    """Return the name of a layer: 4x4/Const, 4x4/Conv, 8x8/Conv0_up, 8x8/Conv1, ..."""
    resolution = 4 * 2 ** (number // 2)
    names = ("Const", "Conv") if number < 2 else ("Conv0_up", "Conv1")
    return f"{resolution}x{resolution}/{names[number % 2]}"


def _tensorflow_layout(name: str, value: np.ndarray) -> np.ndarray:
    """Convert kernels [out, in, h, w] to [h, w, in, out], and dense weights to [in, out]."""
    if value.ndim == 4 and name.endswith("/weight"):
        return value.transpose(2, 3, 1, 0)
    is_dense = name.endswith("/weight") and not name.endswith("LabelConcat/weight")
    return value.T if is_dense and value.ndim == 2 else value
