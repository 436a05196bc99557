"""Load `module:callable?option=value`: a function or a class of the user's."""

from __future__ import annotations

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

from raymetrics.code_digests import is_library, module_digests, option_digests
from raymetrics.errors import RaymetricsError

# The exceptions to catch from a user's code; SystemExit would end the program silently.
USER_CODE_EXCEPTIONS = (Exception, SystemExit)
_FOLDERS = "folders"  # the key of folder digests in a specification
# Classes of raymetrics by the texts that shard sets and results of earlier versions record.
_FORMER_TEXTS = {
    "raymetrics.generators.latents.paths:Paths": (
        "raymetrics.generators.latents.interpolated_paths:InterpolatedPaths"
    ),
    "raymetrics.heatmaps.noise:Noisy": "raymetrics.heatmaps.noisy_source:NoisySource",
}


def current_text(text: str) -> str:
    """Return today's "module:callable" for a text of an earlier version; other texts unchanged."""
    return _FORMER_TEXTS.get(text, text)


@dataclass(frozen=True)
class UserCallable:
    """A text "module:callable", with its kind: a source or an extractor.

    error: the type of error to raise if the callable is unsuitable.
    """

    text: str
    kind: str
    error: type[RaymetricsError]

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", current_text(self.text))

    @property
    def module(self) -> str:
        """The name of the module."""
        return self.text.partition(":")[0]

    def load(self) -> Callable[..., Any]:
        """Import the callable.

        Raise `error`, which names the missing part or describes the failed import.
        """
        _, _, attribute = self.text.partition(":")
        if not self.module.startswith("raymetrics.") and os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())
        try:
            module = importlib.import_module(self.module)
        except USER_CODE_EXCEPTIONS as error:
            raise self.error(
                f"cannot import {self.module!r} for {self.kind} {self.text!r}: "
                f"{_import_failure(error)}"
            ) from None
        value: object = module
        for part in attribute.split("."):
            if not hasattr(value, part):
                raise self.error(
                    f"{self.module} has no {attribute!r}, as {self.kind} {self.text!r} needs"
                )
            value = getattr(value, part)
        if not callable(value):
            raise self.error(
                f"{self.text} is {type(value).__name__}, expected a function or a class"
            )
        return value

    def instantiate(self, options: Mapping[str, str]) -> Callable[..., Any]:
        """Return the function, or an object of the class, made with the options.

        Raise `error` for options of a function, for a constructor that fails, or for an object that
        is not callable.
        """
        definition = self.load()
        if not inspect.isclass(definition):
            if options:
                raise self.error(
                    f"{self.text} is a function and takes no options, but has {dict(options)}; "
                    "make it a class that takes them"
                )
            return definition
        try:
            instance = definition(**options)
        except USER_CODE_EXCEPTIONS as error:
            raise self.error(
                f"cannot make {self.text} with options {dict(options)}: {describe_exception(error)}"
            ) from error
        if not callable(instance):
            raise self.error(f"an object of {self.text} cannot be called; give it __call__")
        return instance

    def get_attribute(self, instance: Callable[..., Any], name: str, default: Any = None) -> Any:
        """Return an attribute of the callable, or the default. Raise `error` if this fails."""
        try:
            return getattr(instance, name, default)
        except USER_CODE_EXCEPTIONS as error:
            raise self.error(
                f"{name} of {self.text} failed: {describe_exception(error)}"
            ) from error

    def spec_fields(
        self, instance: Callable[..., Any], options: Mapping[str, str]
    ) -> dict[str, object]:
        """Return the callable's `spec` if it has one, else digests of its code and of its options.

        A `spec` states all that matters: an option may name a folder of logs that changes without
        changing a pixel. Raise `error` if the spec is not JSON, or if a file cannot be read.
        """
        spec = self.get_attribute(instance, "spec")
        if spec is not None:
            return {"spec": self._as_json(spec)}
        # The module in the text, because a decorator may come from any other.
        try:
            return {**module_digests(self.module), **option_digests(options)}
        except OSError as error:
            raise self.error(f"cannot read what {self.text} is made of: {error}") from None

    def _as_json(self, spec: object) -> object:
        """Return a spec in the form that JSON restores: lists instead of tuples, text as keys."""
        try:
            return json.loads(json.dumps(spec, allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            raise self.error(
                f"the spec of {self.text} cannot be written as JSON: {error}; expected a "
                "dictionary of finite numbers, text and lists"
            ) from None


def without_folders(spec: Mapping[str, object]) -> dict[str, object]:
    """Return a user's specification without the digests of folders.

    Workers compare this part: a folder may change while they run, for example the folder of a
    training run.
    """
    return {key: value for key, value in spec.items() if key != _FOLDERS}


def describe_exception(error: BaseException) -> str:
    """Describe an error of a user's code in one line, with the line of that code that raised it."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    name = f"sys.exit({error.code})" if isinstance(error, SystemExit) else _exception_text(error)
    frames = traceback.extract_tb(error.__traceback__)
    user_frames = [frame for frame in frames if _is_user_code(frame.filename)]
    last = (user_frames or frames)[-1]
    return f"{name} ({last.filename}, line {last.lineno})"


def _exception_text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _is_user_code(file: str) -> bool:
    is_raymetrics = Path(file).is_relative_to(Path(__file__).parent)
    return not (is_raymetrics or file.startswith("<") or is_library(file))


def _import_failure(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"{error}; looked in {os.getcwd()} and on the Python path"
    if isinstance(error, SystemExit):
        return (
            f"it ends the program, {describe_exception(error)}; put what is to run as a program "
            "below if __name__ == '__main__':"
        )
    return describe_exception(error)
