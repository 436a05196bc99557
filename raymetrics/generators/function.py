"""Your own generator: `module:callable`.

The callable is a function from sample ids (int64 [n]) to images (uint8 [n, 3, h, w]), or a
class that makes such an object: it is made once in every worker, with the options after the
question mark, as in `my_models.gan:Generator?psi=0.7`.

It may give floats instead, if its attribute `uint8` names the rule of
`raymetrics.generators.pixels` by which they become bytes.

With the methods draw, map and synthesize (and `block`, if it is not 16) it is a latent generator,
whose samples can be truncated and interpolated: see `raymetrics.generators.base.LatentGenerator`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from raymetrics.callables import Target, what_failed
from raymetrics.errors import SourceError
from raymetrics.generators.pixels import RULES, checked, in_bytes

FLOATS = (np.float16, np.float32, np.float64)
LATENT = ("draw", "map", "synthesize")


def open_function(text: str, options: Mapping[str, str]) -> Function:
    """The generator around what "module:callable" names; a latent one if it has the methods."""
    target = Target(text, "source", SourceError)
    call = target.make(options)
    is_latent = all(callable(getattr(call, method, None)) for method in LATENT)
    return (LatentFunction if is_latent else Function)(target, call, options)


class Function:
    """A generator around a callable; checks the images that it gives."""

    def __init__(
        self, target: Target, call: Callable[..., Any], options: Mapping[str, str]
    ) -> None:
        self.name = target.text
        self.options = dict(options)
        self._target, self._call = target, call
        self.rule: str | None = getattr(self._call, "uint8", None)
        if self.rule not in (None, *RULES):
            raise SourceError(
                f"uint8 of {self.name} is {self.rule!r}; the rules are {', '.join(RULES)}"
            )

    @property
    def length(self) -> int | None:
        """The callable's `length`, if it has one; else it is endless."""
        length: int | None = getattr(self._call, "length", None)
        return length

    @property
    def spec(self) -> dict[str, object]:
        """The callable's `spec`, if it has one; else the text of the file that defines it."""
        return {
            "name": self.name,
            "options": self.options,
            **({} if self.rule is None else {"uint8": self.rule}),
            **self._target.identity(self._call),
        }

    def labels(self, sample_ids: np.ndarray) -> np.ndarray | None:
        """The callable's `labels(sample_ids)`, if it has that."""
        own = getattr(self._call, "labels", None)
        if own is None:
            return None
        given = self._ask(lambda: own(sample_ids), f"the labels of {described(sample_ids)}")
        if given is None:
            return None
        labels = np.asarray(given, np.int64)
        if labels.shape != sample_ids.shape:
            raise SourceError(
                f"labels of {self.name} are {list(labels.shape)} for {len(sample_ids)} sample "
                f"ids, expected [{len(sample_ids)}]"
            )
        return labels

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        """sample_ids int64 [n] -> images uint8 [n, 3, h, w]. SourceError for anything else."""
        made = self._ask(lambda: np.asarray(self._call(sample_ids)), described(sample_ids))
        return self._images(made, sample_ids)

    def _images(self, images: np.ndarray, sample_ids: np.ndarray) -> np.ndarray:
        right = images.ndim == 4 and images.shape[:2] == (len(sample_ids), 3)
        floats = self.rule is not None and images.dtype in FLOATS
        if not right or not (floats or images.dtype == np.uint8):
            raise SourceError(
                f"{self.name} gave {images.dtype} {list(images.shape)} for {len(sample_ids)} "
                f"sample ids, expected uint8 [{len(sample_ids)}, 3, height, width]; "
                f"{remedy(images)}"
            )
        if self.rule is None or not floats:
            return images
        made = in_bytes(torch.from_numpy(images.copy()), RULES[self.rule])
        return checked(made, sample_ids, self.name)

    def _ask(self, what: Callable[[], Any], on: str) -> Any:
        try:
            return what()
        except Exception as error:
            raise SourceError(f"{self.name} failed on {on}: {what_failed(error)}") from error


class LatentFunction(Function):
    """The same around a callable with draw, map and synthesize; checks what they give."""

    @property
    def block(self) -> int:
        """The callable's own, or 16."""
        return int(getattr(self._call, "block", 16))

    @property
    def hindrance(self) -> str | None:
        """The callable's own, if it has one."""
        hindrance: str | None = getattr(self._call, "hindrance", None)
        return hindrance

    def draw(self, sample_ids: np.ndarray) -> np.ndarray:
        """sample_ids int64 [n] -> z float32 [n, z]."""
        return self._latents("draw", described(sample_ids), sample_ids)

    def map(self, z: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        """z float32 [n, z], labels int64 [n] or None -> w float32 [n, w]."""
        return self._latents("map", f"{len(z)} latents", z, labels)

    def synthesize(self, w: np.ndarray) -> np.ndarray:
        """w float32 [n, w] -> images uint8 [n, 3, h, w]. SourceError for anything else."""
        call: Any = self._call
        made = self._ask(lambda: np.asarray(call.synthesize(w)), f"{len(w)} latents")
        return self._images(made, np.arange(len(w)))

    def _latents(self, method: str, on: str, *inputs: np.ndarray | None) -> np.ndarray:
        own, n = getattr(self._call, method), len(inputs[0])  # type: ignore[arg-type]
        given = self._ask(lambda: np.asarray(own(*inputs)), on)
        if given.dtype not in FLOATS or given.ndim != 2 or len(given) != n:
            raise SourceError(
                f"{method} of {self.name} gave {given.dtype} {list(given.shape)} for {on}, "
                f"expected float32 [{n}, numbers of a latent]"
            )
        return given.astype(np.float32, copy=False)


def described(sample_ids: np.ndarray) -> str:
    """The ids that a callable was asked for, in an error."""
    if len(sample_ids) == 1:
        return f"sample {sample_ids[0]}"
    return f"{len(sample_ids)} sample ids from {sample_ids[0]}"


def remedy(images: np.ndarray) -> str:
    """What to do about images of a wrong shape or type."""
    if images.ndim == 4 and images.shape[3] == 3 != images.shape[1]:
        return "the channels come last: transpose them, (0, 3, 1, 2)"
    return f"floats are taken by a rule that its attribute 'uint8' names: {', '.join(RULES)}"
