"""Use a Python callable of the user's own as a score of images: `score:module:callable`.

The callable is a function from images, uint8 [n, 3, h, w], to scores, floats [n]; or from images
and their prompts, a list of n texts, if it has a second argument without a default, or one called
`prompts`. It may be a class whose objects are such functions, as
`score:my_scores:ClipScore?model=b32`. The scores are a column `score` of dimension 1, of which the
metric `score` is the mean. The callable may have the attributes of
`raymetrics.extractors.user_function` but for `columns` and `class_names`, and

    better         "higher", which it is without it, or "lower": which scores are good ones
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from raymetrics.errors import ExtractorError
from raymetrics.extractors.user_function import UserFunctionExtractor
from raymetrics.extractors.user_outputs import gray_images, require_images
from raymetrics.output_names import SCORE
from raymetrics.user_code import USER_CODE_EXCEPTIONS, describe_exception

_DIRECTIONS = ("higher", "lower")
_TRIAL_PROMPT = "a photo"
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class UserScore(UserFunctionExtractor):
    """An extractor around a user's score, which checks the numbers that the callable returns."""

    @cached_property
    def takes_prompts(self) -> bool:
        """Whether the callable takes the prompts of the images too."""
        return _has_second_argument(self._call)

    @property
    def better(self) -> str:
        """The callable's `better`; ExtractorError if it is neither "higher" nor "lower"."""
        better: str = self._user_attribute("better", _DIRECTIONS[0])
        if better not in _DIRECTIONS:
            raise ExtractorError(
                f"better of {self.target} is {better!r}; there are {' and '.join(_DIRECTIONS)}"
            )
        return better

    def _columns(self) -> dict[str, int]:
        prompts = [_TRIAL_PROMPT] * self.block if self.takes_prompts else None
        return dict.fromkeys(self(gray_images(self.block), prompts), 1)

    @cached_property
    def spec(self) -> dict[str, object]:
        """The specification of the callable, with what it takes and which scores are good ones."""
        return {
            "kind": SCORE,
            "better": self.better,
            "takes_prompts": self.takes_prompts,
            **super().spec,
        }

    def __call__(
        self, images: np.ndarray, prompts: Sequence[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Compute {"score": float32 [n, 1]} of images uint8 [n, 3, h, w] and their prompts.

        Raises ExtractorError for other images, for prompts that are missing, if the callable fails,
        and if it returns anything but n floats.
        """
        images = require_images(images, self.target)
        if not self.takes_prompts:
            return {SCORE: self._score(images)}
        if prompts is None:
            raise ExtractorError(f"{self.target} takes images and their prompts, but got none")
        if len(prompts) != len(images):
            raise ExtractorError(
                f"{self.target} got {len(images)} images and {len(prompts)} prompts, expected as "
                "many of both"
            )
        return {SCORE: self._score(images, list(prompts))}

    def _score(self, *arguments: Any) -> np.ndarray:
        """Return the scores of one call of the callable, float32 [n, 1]."""
        function: Callable[..., Any] = self._call
        images = arguments[0]
        try:
            scores = function(*arguments)
            values = scores.detach().cpu().float() if isinstance(scores, Tensor) else scores
            array = np.asarray(values)
        except USER_CODE_EXCEPTIONS as error:
            raise ExtractorError(
                f"{self.target} failed on {len(images)} images of {images.shape[2]} x "
                f"{images.shape[3]}: {describe_exception(error)}"
            ) from error
        if array.dtype.kind != "f" or array.shape != (len(images),):
            raise ExtractorError(
                f"{self.target} gave {array.dtype} {list(array.shape)} for {len(images)} images, "
                f"expected scores, float32 [{len(images)}]"
            )
        return array.astype(np.float32)[:, np.newaxis]


def _has_second_argument(function: Callable[..., Any]) -> bool:
    """Return whether a function has a second argument that it needs, or one called `prompts`."""
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:  # a function in another language than Python may have no signature
        return False
    needed = [
        parameter
        for parameter in parameters.values()
        if parameter.kind in _POSITIONAL and parameter.default is inspect.Parameter.empty
    ]
    return len(needed) > 1 or "prompts" in parameters
