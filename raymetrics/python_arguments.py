"""Accept Python values where text is expected; raise an error that names any other argument."""

from __future__ import annotations

import os
from collections.abc import Sequence

from raymetrics.errors import RaymetricsError

ARRAYS_HINT = (
    "of features in memory there are raymetrics.in_memory.frechet_distance, kernel_distance, "
    "precision_recall, prdc, realism and reweight"
)
IMAGES_HINT = (
    "save images as numpy.savez('images.npz', arr_0=images), uint8 [n, height, width, 3], and name "
    "that file"
)


def as_names(names: str | Sequence[str]) -> list[str]:
    """Return a list of names from a list, or from one text with commas."""
    return names.split(",") if isinstance(names, str) else list(names)


def as_extractors(texts: str | Sequence[str]) -> list[str]:
    """Return a list of extractors from a list of texts, or from one text.

    A text with options is one extractor; another one may name several with commas between them.
    """
    given = [texts] if isinstance(texts, str) else list(texts)
    return [name for text in given for name in ([text] if "?" in text else text.split(","))]


def as_texts(texts: str | Sequence[str]) -> list[str]:
    """Return a list of texts from a list, or from one text, which may contain commas."""
    return [texts] if isinstance(texts, str) else list(texts)


def require_text(
    what: str, value: object, error: type[RaymetricsError], *, expected: str, instead: str
) -> str:
    """Return a text, or a path as text. Raise `error`, which describes any other value.

    what: the argument's name. expected: a description of its text. instead: what to do with an
    array.
    """
    if isinstance(value, str | os.PathLike):
        return os.fspath(value)
    if hasattr(value, "shape"):
        description, remedy = f"{type(value).__name__} {list(value.shape)}", instead
    elif callable(value):
        description, remedy = f"the object {_qualified_name(value)}", _import_hint(value)
    else:
        description, remedy = (
            f"{type(value).__name__} {value!r:.40}",
            f"write it as text: {expected}",
        )
    raise error(f"{what} is {description}, expected {expected}; {remedy}")


def _qualified_name(value: object) -> str:
    return str(getattr(value, "__qualname__", type(value).__qualname__))


def _import_hint(value: object) -> str:
    """Explain how to name a callable so that workers can import it."""
    module = str(getattr(value, "__module__", "__main__"))
    is_importable = (
        module != "__main__"
        and "<" not in _qualified_name(value)
        and hasattr(value, "__qualname__")
    )
    if is_importable:
        return f"workers import it by its name: write '{module}:{_qualified_name(value)}'"
    return "workers import it by its name: put it into a file, and write 'my_file:its_name'"
