"""Where two specifications of a shard set differ, field by field, and what has changed in words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCE = "source_sha256"
# Of a user's own code, with what its values are. Its samples tell whether it matters: a comment, or
# a log that is written in a folder, moves none.
CODE = ("modules", "folders")


@dataclass(frozen=True)
class Change:
    """A field that differs.

    path: its name and those of the mappings around it. there, asked: the values, None where there
    is none. owner: the asked mapping that describes the callable, the network or the data set.
    """

    path: tuple[str, ...]
    there: Any
    asked: Any
    owner: Mapping[str, Any]

    @property
    def of_code(self) -> bool:
        """Whether it may leave all samples as they are: a user's code or folder that has changed,
        or a file of which an older set kept no digest."""
        if {"spec", "options"} & {*self.path}:  # the user's own words
            return False
        if self.path[-1] == SOURCE:
            return None not in (self.there, self.asked)
        kind = self.path[-2] if len(self.path) > 1 else ""
        return kind in CODE or (kind == "files" and None in (self.there, self.asked))

    def in_words(self, source: str) -> str:
        """Say what has changed. source: the one that is asked for."""
        target = str(self.owner.get("callable") or self.owner.get("name"))
        module, last = target.partition(":")[0], self.path[-1]
        kind = self.path[-2] if len(self.path) > 1 else ""
        if last == SOURCE and self.of_code:
            return f"{_file(module)} has changed"
        if kind == "modules":
            return f"{_file(last)}, which {module} imports, has changed"
        if kind in ("files", "folders") and last in self.owner.get("options", {}):
            what = f"the {kind[:-1]} {self.owner['options'][last]} that {last} names"
            return f"{what} has other contents" if self.there and self.asked else f"{what} is new"
        if last == "files_sha256":
            return f"images in {source.partition('?')[0]} have changed"
        there, asked = (_shortened(last, value) for value in (self.there, self.asked))
        return f"{'.'.join(self.path)}: there {there}, asked for {asked}"


def changes(
    there: Mapping[str, Any],
    asked: Mapping[str, Any],
    path: tuple[str, ...] = (),
    owner: Mapping[str, Any] | None = None,
) -> Iterator[Change]:
    """Find the fields in which two specifications differ, in the order of their names."""
    for key in sorted({*there, *asked}):
        a, b = there.get(key), asked.get(key)
        inner = owner if key in ("files", *CODE) else b
        if _is_mapping(a, b):
            yield from changes(a or {}, b or {}, (*path, key), inner)
        elif isinstance(a, list) and isinstance(b, list):
            yield from changes(_numbered(a), _numbered(b), (*path, key), owner)
        elif a != b:
            yield Change((*path, key), a, b, owner or {})


def differences(there: Mapping[str, object], asked: Mapping[str, object]) -> list[str]:
    """Where two specifications differ, field by field, as "field: there X, asked for Y"."""
    return [
        f"{'.'.join(c.path)}: there {json.dumps(c.there)}, asked for {json.dumps(c.asked)}"
        for c in changes(there, asked)
    ]


def _is_mapping(a: object, b: object) -> bool:
    return all(value is None or isinstance(value, Mapping) for value in (a, b))


def _numbered(items: list[Any]) -> dict[str, Any]:
    return {str(i): item for i, item in enumerate(items)}


def _file(module: str) -> str:
    return str(Path(*module.split("."))) + ".py"


def _shortened(field: str, value: object) -> str:
    text = json.dumps(value)
    return f'{text[:9]}..."' if "sha256" in field and isinstance(value, str) else text
