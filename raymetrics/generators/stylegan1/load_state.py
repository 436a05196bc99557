"""Convert StyleGAN's variables, as its program for TensorFlow names them, to its network.

The names and layouts come from stylegan's `training/networks_stylegan.py` (2019).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from raymetrics.generators.stylegan1.genforce_names import tensorflow_variables
from raymetrics.generators.stylegan1.network import (
    PLAIN_ACTIVATIONS,
    StyleGANNetwork,
    SynthesisSettings,
    has_colors,
)
from raymetrics.generators.stylegan2.architecture import (
    NetworkShape,
    Settings,
    infer_shape,
)
from raymetrics.generators.stylegan2.build_network import build_network
from raymetrics.generators.stylegan2.load_tensorflow import (
    MAX_TAPS,
    Conversion,
    convert_dense,
    convert_variables,
    require_known_options,
    require_sizes,
    walk_variables,
)
from raymetrics.generators.stylegan2.upsampling import separable_filter

BUILDER = "G_style"  # the function that builds such a network, in any version of tflib
# Options with which the network would be another one, and their only value that is known here.
_ONLY_VALUES = {
    "use_styles": True,
    "const_input_layer": True,
    "use_wscale": True,
    "normalize_latents": True,
    "dtype": "float32",
}
# Options that the tensors show, that concern only the training, or that are options of the source.
_IGNORED_OPTIONS = frozenset(
    {
        "mapping_layers",
        "mapping_fmaps",
        "fmap_base",
        "fmap_decay",
        "fmap_max",
        "use_noise",
        "randomize_noise",
        "structure",
        "truncation_psi",
        "truncation_cutoff",
        "truncation_psi_val",
        "truncation_cutoff_val",
        "dlatent_avg_beta",
        "style_mixing_prob",
    }
)
# The level of detail is read as a setting.
_IGNORED_VARIABLES = frozenset({"lod", "synthesis/lod"})
_FIRST_FUSED_RESOLUTION = 128  # for fused_scale="auto"
_GAIN = math.sqrt(2)  # of the weights before an activation (He et al. 2015)


@dataclasses.dataclass(frozen=True)
class _Settings:
    """What the options of a network say; fused, blur: the options fused_scale and blur_filter."""

    mapping: Settings
    synthesis: SynthesisSettings
    fused: bool | str
    blur: list[float]


def load_tensorflow_network(network: Mapping[str, Any], size: int) -> StyleGANNetwork:
    """Load the network in the state of a `dnnlib.tflib.network.Network`.

    size: of the file, in bytes. Raises the errors of `load_variables`.
    """
    variables = dict(walk_variables({"components": {}, **network}))
    return load_variables(variables, dict(network["static_kwargs"]), size)


def load_genforce_network(tensors: Mapping[str, np.ndarray], size: int) -> StyleGANNetwork:
    """Load the network of GenForce's tensors, from a file of `size` bytes.

    Raises the errors of `load_variables`.
    """
    return load_variables(tensorflow_variables(tensors), {}, size)


def load_variables(
    variables: Mapping[str, Any], options: dict[str, Any], size: int
) -> StyleGANNetwork:
    """Load the network of TensorFlow's variables, built with these options.

    Raises KeyError for a missing variable, RuntimeError for another set of variables, and
    ValueError for variables or options that are not known, or do not fit each other or a file of
    `size` bytes.
    """
    settings = _read_settings(options, float(variables.get("lod", 0)))
    state = convert_variables(variables.items(), size, _IGNORED_VARIABLES, _PATTERNS)
    state = _name_colors(state) | {"synthesis.blur": separable_filter(settings.blur)}
    shape = dataclasses.replace(infer_shape(state), architecture="orig")
    require_sizes(options, shape)
    _require_lod(settings.synthesis.lod, shape)
    state = _drop_unused_colors(state, settings.synthesis.lod, shape)
    _fuse_upsampling(state, settings.fused)
    taps = len(settings.blur)
    return build_network(
        lambda: StyleGANNetwork(shape, settings.mapping, settings.synthesis, taps), state
    )


def _read_settings(options: dict[str, Any], lod: float) -> _Settings:
    """Take the settings out of the options, of which sizes are left.

    Raises ValueError for options that are not known, or have values that are not known.
    """
    for option, known in _ONLY_VALUES.items():
        if (value := options.pop(option, known)) != known:
            raise ValueError(f"its option {option} is {value!r}, expected {known!r}")
    mapping = Settings(
        mapping_rate=options.pop("mapping_lrmul", 0.01),
        mapping_activation=options.pop("mapping_nonlinearity", "lrelu"),
    )
    synthesis = SynthesisSettings(
        activation=options.pop("nonlinearity", "lrelu"),
        instance_norm=bool(options.pop("use_instance_norm", True)),
        pixel_norm=bool(options.pop("use_pixel_norm", False)),
        lod=lod,
    )
    fused = options.pop("fused_scale", "auto")
    blur = options.pop("blur_filter", [1, 2, 1]) or [1]
    require_known_options(options, _IGNORED_OPTIONS)
    settings = _Settings(mapping, synthesis, fused, blur)
    _require_known_values(settings)
    return settings


def _require_known_values(settings: _Settings) -> None:
    """Raise ValueError for an activation, a `fused_scale` or a filter that is not known."""
    for activation in (settings.mapping.mapping_activation, settings.synthesis.activation):
        if activation not in PLAIN_ACTIVATIONS:
            raise ValueError(f"activation {activation}, expected {', '.join(PLAIN_ACTIVATIONS)}")
    if settings.fused not in (True, False, "auto"):
        raise ValueError(
            f"its option fused_scale is {settings.fused!r}, expected True, False or 'auto'"
        )
    taps = len(settings.blur)
    if taps % 2 == 0 or taps > MAX_TAPS:
        raise ValueError(f"its filter has {taps} taps, expected an odd number, {MAX_TAPS} at most")


def _require_lod(lod: float, shape: NetworkShape) -> None:
    """Raise ValueError for a level of detail that the network does not have."""
    coarsest = len(shape.channels) - 1
    if not 0 <= lod <= coarsest:
        raise ValueError(f"its level of detail is {lod}, expected 0 to {coarsest}")


def _name_colors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with conversions to colors named by their blocks, not by their levels."""
    blocks = sum(name.endswith(".conv1.weight") for name in state)
    names = {
        f"colors{level}.{part}": f"synthesis.b{4 * 2 ** (blocks - 1 - level)}.torgb.{part}"
        for level in range(blocks)
        for part in ("weight", "bias")
    }
    return {names.get(name, name): tensor for name, tensor in state.items()}


def _drop_unused_colors(
    state: Mapping[str, Tensor], lod: float, shape: NetworkShape
) -> dict[str, Tensor]:
    """Return the tensors without those of the colors that no image shows."""
    coarsest = len(shape.channels) - 1
    unused = {
        f"synthesis.b{4 * 2**i}.torgb.{part}"
        for i in range(len(shape.channels))
        for part in ("weight", "bias")
        if not has_colors(coarsest - i, lod)
    }
    return {name: tensor for name, tensor in state.items() if name not in unused}


def _fuse_upsampling(state: dict[str, Tensor], fused: bool | str) -> None:
    """Replace the kernels after an upsampling by those of one transposed convolution, in place.

    fused: as the option `fused_scale`. The program upsamples to pixels of 2 x 2 and convolves, or,
    fused, convolves by the transpose of a convolution, whose kernel is the mirror image. Otherwise
    both are the same.
    """
    for name in [name for name in state if name.endswith(".conv0.weight")]:
        resolution = int(name.split(".")[1][1:])
        is_fused = resolution >= _FIRST_FUSED_RESOLUTION if fused == "auto" else fused
        kernel = state[name] if is_fused else state[name].flip(2, 3)
        state[name] = _repeat_pixels(kernel)


def _repeat_pixels(kernel: Tensor) -> Tensor:
    """Convolve a kernel [o, i, 3, 3] with 2 x 2 ones, which repeat each pixel: [o, i, 4, 4]."""
    doubled = kernel.new_zeros(*kernel.shape[:2], 4, 4)
    for i in range(2):
        for j in range(2):
            doubled[:, :, i : i + 3, j : j + 3] += kernel
    return doubled


def _mapping_layer(value: np.ndarray, layer: str, part: str) -> tuple[str, np.ndarray]:
    """Convert a layer of the mapping network to one of StyleGAN2's.

    StyleGAN2 multiplies what an activation gives by the root of 2, StyleGAN the weights before it.
    So its bias is divided by that root here.
    """
    return convert_dense(value / _GAIN if part == "bias" else value, layer, part)


_LAYER_NAMES = {"Const": "conv0", "Conv": "conv1", "Conv0_up": "conv0", "Conv1": "conv1"}


def _scale_kernel(value: np.ndarray, gain: float) -> np.ndarray:
    """Scale a kernel by the equalized learning rate, and convert [h, w, in, out] to PyTorch's."""
    return (value * (gain / math.sqrt(math.prod(value.shape[:3])))).transpose(3, 2, 0, 1)


def _layer_part(
    value: np.ndarray, resolution: str, layer: str, part: str
) -> tuple[str, np.ndarray]:
    """Convert a variable of a layer; the bias of a style's scale gets the 1 that is added to it."""
    name = f"synthesis.b{resolution}.{_LAYER_NAMES[layer]}"
    if part == "weight":
        return f"{name}.weight", _scale_kernel(value, _GAIN)
    if part == "StyleMod/weight":
        return f"{name}.affine.weight", value.T
    if part == "StyleMod/bias":
        return f"{name}.affine.bias", value + np.repeat([1, 0], len(value) // 2)
    return f"{name}.{'bias' if part == 'bias' else 'noise_strength'}", value


def _colors(value: np.ndarray, level: str, part: str) -> tuple[str, np.ndarray]:
    """Convert a conversion to colors; `_name_colors` gives it the name of its block."""
    return f"colors{level}.{part}", _scale_kernel(value, 1) if part == "weight" else value


def _noise_image(value: np.ndarray, index: str) -> tuple[str, np.ndarray]:
    """Convert a noise image [1, 1, h, w] to [h, w]; every resolution has two."""
    number = int(index)
    return f"synthesis.b{4 * 2 ** (number // 2)}.conv{number % 2}.noise_const", value[0, 0]


_PATTERNS: dict[str, Conversion] = {
    "dlatent_avg": lambda value: ("mapping.w_avg", value),
    "mapping/LabelConcat/weight": lambda value: ("mapping.concat.weight", value.T),
    r"mapping/(Dense\d+)/(weight|bias)": _mapping_layer,
    "synthesis/4x4/Const/const": lambda value: ("synthesis.b4.const", value[0]),
    r"synthesis/noise(\d{1,2})": _noise_image,
    rf"synthesis/(\d+)x\d+/({'|'.join(_LAYER_NAMES)})/"
    "(weight|bias|StyleMod/weight|StyleMod/bias|Noise/weight)": _layer_part,
    r"synthesis/ToRGB_lod(\d+)/(weight|bias)": _colors,
}
