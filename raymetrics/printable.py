"""Make foreign text, such as names of files, sources and classes, safe for a terminal."""

from __future__ import annotations


def escape_unprintable(text: str, max_length: int | None = None) -> str:
    r"""Escape every unprintable character, such as "\n", as `repr` does.

    Escapes control characters, marks that change the direction of text, and halves of surrogate
    pairs. max_length: the number of characters to keep, before escaping.
    """
    text = text[:max_length]
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
