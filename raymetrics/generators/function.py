"""Your own generator: `module:callable`.

The callable is a function from sample ids (int64 [n]) to images (uint8 [n, 3, h, w]), or a
class that makes such an object: it is made once in every worker, with the options after the
question mark, as in `my_models.gan:Generator?psi=0.7`.

It may give floats instead, if its attribute `uint8` names the rule of
`raymetrics.generators.pixels` by which they become bytes.
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


class Function:
    """A generator around a callable; checks the images that it gives."""

    def __init__(self, target: str, options: Mapping[str, str]) -> None:
        self.name = target
        self.options = dict(options)
        self._target = Target(target, "source", SourceError)
        self._call = self._target.make(options)
        self.rule: str | None = getattr(self._call, "uint8", None)
        if self.rule not in (None, *RULES):
            raise SourceError(
                f"uint8 of {target} is {self.rule!r}; the rules are {', '.join(RULES)}"
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
        labels = np.asarray(self._ask(own, sample_ids), np.int64)
        if labels.shape != sample_ids.shape:
            raise SourceError(
                f"labels of {self.name} are {list(labels.shape)} for {len(sample_ids)} sample "
                f"ids, expected [{len(sample_ids)}]"
            )
        return labels

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        """sample_ids int64 [n] -> images uint8 [n, 3, h, w]. SourceError for anything else."""
        images = self._ask(lambda ids: np.asarray(self._call(ids)), sample_ids)
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

    def _ask(self, what: Callable[[np.ndarray], Any], sample_ids: np.ndarray) -> Any:
        try:
            return what(sample_ids)
        except Exception as error:
            raise SourceError(
                f"{self.name} failed on {len(sample_ids)} sample ids from {sample_ids[0]}: "
                f"{what_failed(error)}"
            ) from error


def remedy(images: np.ndarray) -> str:
    """What to do about images of a wrong shape or type."""
    if images.ndim == 4 and images.shape[3] == 3 != images.shape[1]:
        return "the channels come last: transpose them, (0, 3, 1, 2)"
    return f"floats are taken by a rule that its attribute 'uint8' names: {', '.join(RULES)}"
