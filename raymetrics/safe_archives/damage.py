"""Damaged bytes as an error of ours, whatever the parser raised."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from raymetrics.errors import RaymetricsError

_MAX_REASON = 200  # characters of a parser's own words: some repeat what they were given
_TERSE_ERRORS = (LookupError, TypeError, AttributeError)


@contextmanager
def require_undamaged(
    error_type: Callable[[str], RaymetricsError], what: str, remedy: str = ""
) -> Iterator[None]:
    """Raise an error of ours, which begins with `what`, for anything that a parser raises.

    Which errors a parser has for damaged bytes is nowhere listed: SyntaxError, struct.error and
    RecursionError are among them. Errors of ours pass, as a StorageError from the file below.
    """
    try:
        yield
    except RaymetricsError:
        raise
    except Exception as error:
        raise error_type(f"{what}: {_reason(error)}{remedy and '; '}{remedy}") from None


def _reason(error: Exception) -> str:
    """What went wrong, with the kind of the error where its words alone say little."""
    kind, text = type(error).__name__, str(error)[:_MAX_REASON]
    if not text:
        return kind
    return f"{kind}: {text}" if isinstance(error, _TERSE_ERRORS) else text
