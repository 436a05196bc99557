"""Use a Python callable of the user's own as an extractor: `module:callable`.

The callable is a function from images (uint8 [n, 3, h, w]) to features (floats [n, d], or several
of them by name), or a class whose objects are such functions. Every worker makes one object of the
class, with the options after the question mark, as in `my_models.faces:Embedding?layer=3`. The
callable may have these attributes:

    columns        {name: dimension}; without it, a call with grey images finds the columns
    spec           everything that changes the features; without it, digests of its code, of the
                   modules that it imports, and of the files and folders that its options name
    block          the number of images in each call
    class_names    the class of each number of an output called `logits`
    weight_bytes   the bytes of its weights, which decide where workers go; without it, those of the
                   torch networks that it is or has as attributes
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from raymetrics.errors import ExtractorError
from raymetrics.extractors.user_outputs import (
    OWN_RESIZE,
    column_safe,
    features_by_name,
    gray_images,
    require_images,
    require_same_columns,
)
from raymetrics.user_code import USER_CODE_EXCEPTIONS, UserCallable, describe_exception

_DEFAULT_BLOCK = 16


class UserFunctionExtractor:
    """An extractor around a user's callable, which checks the features that the callable returns.

    options: the arguments of the class; the option `name` is instead the name of the extractor.
    """

    def __init__(self, target: str, options: Mapping[str, str]) -> None:
        self.target = target
        self.options = {key: value for key, value in options.items() if key != "name"}
        self.name = column_safe(options.get("name", target.partition(":")[2]))
        self._target = UserCallable(target, "extractor", ExtractorError)
        self._call = self._target.instantiate(self.options)
        self.columns = self._columns()

    def _user_attribute(self, name: str, default: Any = None) -> Any:
        return self._target.get_attribute(self._call, name, default)

    @property
    def user_object(self) -> object:
        """The user's own function or object."""
        return self._call

    def _columns(self) -> dict[str, int]:
        columns = self._user_attribute("columns")
        if columns is None:
            return {
                name: x.shape[1]
                for name, x in self._call_user_function(gray_images(self.block)).items()
            }
        if not isinstance(columns, Mapping) or not all(
            isinstance(d, int) for d in columns.values()
        ):
            raise ExtractorError(
                f"columns of {self.target} are {columns!r}, expected {{name: int}}"
            )
        return dict(columns)

    @property
    def block(self) -> int:
        """The callable's `block`, by default 16; ExtractorError if it is no number of images."""
        block = self._user_attribute("block", _DEFAULT_BLOCK)
        if not isinstance(block, int) or block < 1:
            raise ExtractorError(f"block of {self.target} is {block!r}, expected an int from 1 on")
        return block

    @property
    def class_names(self) -> tuple[str, ...]:
        """The callable's `class_names`; empty if the callable has no such attribute."""
        return tuple(self._user_attribute("class_names", ()))

    @property
    def file(self) -> Mapping[str, object]:
        """Empty: files that the callable reads belong in its spec."""
        return {}

    @cached_property
    def spec(self) -> dict[str, object]:
        """The callable's `spec`, or digests of its code, and the other facts of the features."""
        return {
            "name": self.name,
            "callable": self.target,
            "options": self.options,
            "columns": self.columns,
            "resize": OWN_RESIZE,
            **self._target.spec_fields(self._call, self.options),
        }

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Compute the features {column: float32 [n, d]} of images uint8 [n, 3, h, w].

        Raises ExtractorError for other images, if the callable fails, and if it returns anything
        but features of these columns.
        """
        features = self._call_user_function(require_images(images, self.target))
        require_same_columns(features, self.columns, self.target)
        return features

    def _call_user_function(self, images: np.ndarray) -> dict[str, np.ndarray]:
        function: Callable[[np.ndarray], Any] = self._call
        try:
            outputs = function(images)
        except USER_CODE_EXCEPTIONS as error:
            raise ExtractorError(
                f"{self.target} failed on {len(images)} images of {images.shape[2]} x "
                f"{images.shape[3]}: {describe_exception(error)}"
            ) from error
        return features_by_name(outputs, len(images), self.target)
