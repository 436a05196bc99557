"""Lets the reader of docstrings make a list of what they say of each parameter.

Our docstrings have it as lines, `name: what it is`, or `name, name: what they are`; Markdown would
join them to one paragraph.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

NAMES = re.compile(r"([a-z_]\w*(?:, [a-z_]\w*)*): (.*)")


def listed(text: str, known: set[str]) -> str:
    """Return the text with its lines on parameters as a list."""
    lines: list[str] = []
    in_list = False
    for line in text.split("\n"):
        found = NAMES.fullmatch(line)
        if found and set(found[1].split(", ")) <= known:
            named = ", ".join(f"`{name}`" for name in found[1].split(", "))
            lines += [*([] if in_list else [""]), f"- {named}: {found[2]}"]
            in_list = True
        elif not line.strip():
            in_list = False
            lines.append(line)
        else:
            lines.append(f"    {line}" if in_list else line)
    return "\n".join(lines)


class PlainDocstrings(griffe.Extension):
    """Rewrites the docstrings of functions and classes."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite one, as soon as its members are known."""
        if obj.docstring is None or not (obj.is_function or obj.is_class):
            return
        known = set(obj.members)
        known |= {parameter.name for parameter in getattr(obj, "parameters", ())}
        obj.docstring.value = listed(obj.docstring.value, known)
