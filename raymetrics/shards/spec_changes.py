"""Where two specifications of a shard set differ, field by field, and what has changed in words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SOURCE_KEY = "source_sha256"
# Of a user's own code, with what its values are. Its samples tell whether it matters: a comment, or
# a log that is written in a folder, moves none.
_CODE_KEYS = ("modules", "folders")


@dataclass(frozen=True)
class Change:
    """A field that differs.

    path: its name and those of the mappings around it. existing, requested: the values, None where
    there is none. owner: the requested mapping that describes the callable, the network or the data
    set.
    """

    path: tuple[str, ...]
    existing: Any
    requested: Any
    owner: Mapping[str, Any]

    @property
    def concerns_code(self) -> bool:
        """Whether it may leave all samples as they are: a user's code or folder that has changed,
        or a file of which an older set kept no digest."""
        if {"spec", "options"} & {*self.path}:  # the user's own words
            return False
        if self.path[-1] == _SOURCE_KEY:
            return None not in (self.existing, self.requested)
        kind = self.path[-2] if len(self.path) > 1 else ""
        return kind in _CODE_KEYS or (kind == "files" and None in (self.existing, self.requested))

    def describe(self, source: str) -> str:
        """Say what has changed. source: the one that is asked for."""
        target = str(self.owner.get("callable") or self.owner.get("name"))
        module, last = target.partition(":")[0], self.path[-1]
        kind = self.path[-2] if len(self.path) > 1 else ""
        if last == _SOURCE_KEY and self.concerns_code:
            return f"{_module_path(module)} has changed"
        if kind == "modules":
            return f"{_module_path(last)}, which {module} imports, has changed"
        if kind in ("files", "folders") and last in self.owner.get("options", {}):
            subject = f"the {kind[:-1]} {self.owner['options'][last]} that {last} names"
            return (
                f"{subject} has other contents"
                if self.existing and self.requested
                else f"{subject} is new"
            )
        if last == "files_sha256":
            return f"images in {source.partition('?')[0]} have changed"
        existing_text, requested_text = (
            _shorten_value(last, value) for value in (self.existing, self.requested)
        )
        return f"{'.'.join(self.path)}: there {existing_text}, asked for {requested_text}"


def changes(
    existing: Mapping[str, Any],
    requested: Mapping[str, Any],
    path: tuple[str, ...] = (),
    owner: Mapping[str, Any] | None = None,
) -> Iterator[Change]:
    """Find the fields in which two specifications differ, in the order of their names."""
    for key in sorted({*existing, *requested}):
        a, b = existing.get(key), requested.get(key)
        inner = owner if key in ("files", *_CODE_KEYS) else b
        if _is_mapping(a, b):
            yield from changes(a or {}, b or {}, (*path, key), inner)
        elif isinstance(a, list) and isinstance(b, list):
            yield from changes(_index_items(a), _index_items(b), (*path, key), owner)
        elif a != b:
            yield Change((*path, key), a, b, owner or {})


def differences(existing: Mapping[str, object], requested: Mapping[str, object]) -> list[str]:
    """Describe where two specifications differ, by field: "field: there X, asked for Y"."""
    return [
        f"{'.'.join(c.path)}: there {json.dumps(c.existing)}, asked for {json.dumps(c.requested)}"
        for c in changes(existing, requested)
    ]


def _is_mapping(a: object, b: object) -> bool:
    return all(value is None or isinstance(value, Mapping) for value in (a, b))


def _index_items(items: list[Any]) -> dict[str, Any]:
    return {str(i): item for i, item in enumerate(items)}


def _module_path(module: str) -> str:
    return str(Path(*module.split("."))) + ".py"


def _shorten_value(field: str, value: object) -> str:
    text = json.dumps(value)
    return f'{text[:9]}..."' if "sha256" in field and isinstance(value, str) else text
