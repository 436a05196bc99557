"""Parse and format sources and extractors as users write them: `name?option=value&option=value`."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, unquote

from raymetrics.errors import RaymetricsError
from raymetrics.uris import require_no_secret


def parse_options(
    text: str, error: type[RaymetricsError] = RaymetricsError
) -> tuple[str, dict[str, str]]:
    """Parse "photos?size=256" into ("photos", {"size": "256"}).

    The part after the last question mark is options if it is empty or has an equals sign before any
    slash; otherwise it belongs to the name. Thus any name can be written with one more "?" at its
    end. Values may be percent-encoded; a plus is a plus. Raise `error` for an option that has no
    value or is given twice.
    """
    name, mark, query = text.rpartition("?")
    if not mark or (query and "=" not in query.split("/")[0]):
        return text, {}
    options: dict[str, str] = {}
    for pair in query.split("&") if query else ():
        encoded, equals, value = pair.partition("=")
        key = unquote(encoded)
        if not equals or key in options:
            require_no_secret(text, error)  # before it is repeated
            what = "is given twice" if key in options else "has no value"
            raise error(f"option {key!r} of {name} {what}; write 'name?option=value&other=value'")
        options[key] = unquote(value)
    return name, options


def format_options(name: str, options: Mapping[str, str]) -> str:
    """Format a name and options as the text that `parse_options` parses."""
    query = "&".join(
        f"{quote(key, safe='')}={quote(value, safe='/,:')}" for key, value in options.items()
    )
    return f"{name}?{query}" if query or "?" in name else name
