"""Text of others, such as names of files, sources and classes, as it may go to a terminal."""

from __future__ import annotations


def escape_unprintable(text: str, max_length: int | None = None) -> str:
    r"""Escape every character that is not to be seen as itself, as `repr` does: "\n" and other
    control characters, marks that turn the direction of text, halves of surrogate pairs.

    most: characters of the text that are looked at; the rest is left out.
    """
    text = text[:max_length]
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
