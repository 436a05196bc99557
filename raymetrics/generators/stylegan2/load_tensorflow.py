"""Convert the variables of StyleGAN2's first program, for TensorFlow, to PyTorch's tensors.

The names and layouts come from stylegan2's `training/networks_stylegan2.py` (2019), and from their
conversion in stylegan2-ada-pytorch's `legacy.py` (2021).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Set
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raymetrics.generators.stylegan2.architecture import (
    NetworkShape,
    Settings,
    infer_shape,
    require_tensors_fit,
)
from raymetrics.generators.stylegan2.upsampling import separable_filter

Conversion = Callable[..., tuple[str, np.ndarray]]

# Networks of StyleGAN and of progressive growing have lower versions and other architectures.
_VERSION = 4
MAX_TAPS = 64
# Options that state a size, and the field of `NetworkShape` that must agree.
_SIZES = {
    "latent_size": "z_dim",
    "label_size": "classes",
    "dlatent_size": "w_dim",
    "resolution": "resolution",
    "num_channels": "colors",
}
# Options that the tensors show, that concern only the training, or that are options of the source.
_IGNORED_OPTIONS = frozenset(
    {
        "mapping_layers",
        "label_fmaps",
        "mapping_fmaps",
        "fmap_base",
        "fmap_max",
        "architecture",
        "use_noise",
        "w_avg_beta",
        "num_fp16_res",
        "truncation_psi",
        "truncation_cutoff",
        "style_mixing_prob",
        "structure",
    }
)
# The level of detail belongs to progressive growing, which these networks do not use.
_IGNORED_VARIABLES = frozenset({"lod"})


def read_tensorflow_state(
    network: Mapping[str, Any], size: int
) -> tuple[dict[str, Tensor], Settings]:
    """Read the tensors, under the names of NVIDIA's networks for PyTorch, and the settings.

    network: the state of a `dnnlib.tflib.network.Network`, from a file of `size` bytes. Raises
    ValueError if the network is no StyleGAN2.
    """
    if network["version"] < _VERSION:
        raise ValueError(
            f"{builder_name(network)} of version {network['version']}, expected {_VERSION}"
        )
    options = dict(network["static_kwargs"])
    settings = Settings(
        mapping_rate=options.pop("mapping_lrmul", 0.01),
        mapping_activation=options.pop("mapping_nonlinearity", "lrelu"),
        activation=options.pop("nonlinearity", "lrelu"),
        clamp=options.pop("conv_clamp", None),
    )
    taps = options.pop("resample_kernel", None) or [1, 3, 3, 1]
    require_known_options(options, _IGNORED_OPTIONS)
    if len(taps) > MAX_TAPS:
        raise ValueError(f"its filter has {len(taps)} taps, expected {MAX_TAPS} at most")
    variables = walk_variables(network)
    state = convert_variables(variables, size, _IGNORED_VARIABLES, _PATTERNS)
    state["synthesis.b4.resample_filter"] = separable_filter(taps)
    require_sizes(options, infer_shape(state))
    return state, settings


def builder_name(network: Mapping[str, Any]) -> str:
    """Return the name of the function that built a network, such as G_style."""
    return str(network.get("build_func_name", "a network"))


def require_known_options(options: Mapping[str, Any], ignored: Set[str]) -> None:
    """Raise ValueError for an option that is no size and is not ignored."""
    if unknown := sorted(options.keys() - ignored - _SIZES.keys()):
        raise ValueError(f"its option {unknown[0]} is not known")


def convert_variables(
    variables: Iterable[tuple[str, Any]],
    size: int,
    ignored: Collection[str],
    patterns: Mapping[str, Conversion],
) -> dict[str, Tensor]:
    """Convert variables to tensors with PyTorch's names and layouts, float32.

    patterns: for each pattern of a variable's name, the function from the variable's value and the
    groups of the pattern to the new name and the new value. Raises ValueError for a variable whose
    name has no pattern, and, before the numbers are copied, for more numbers than a file of `size`
    bytes holds.
    """
    state, count = {}, 0
    for variable_name, value in variables:
        if variable_name in ignored:
            continue
        name, array = _convert_variable(variable_name, np.asarray(value), patterns)
        count += array.size
        require_tensors_fit(count, size)
        # The array is copied, as torch takes no negative strides.
        state[name] = torch.from_numpy(np.array(array, np.float32))
    return state


def require_sizes(options: Mapping[str, Any], shape: NetworkShape) -> None:
    """Raise ValueError if a size that the file states is not that of its tensors."""
    for option, size in _SIZES.items():
        stated, actual = options.get(option), getattr(shape, size)
        if stated is not None and stated != actual:
            raise ValueError(f"its {option} is {stated}, but its tensors have {actual}")


def walk_variables(network: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the name and the value of all variables, those of inner networks under `name/`."""
    for name, value in network["variables"]:
        yield prefix + name, value
    for name, component in network["components"].items():
        yield from walk_variables(component.state, f"{prefix}{name}/")


def _convert_variable(
    name: str, value: np.ndarray, patterns: Mapping[str, Conversion]
) -> tuple[str, np.ndarray]:
    """Convert a variable's name and layout to PyTorch's; raise ValueError for an unknown name."""
    for pattern, convert in patterns.items():
        if match := re.fullmatch(pattern, name):
            return convert(value, *match.groups())
    raise ValueError(f"its variable {name} is not known")


def convert_dense(value: np.ndarray, layer: str, part: str) -> tuple[str, np.ndarray]:
    """Convert a dense layer of the mapping network: weights [in, out] -> [out, in]."""
    name = "embed" if layer == "LabelEmbed" else layer.replace("Dense", "fc")
    return f"mapping.{name}.{part}", value.T


def _noise(value: np.ndarray, index: str) -> tuple[str, np.ndarray]:
    """Convert a noise image [1, 1, h, w] -> [h, w].

    The size 4 x 4 has noise 0 alone; each larger size has two.
    """
    i = int(index)
    resolution = 2 ** ((i + 5) // 2)
    return f"synthesis.b{resolution}.conv{(i + 1) % 2}.noise_const", value[0, 0]


_LAYER_NAMES = {
    "Conv": "conv1",
    "Conv0_up": "conv0",
    "Conv1": "conv1",
    "ToRGB": "torgb",
    "Skip": "skip",
}


def _layer(value: np.ndarray, resolution: str, layer: str, part: str) -> tuple[str, np.ndarray]:
    """Convert a layer of the synthesis network.

    Kernels [h, w, in, out] -> [out, in, h, w]; affine weights are transposed; affine biases get 1
    added, as TensorFlow's program adds it at each use.
    """
    name = f"synthesis.b{resolution}.{_LAYER_NAMES[layer]}"
    if part == "mod_weight":
        return f"{name}.affine.weight", value.T
    if part == "mod_bias":
        return f"{name}.affine.bias", value + 1
    if part == "weight" and layer in ("Conv0_up", "Skip"):
        value = value[::-1, ::-1]  # TensorFlow stores these for correlation.
    return f"{name}.{part}", value.transpose(3, 2, 0, 1) if part == "weight" else value


_PATTERNS: dict[str, Conversion] = {
    "dlatent_avg": lambda value: ("mapping.w_avg", value),
    "mapping/LabelConcat/weight": lambda value: ("mapping.concat.weight", value.T),
    r"mapping/(LabelEmbed|Dense\d+)/(weight|bias)": convert_dense,
    "synthesis/4x4/Const/const": lambda value: ("synthesis.b4.const", value[0]),
    r"synthesis/noise(\d{1,2})": _noise,
    rf"synthesis/(\d+)x\d+/({'|'.join(_LAYER_NAMES)})/(\w+)": _layer,
}
