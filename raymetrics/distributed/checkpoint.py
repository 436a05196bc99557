"""What a long optimisation has reached, kept beside its result so that it goes on from there."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from raymetrics import npz_files as interop
from raymetrics.errors import ShardError, SpecMismatch
from raymetrics.safe_archives.damage import refuse_damage
from raymetrics.shards.layout import differences
from raymetrics.shards.store import Store

STATE = "state.npz"
REQUEST = "request"
EVERY = 30.0  # seconds between two times that it is written

Arrays = dict[str, np.ndarray]


class Kept:
    """The newest state of a run, in one file that is replaced whole."""

    def __init__(self, store: Store, request: Mapping[str, object]) -> None:
        self.store, self.request = store, request
        self.found: Arrays = {}  # from where to go on; empty to begin
        self.newest: Arrays | None = None  # not written yet
        self.begun = False  # and nothing reached that is worth keeping
        self.written = time.monotonic()

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *_: object) -> None:
        """Whatever ended the run, what it has reached is kept."""
        if self.newest is not None:
            self.write(self.newest)
        elif self.begun:
            self.remove()

    def load(self) -> None:
        """Looks for what an earlier run of this request has kept. StorageError if nothing can be
        written there, SpecMismatch if another request was begun there."""
        data = self.store.read(STATE)
        if data is None:
            self.write({})
            self.begun = True
            return
        request, found = loaded(data, self.store.path(STATE))
        require_same(request, self.request, self.store.path(STATE))
        self.found, self.begun = found, not found

    def keep(self, state: Arrays) -> None:
        """Writes it, unless the last one is less than half a minute old."""
        self.newest, self.begun = state, False
        if time.monotonic() - self.written >= EVERY:
            self.write(state)

    def write(self, state: Arrays) -> None:
        """Replaces the file."""
        buffer = io.BytesIO()
        request = np.frombuffer(json.dumps(self.request).encode(), np.uint8)
        np.savez(buffer, **{REQUEST: request}, **state)  # type: ignore[arg-type]
        self.store.replace(STATE, buffer.getvalue())
        self.newest, self.written = None, time.monotonic()

    def remove(self) -> None:
        """Nothing is left to go on with."""
        self.newest = None
        self.store.remove(STATE)


def loaded(data: bytes, where: str) -> tuple[dict[str, Any], Arrays]:
    """The request and the arrays of a state. ShardError if it is damaged."""
    with refuse_damage(ShardError, f"cannot read {where}", "remove it to begin again"):
        found = dict(interop.Arrays(io.BytesIO(data)))
        return json.loads(bytes(found.pop(REQUEST))), found


def require_same(there: Mapping[str, Any], asked: Mapping[str, Any], where: str) -> None:
    """SpecMismatch, with every field that differs, unless both ask for the same."""
    fields = differences(there, asked)
    if fields:
        raise SpecMismatch(
            f"{where} is of another request ({'; '.join(fields)}); write to another place, ask "
            "for what is there, or remove it"
        )
