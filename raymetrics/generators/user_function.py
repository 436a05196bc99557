"""Your own generator: `module:callable`.

The callable is a function from sample ids (int64 [n]) to images (uint8 [n, 3, h, w]), or a
class that makes such an object: it is made once in every worker, with the options after the
question mark, as in `my_models.gan:Generator?psi=0.7`.

It may give floats instead, if its attribute `uint8` names the rule of
`raymetrics.generators.uint8_rules` by which they become bytes. It may have

    length         where its samples end
    labels         a method, their classes: sample ids to int64 [n] from 0 on
    spec           all that changes its pixels; without it, its code, that of the modules which it
                   imports, and the files and folders that its options name stand for it
    weight_bytes   the bytes of its weights, if they are not those of networks of torch that it is
                   or has as attributes: by them workers are placed on machines
    trial          False if no samples may be made where the command is given, see
                   `raymetrics.generators.trial`

With the methods draw, map and synthesize (and `block`, if it is not 16) it is a latent generator,
whose samples can be truncated and interpolated: see `raymetrics.generators.base.LatentGenerator`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch

from raymetrics.errors import SourceError
from raymetrics.generators.uint8_rules import RULES, require_finite, to_uint8
from raymetrics.provenance import fingerprint
from raymetrics.user_code import (
    USER_CODE_EXCEPTIONS,
    UserCallable,
    describe_exception,
    without_folders,
)

_FLOATS = (np.float16, np.float32, np.float64)
_LATENT_METHODS = ("draw", "map", "synthesize")
_MODULE_HINT = (
    "; it is an nn.Module, which takes latents and no sample ids: save it as TorchScript, "
    "torch.jit.script(network).save('network.ts'), and extract 'network.ts?z=512', or give a class "
    "that makes each latent from its sample id"
)


def open_user_function(text: str, options: Mapping[str, str]) -> UserFunctionGenerator:
    """The generator around what "module:callable" names; a latent one if it has the methods."""
    target = UserCallable(text, "source", SourceError)
    call = target.instantiate(options)
    is_latent = all(callable(target.get_attribute(call, method)) for method in _LATENT_METHODS)
    return (UserLatentGenerator if is_latent else UserFunctionGenerator)(target, call, options)


class UserFunctionGenerator:
    """A generator around a callable; checks the images that it gives."""

    def __init__(
        self, target: UserCallable, call: Callable[..., Any], options: Mapping[str, str]
    ) -> None:
        self.name = target.text
        self.options = dict(options)
        self._target, self._call = target, call
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
        """Whether samples may be made before workers make them; not of what raymetrics has."""
        return self._user_attribute("trial", True) and not self.name.startswith("raymetrics.")

    def renew(self) -> None:
        """Make the object anew, in the place of the one that there is."""
        del self._call  # first, as two may not fit
        self._call = self._target.instantiate(self.options)

    @property
    def length(self) -> int | None:
        """The callable's `length`, if it has one; else it is endless. SourceError for a length
        that is no number of samples."""
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
        """The callable's `spec`, if it has one; else digests of what it is made of."""
        return {
            "name": self.name,
            "options": self.options,
            **({} if self.rule is None else {"uint8": self.rule}),
            **self._target.spec_fields(self._call, self.options),
        }

    @property
    def quick_fingerprint(self) -> str:
        """What a worker compares."""
        return fingerprint(without_folders(self.spec))

    def labels(self, sample_ids: np.ndarray) -> np.ndarray | None:
        """The callable's `labels(sample_ids)`, if it has that. SourceError for anything but whole
        numbers from 0 on, one for each sample."""
        labels_method = self._user_attribute("labels")
        if labels_method is None:
            return None
        given = self._call_user_code(
            lambda: labels_method(sample_ids), f"the labels of {_describe_ids(sample_ids)}"
        )
        if given is None:
            return None
        labels = self._call_user_code(
            lambda: np.asarray(given), f"the labels of {_describe_ids(sample_ids)}"
        )
        if labels.shape != sample_ids.shape:
            raise self._labels_error(labels, sample_ids, "", f"[{len(sample_ids)}]")
        if labels.dtype.kind not in "iu" or labels.min(initial=0) < 0:
            dtype = "" if labels.dtype.kind in "iu" else f"{labels.dtype} "
            minimum = f", the least is {labels.min()}" if labels.dtype.kind in "iu" else ""
            what = f"int64 [{len(sample_ids)}] from 0 on{minimum}"
            raise self._labels_error(labels, sample_ids, dtype, what)
        return labels.astype(np.int64)

    def _labels_error(
        self, labels: np.ndarray, sample_ids: np.ndarray, dtype: str, expected: str
    ) -> SourceError:
        return SourceError(
            f"labels of {self.name} are {dtype}{list(labels.shape)} for {len(sample_ids)} sample "
            f"ids, expected {expected}"
        )

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        """sample_ids int64 [n] -> images uint8 [n, 3, h, w]. SourceError for anything else."""
        images = self._call_user_code(
            lambda: np.asarray(self._call(sample_ids)), _describe_ids(sample_ids)
        )
        return self._require_images(images, sample_ids)

    def _require_images(self, images: np.ndarray, sample_ids: np.ndarray) -> np.ndarray:
        right = images.ndim == 4 and images.shape[:2] == (len(sample_ids), 3) and images.size
        floats = self.rule is not None and images.dtype in _FLOATS
        if not right or not (floats or images.dtype == np.uint8):
            raise SourceError(
                f"{self.name} gave {images.dtype} {list(images.shape)} for {len(sample_ids)} "
                f"sample ids, expected uint8 [{len(sample_ids)}, 3, height, width]; "
                f"{_shape_hint(images, len(sample_ids))}"
            )
        self._require_one_size(images, sample_ids)
        if self.rule is None or not floats:
            return images
        outputs = to_uint8(torch.from_numpy(images.copy()), RULES[self.rule])
        return require_finite(outputs, sample_ids, self.name)

    def _require_one_size(self, images: np.ndarray, sample_ids: np.ndarray) -> None:
        height, width = images.shape[2:]
        self._image_size = self._image_size or (height, width)
        if self._image_size != (height, width):
            raise SourceError(
                f"{self.name} gave images of {height} x {width} for {_describe_ids(sample_ids)}, and "
                f"of {self._image_size[0]} x {self._image_size[1]} before; give all of them one size"
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
    """The same around a callable with draw, map and synthesize; checks what they give."""

    @property
    def block(self) -> int:
        """The callable's own, or 16. SourceError for one that is no number of samples."""
        block = self._user_attribute("block", 16)
        if not isinstance(block, int) or isinstance(block, bool) or block < 1:
            raise SourceError(f"block of {self.name} is {block!r}, expected an int from 1 on")
        return block

    @property
    def not_latent_because(self) -> str | None:
        """The callable's own, if it has one."""
        reason: str | None = self._user_attribute("not_latent_because")
        return reason

    def draw(self, sample_ids: np.ndarray) -> np.ndarray:
        """sample_ids int64 [n] -> z float32 [n, z]."""
        return self._call_latent_method("draw", _describe_ids(sample_ids), sample_ids)

    def map(self, z: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        """z float32 [n, z], labels int64 [n] or None -> w float32 [n, w]."""
        return self._call_latent_method("map", f"{len(z)} latents", z, labels)

    def synthesize(self, w: np.ndarray) -> np.ndarray:
        """w float32 [n, w] -> images uint8 [n, 3, h, w]. SourceError for anything else."""
        call: Any = self._call
        images = self._call_user_code(lambda: np.asarray(call.synthesize(w)), f"{len(w)} latents")
        return self._require_images(images, np.arange(len(w)))

    def _call_latent_method(
        self, method: str, input_text: str, *inputs: np.ndarray | None
    ) -> np.ndarray:
        function, n = getattr(self._call, method), len(inputs[0])  # type: ignore[arg-type]
        given = self._call_user_code(lambda: np.asarray(function(*inputs)), input_text)
        if given.dtype not in _FLOATS or given.ndim != 2 or len(given) != n:
            raise SourceError(
                f"{method} of {self.name} gave {given.dtype} {list(given.shape)} for {input_text}, "
                f"expected float32 [{n}, numbers of a latent]"
            )
        return given.astype(np.float32, copy=False)


def _describe_ids(sample_ids: np.ndarray) -> str:
    """The ids that a callable was asked for, in an error."""
    if len(sample_ids) == 1:
        return f"sample {sample_ids[0]}"
    return f"{len(sample_ids)} sample ids from {sample_ids[0]}"


def _shape_hint(images: np.ndarray, count: int) -> str:
    """What to do about images of a wrong shape or type."""
    if images.ndim == 4 and images.shape[3] == 3 != images.shape[1]:
        return "the channels come last: transpose them, (0, 3, 1, 2)"
    if images.ndim == 4 and len(images) != count:
        return "give one image for each sample id"
    if images.ndim == 4 and images.shape[1] == 1:
        return "repeat the grey channel, np.repeat(images, 3, axis=1)"
    if images.dtype == np.uint8:
        return "give one array of colour images with the channels before height and width"
    return f"floats are taken by a rule that its attribute 'uint8' names: {', '.join(RULES)}"
