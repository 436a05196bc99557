"""Your own extractor: `module:callable`.

The callable is a function from images (uint8 [n, 3, h, w]) to features (floats [n, d], or several
by name), or a class that makes such an object: it is made once in every worker, with the options
after the question mark, as in `my_models.faces:Embedding?layer=3`. It may have

    columns        {name: dimension}; without it, grey images are passed through to see them
    spec           all that changes its numbers; without it, its code, that of the modules which it
                   imports, and the files and folders that its options name stand for it
    block          the number of images that it gets at a time
    class_names    what the columns of an output called `logits` stand for
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from raymetrics.errors import ExtractorError
from raymetrics.extractors.user_outputs import (
    OWN,
    features_of,
    grey,
    plain,
    require_images,
    same_columns,
)
from raymetrics.user_code import FAILURES, Target, what_failed

BLOCK = 16


class Function:
    """An extractor around a callable; checks the features that it gives.

    options: of the class; but `name`, which names the extractor.
    """

    def __init__(self, target: str, options: Mapping[str, str]) -> None:
        self.target = target
        self.options = {key: value for key, value in options.items() if key != "name"}
        self.name = plain(options.get("name", target.partition(":")[2]))
        self._target = Target(target, "extractor", ExtractorError)
        self._call = self._target.make(self.options)
        self.columns = self._columns()

    def _attribute(self, name: str, default: Any = None) -> Any:
        return self._target.attribute(self._call, name, default)

    def _columns(self) -> dict[str, int]:
        own = self._attribute("columns")
        if own is None:
            return {name: x.shape[1] for name, x in self._ask(grey(self.block)).items()}
        if not isinstance(own, Mapping) or not all(isinstance(d, int) for d in own.values()):
            raise ExtractorError(f"columns of {self.target} are {own!r}, expected {{name: int}}")
        return dict(own)

    @property
    def block(self) -> int:
        """The callable's `block`, if it has one. ExtractorError if it is no number of images."""
        own = self._attribute("block", BLOCK)
        if not isinstance(own, int) or own < 1:
            raise ExtractorError(f"block of {self.target} is {own!r}, expected an int from 1 on")
        return own

    @property
    def class_names(self) -> tuple[str, ...]:
        """The callable's `class_names`, if it has them."""
        return tuple(self._attribute("class_names", ()))

    @property
    def file(self) -> Mapping[str, object]:
        """None: what it reads is its own affair, and belongs in its spec."""
        return {}

    @cached_property
    def spec(self) -> dict[str, object]:
        """The callable's `spec`, if it has one; else digests of what it is made of."""
        return {
            "name": self.name,
            "callable": self.target,
            "options": self.options,
            "columns": self.columns,
            "resize": OWN,
            **self._target.identity(self._call, self.options),
        }

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """images uint8 [n, 3, h, w] -> {column: float32 [n, d]}. ExtractorError for other images,
        and if it gives anything else."""
        found = self._ask(require_images(images, self.target))
        same_columns(found, self.columns, self.target)
        return found

    def _ask(self, images: np.ndarray) -> dict[str, np.ndarray]:
        function: Callable[[np.ndarray], Any] = self._call
        try:
            found = function(images)
        except FAILURES as error:
            raise ExtractorError(
                f"{self.target} failed on {len(images)} images of {images.shape[2]} x "
                f"{images.shape[3]}: {what_failed(error)}"
            ) from error
        return features_of(found, len(images), self.target)
