"""Use a Python callable of the user's own as a generator: `module:callable`.

The callable is a function from sample ids (int64 [n]) to images (uint8 [n, 3, h, w]), or a class
whose objects are such functions. Every worker makes one object of the class, with the options after
the question mark, as in `my_models.gan:Generator?psi=0.7`. If the constructor takes a keyword
`device`, it gets the device on which the object is to compute, as torch names it: "cuda:0" in a
worker that has a GPU, else "cpu". The device is no part of the generator's spec.

Images may be an array of numpy or a tensor of torch on any device, where they stay until the
features are computed. They may be floats, if the callable's attribute `uint8` names the rule of
`raymetrics.generators.uint8_rules` that converts them. It may have these attributes:

    length         the number of samples; without it, the generator is endless
    labels         a method, from sample ids to classes, int64 [n] from 0 on
    prompts        a method, from sample ids to the texts that the images were made from
    spec           everything that changes the pixels; without it, digests of its code, of the
                   modules that it imports, and of the files and folders that its options name
    weight_bytes   the bytes of its weights, which decide where workers go; without it, those of the
                   torch networks that it is or has as attributes
    trial          False if the driver must not generate samples, see
                   `raymetrics.generators.trial`

A callable with the methods draw, map and synthesize (and `block`, if it is not 16) is a latent
generator, whose samples can be truncated and interpolated. For some truncations it needs
`map_scaled` or `layer_count` too: see `raymetrics.generators.base.LatentGenerator`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raymetrics.errors import SourceError
from raymetrics.generators.tensor_generator import TensorGenerator, as_tensor
from raymetrics.generators.uint8_rules import RULES, require_finite, to_uint8
from raymetrics.provenance import fingerprint
from raymetrics.user_code import (
    USER_CODE_EXCEPTIONS,
    UserCallable,
    describe_exception,
    without_folders,
)

_FLOATS = ("float16", "float32", "float64")
_IMAGE_FLOATS = (*_FLOATS, "bfloat16")
_LATENT_METHODS = ("draw", "map", "synthesize")
_MODULE_HINT = (
    "; it is an nn.Module, which takes latents and no sample ids: save it as TorchScript, "
    "torch.jit.script(network).save('network.ts'), and extract 'network.ts?z=512', or give a class "
    "that makes each latent from its sample id"
)


def open_user_function(
    text: str, options: Mapping[str, str], device: torch.device
) -> UserFunctionGenerator:
    """Open the generator around "module:callable", which computes on this device if it can.

    The generator is a latent one if the callable has the methods draw, map and synthesize.
    """
    target = UserCallable(text, "source", SourceError)
    arguments = _add_device(target, options, device)
    call = target.instantiate(arguments)
    is_latent = all(callable(target.get_attribute(call, method)) for method in _LATENT_METHODS)
    kind = UserLatentGenerator if is_latent else UserFunctionGenerator
    return kind(target, call, options, arguments)


def _add_device(
    target: UserCallable, options: Mapping[str, str], device: torch.device
) -> dict[str, str]:
    """Return the arguments of a class: the options, and the device if it takes a `device`."""
    definition = target.load()
    takes_device = inspect.isclass(definition) and "device" in _parameters(definition)
    return ({"device": str(device)} if takes_device else {}) | dict(options)


def _parameters(definition: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(definition).parameters
    except ValueError:  # a class in another language than Python may have no signature
        return {}


class UserFunctionGenerator(TensorGenerator):
    """A generator around a user's callable, which checks the images that the callable returns."""

    def __init__(
        self,
        target: UserCallable,
        call: Callable[..., Any],
        options: Mapping[str, str],
        arguments: Mapping[str, str],
    ) -> None:
        self.name = target.text
        self.options = dict(options)
        self._target, self._call, self._arguments = target, call, arguments
        self._image_size: tuple[int, int] | None = None  # of the images so far
        self.rule: str | None = self._user_attribute("uint8")
        if self.rule is not None and not (isinstance(self.rule, str) and self.rule in RULES):
            raise SourceError(
                f"uint8 of {self.name} is {self.rule!r}; the rules are {', '.join(RULES)}"
            )

    def _user_attribute(self, name: str, default: Any = None) -> Any:
        return self._target.get_attribute(self._call, name, default)

    @property
    def user_object(self) -> object:
        """The user's own function or object."""
        return self._call

    @property
    def trial(self) -> bool:
        """Whether the driver may try the callable; False for classes of raymetrics."""
        return self._user_attribute("trial", True) and not self.name.startswith("raymetrics.")

    def renew(self) -> None:
        """Replace the user's object by a new one."""
        del self._call  # first, as memory may not hold two
        self._call = self._target.instantiate(self._arguments)

    @property
    def length(self) -> int | None:
        """The callable's `length`; None, for an endless generator, if it has none.

        Raises SourceError for a length that is no number of samples.
        """
        length = self._user_attribute("length")
        if length is None:
            return None
        is_number = isinstance(length, int | np.integer) and not isinstance(length, bool)
        if not is_number or length < 1:
            raise SourceError(
                f"length of {self.name} is {length!r}, expected how many samples there are, an int "
                "from 1 on, or None"
            )
        return int(length)

    @cached_property
    def spec(self) -> dict[str, object]:
        """The callable's `spec`, or digests of its code, with its name and its options."""
        return {
            "name": self.name,
            "options": self.options,
            **({} if self.rule is None else {"uint8": self.rule}),
            **self._target.spec_fields(self._call, self.options),
        }

    @property
    def quick_fingerprint(self) -> str:
        """A digest of the spec without the digests of folders, which workers compare."""
        return fingerprint(without_folders(self.spec))

    def labels(self, sample_ids: np.ndarray) -> np.ndarray | None:
        """Return the callable's `labels(sample_ids)`, int64 [n]; None without such a method.

        Raises SourceError for anything but whole numbers from 0 on, one for each sample.
        """
        labels_method = self._user_attribute("labels")
        if labels_method is None:
            return None
        given = self._call_user_code(
            lambda: labels_method(sample_ids), f"the labels of {_describe_ids(sample_ids)}"
        )
        if given is None:
            return None
        labels = self._call_user_code(
            lambda: _to_numpy(given), f"the labels of {_describe_ids(sample_ids)}"
        )
        if labels.shape != sample_ids.shape:
            raise self._labels_error(labels, sample_ids, "", f"[{len(sample_ids)}]")
        if labels.dtype.kind not in "iu" or labels.min(initial=0) < 0:
            dtype = "" if labels.dtype.kind in "iu" else f"{labels.dtype} "
            minimum = f", the least is {labels.min()}" if labels.dtype.kind in "iu" else ""
            what = f"int64 [{len(sample_ids)}] from 0 on{minimum}"
            raise self._labels_error(labels, sample_ids, dtype, what)
        return labels.astype(np.int64)

    def prompts(self, sample_ids: np.ndarray) -> list[str] | None:
        """Return the callable's `prompts(sample_ids)`; None without such a method.

        Raises SourceError if the method fails.
        """
        method = self._user_attribute("prompts")
        if method is None:
            return None
        what = f"the prompts of {_describe_ids(sample_ids)}"
        given = self._call_user_code(lambda: method(sample_ids), what)
        if given is None:
            return None
        prompts: list[str] = self._call_user_code(lambda: list(given), what)
        return prompts

    def _labels_error(
        self, labels: np.ndarray, sample_ids: np.ndarray, dtype: str, expected: str
    ) -> SourceError:
        return SourceError(
            f"labels of {self.name} are {dtype}{list(labels.shape)} for {len(sample_ids)} sample "
            f"ids, expected {expected}"
        )

    def tensors(self, sample_ids: np.ndarray) -> Tensor:
        """Generate images uint8 [n, 3, h, w] from sample ids int64 [n].

        They are on the device of the callable's images; arrays become tensors on the CPU. Raises
        SourceError if the callable fails or returns anything else.
        """
        images = self._call_user_code(
            lambda: _array_or_tensor(self._call(sample_ids)), _describe_ids(sample_ids)
        )
        return self._require_images(images, sample_ids)

    def _require_images(self, images: np.ndarray | Tensor, sample_ids: np.ndarray) -> Tensor:
        shape, dtype = tuple(images.shape), _dtype_name(images)
        right = len(shape) == 4 and shape[:2] == (len(sample_ids), 3) and math.prod(shape)
        floats = self.rule is not None and dtype in _IMAGE_FLOATS
        if not right or not (floats or dtype == "uint8"):
            raise SourceError(
                f"{self.name} gave {dtype} {list(shape)} for {len(sample_ids)} sample ids, "
                f"expected uint8 [{len(sample_ids)}, 3, height, width]; "
                f"{_shape_hint(shape, dtype, len(sample_ids))}"
            )
        self._require_one_size(shape[2], shape[3], sample_ids)
        tensor = as_tensor(images) if isinstance(images, np.ndarray) else images.contiguous()
        if self.rule is None or not floats:
            return tensor
        return require_finite(to_uint8(tensor, RULES[self.rule]), sample_ids, self.name)

    def _require_one_size(self, height: int, width: int, sample_ids: np.ndarray) -> None:
        self._image_size = self._image_size or (height, width)
        if self._image_size != (height, width):
            before = f"{self._image_size[0]} x {self._image_size[1]}"
            raise SourceError(
                f"{self.name} gave images of {height} x {width} for {_describe_ids(sample_ids)}, "
                f"and of {before} before; give all of them one size"
            )

    def _call_user_code(self, function: Callable[[], Any], input_text: str) -> Any:
        try:
            return function()
        except USER_CODE_EXCEPTIONS as error:
            instead = _MODULE_HINT if isinstance(self._call, torch.nn.Module) else ""
            raise SourceError(
                f"{self.name} failed on {input_text}: {describe_exception(error)}{instead}"
            ) from error


class UserLatentGenerator(UserFunctionGenerator):
    """A latent generator around a user's callable, which checks the outputs of all its methods."""

    @property
    def block(self) -> int:
        """The callable's `block`, by default 16; SourceError if it is no number of samples."""
        block = self._user_attribute("block", 16)
        if not isinstance(block, int) or isinstance(block, bool) or block < 1:
            raise SourceError(f"block of {self.name} is {block!r}, expected an int from 1 on")
        return block

    @property
    def not_latent_because(self) -> str | None:
        """The callable's `not_latent_because`; None if it has none."""
        reason: str | None = self._user_attribute("not_latent_because")
        return reason

    @property
    def layer_count(self) -> int | None:
        """The callable's `layer_count`; None if it has none. SourceError if it is no number."""
        count = self._user_attribute("layer_count")
        if count is not None and (not isinstance(count, int) or count < 1):
            raise SourceError(
                f"layer_count of {self.name} is {count!r}, expected an int from 1 on, or None"
            )
        return count

    @property
    def map_scaled(self) -> Callable[..., np.ndarray] | None:
        """The callable's `map_scaled`, which raises SourceError as `map`; None if it has none."""
        return None if self._user_attribute("map_scaled") is None else self._call_map_scaled

    def _call_map_scaled(
        self, z: np.ndarray, labels: np.ndarray | None, scale: float
    ) -> np.ndarray:
        return self._call_latent_method("map_scaled", f"{len(z)} latents", z, labels, scale)

    def draw(self, sample_ids: np.ndarray) -> np.ndarray:
        """Draw z float32 [n, z] for sample ids int64 [n]; SourceError for anything else."""
        return self._call_latent_method("draw", _describe_ids(sample_ids), sample_ids)

    def map(self, z: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        """Map z float32 [n, z] and labels, int64 [n] or None, to w float32 [n, w].

        Raises SourceError for anything else.
        """
        return self._call_latent_method("map", f"{len(z)} latents", z, labels)

    def synthesize(self, w: np.ndarray) -> np.ndarray:
        """Synthesize images uint8 [n, 3, h, w] from w float32 [n, w] or [n, layers, w].

        Raises SourceError for anything else.
        """
        return self.synthesize_tensors(w).cpu().numpy()

    def synthesize_tensors(self, w: np.ndarray) -> Tensor:
        """Synthesize images uint8 [n, 3, h, w] on the callable's device.

        w: float32 [n, w] or [n, layers, w]. Raises SourceError for anything else.
        """
        call: Any = self._call
        images = self._call_user_code(
            lambda: _array_or_tensor(call.synthesize(w)), f"{len(w)} latents"
        )
        return self._require_images(images, np.arange(len(w)))

    def _call_latent_method(
        self, method: str, input_text: str, rows: np.ndarray, *inputs: np.ndarray | float | None
    ) -> np.ndarray:
        function, n = getattr(self._call, method), len(rows)
        given = self._call_user_code(lambda: _to_numpy(function(rows, *inputs)), input_text)
        if _dtype_name(given) not in _FLOATS or given.ndim != 2 or len(given) != n:
            raise SourceError(
                f"{method} of {self.name} gave {given.dtype} {list(given.shape)} for {input_text}, "
                f"expected float32 [{n}, numbers of a latent]"
            )
        return given.astype(np.float32, copy=False)


def _array_or_tensor(value: Any) -> np.ndarray | Tensor:
    """Return a tensor without its gradient, and anything else as an array."""
    return value.detach() if isinstance(value, Tensor) else np.asarray(value)


def _to_numpy(value: Any) -> np.ndarray:
    """Copy a tensor from any device to an array; return anything else as an array."""
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)


def _dtype_name(images: np.ndarray | Tensor) -> str:
    """Return the type of the numbers as numpy names it, such as "float32"."""
    return str(images.dtype).removeprefix("torch.")


def _describe_ids(sample_ids: np.ndarray) -> str:
    """Describe the sample ids of a call, for an error."""
    if len(sample_ids) == 1:
        return f"sample {sample_ids[0]}"
    return f"{len(sample_ids)} sample ids from {sample_ids[0]}"


def _shape_hint(shape: tuple[int, ...], dtype: str, count: int) -> str:
    """Say what to do about images of a wrong shape or type."""
    if len(shape) == 4 and shape[3] == 3 != shape[1]:
        return "the channels come last: transpose them, (0, 3, 1, 2)"
    if len(shape) == 4 and shape[0] != count:
        return "give one image for each sample id"
    if len(shape) == 4 and shape[1] == 1:
        return "repeat the grey channel, np.repeat(images, 3, axis=1)"
    if dtype == "uint8":
        return "give one array of colour images with the channels before height and width"
    return f"floats are taken by a rule that its attribute 'uint8' names: {', '.join(RULES)}"
