"""Turn any error of a parser on damaged bytes into a RaymetricsError."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from raymetrics.errors import RaymetricsError

_MAX_REASON = 200  # characters of a parser's message: some repeat their input
_TERSE_ERRORS = (LookupError, TypeError, AttributeError)


@contextmanager
def require_undamaged(
    error_type: Callable[[str], RaymetricsError], what: str, remedy: str = ""
) -> Iterator[None]:
    """Raise `error_type`, with a message that begins with `what`, for any error of a parser.

    No list says which errors a parser raises for damaged bytes: SyntaxError, struct.error and
    RecursionError are among them. A RaymetricsError, such as a StorageError of the file, passes
    unchanged.
    """
    try:
        yield
    except RaymetricsError:
        raise
    except Exception as error:
        raise error_type(f"{what}: {_reason(error)}{remedy and '; '}{remedy}") from None


def _reason(error: Exception) -> str:
    """Return the message of an error, with its type if the message alone says little."""
    kind, text = type(error).__name__, str(error)[:_MAX_REASON]
    if not text:
        return kind
    return f"{kind}: {text}" if isinstance(error, _TERSE_ERRORS) else text
