"""What `module:callable?option=value` names: a function or a class of the user's own."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raymetrics.errors import RaymetricsError


@dataclass(frozen=True)
class Target:
    """A text "module:callable", and what it is asked for as: a source, an extractor.

    error: what is raised where it is not what it should be.
    """

    text: str
    kind: str
    error: type[RaymetricsError]

    @property
    def module(self) -> str:
        """The name of the module."""
        return self.text.partition(":")[0]

    def load(self) -> Callable[..., Any]:
        """The callable. The error says which part is not there."""
        _, _, attribute = self.text.partition(":")
        if os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())
        try:
            module = importlib.import_module(self.module)
        except ImportError as error:
            raise self.error(
                f"cannot import {self.module!r} for {self.kind} {self.text!r}: {error}; looked in "
                f"{os.getcwd()} and on the Python path"
            ) from None
        found: object = module
        for part in attribute.split("."):
            if not hasattr(found, part):
                raise self.error(
                    f"{self.module} has no {attribute!r}, as {self.kind} {self.text!r} needs"
                )
            found = getattr(found, part)
        if not callable(found):
            raise self.error(
                f"{self.text} is {type(found).__name__}, expected a function or a class"
            )
        return found

    def make(self, options: Mapping[str, str]) -> Callable[..., Any]:
        """The function, or an object of the class, which is made with the options."""
        found = self.load()
        if not inspect.isclass(found):
            if options:
                raise self.error(
                    f"{self.text} is a function and takes no options, but has {dict(options)}; "
                    "make it a class that takes them"
                )
            return found
        try:
            made = found(**options)
        except Exception as error:
            raise self.error(
                f"cannot make {self.text} with options {dict(options)}: "
                f"{type(error).__name__}: {error}"
            ) from error
        if not callable(made):
            raise self.error(f"an object of {self.text} cannot be called; give it __call__")
        return made

    def identity(self, made: Callable[..., Any]) -> dict[str, object]:
        """Its own `spec`, if it has one; else the text of the file that defines it."""
        own = getattr(made, "spec", None)
        if own is not None:
            return {"spec": self._as_json(own)}
        # Of the module that the target names: a decorator may come from anywhere.
        file = sys.modules[self.module].__file__
        text = Path(file).read_bytes() if file else b""
        return {"source_sha256": hashlib.sha256(text).hexdigest()}

    def _as_json(self, spec: object) -> object:
        """A spec as it is read back from a file: of lists, and of names that are text."""
        try:
            return json.loads(json.dumps(spec))
        except (TypeError, ValueError) as error:
            raise self.error(
                f"the spec of {self.text} cannot be written as JSON: {error}; expected a "
                "dictionary of numbers, text and lists"
            ) from None


def what_failed(error: Exception) -> str:
    """An error of a user's code in one line, with the place where it was raised."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({last.filename}, line {last.lineno})"
