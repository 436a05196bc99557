"""What a user writes of a source or an extractor: `name?option=value&option=value`."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, unquote

from raymetrics.errors import RaymetricsError
from raymetrics.uris import require_no_secret


def parse_options(
    text: str, error: type[RaymetricsError] = RaymetricsError
) -> tuple[str, dict[str, str]]:
    """ "photos?size=256" -> ("photos", {"size": "256"}).

    What follows the last question mark is options if it is empty or has an equals sign before
    any slash; else it belongs to the name. So any name can be given with one more "?" behind.
    Values may be percent-encoded; a plus is a plus. The error is raised for an option without a
    value, or given twice.
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
    """The text that `split` takes apart into these."""
    query = "&".join(
        f"{quote(key, safe='')}={quote(value, safe='/,:')}" for key, value in options.items()
    )
    return f"{name}?{query}" if query or "?" in name else name
