"""The state of a long optimization, kept beside its result, so that a rerun resumes from it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from raymetrics.errors import ShardError, SpecMismatch
from raymetrics.npz_files import Arrays, npz_bytes, parse_npz
from raymetrics.safe_archives.damage import require_undamaged
from raymetrics.shards.layout import differences
from raymetrics.shards.store import Store

_STATE_FILE = "state.npz"
_REQUEST_KEY = "request"
SAVE_SECONDS = 30.0  # between two writes


class Checkpoint:
    """The newest state of a run, in one file that is replaced whole."""

    def __init__(self, store: Store, request: Mapping[str, object]) -> None:
        self.store, self.request = store, request
        self.saved_state: Arrays = {}  # where to resume; empty to begin
        self.unsaved_state: Arrays | None = None  # not written yet
        self.is_empty = False  # whether the file holds no state yet
        self.written_at = time.monotonic()

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *_: object) -> None:
        """Write the newest state, whatever ended the run."""
        if self.unsaved_state is not None:
            self.save(self.unsaved_state)
        elif self.is_empty:
            self.remove()

    def resume(self) -> None:
        """Read the state that an earlier run of this request has written.

        Raises StorageError if nothing can be written there, SpecMismatch if the file is of another
        request.
        """
        data = self.store.read(_STATE_FILE)
        if data is None:
            self.save({})
            self.is_empty = True
            return
        request, state = _parse_state(data, self.store.path(_STATE_FILE))
        require_same_request(request, self.request, self.store.path(_STATE_FILE))
        self.saved_state, self.is_empty = state, not state

    def save_if_due(self, state: Arrays) -> None:
        """Write the state, unless the last write is less than half a minute ago."""
        self.unsaved_state, self.is_empty = state, False
        if time.monotonic() - self.written_at >= SAVE_SECONDS:
            self.save(state)

    def save(self, state: Arrays) -> None:
        """Write the state into the file, which is replaced as a whole."""
        request = np.frombuffer(json.dumps(self.request).encode(), np.uint8)
        self.store.replace(_STATE_FILE, npz_bytes({_REQUEST_KEY: request, **state}))
        self.unsaved_state, self.written_at = None, time.monotonic()

    def remove(self) -> None:
        """Remove the file."""
        self.unsaved_state = None
        self.store.remove(_STATE_FILE)


def _parse_state(data: bytes, path: str) -> tuple[dict[str, Any], Arrays]:
    """Return the request and the arrays of a state. Raises ShardError if it is damaged."""
    with require_undamaged(ShardError, f"cannot read {path}", "remove it to begin again"):
        arrays = parse_npz(data)
        return json.loads(bytes(arrays.pop(_REQUEST_KEY))), arrays


def require_same_request(
    existing: Mapping[str, Any], requested: Mapping[str, Any], path: str
) -> None:
    """Raise SpecMismatch, with every field that differs, unless both requests are equal."""
    fields = differences(existing, requested)
    if fields:
        raise SpecMismatch(
            f"{path} is of another request ({'; '.join(fields)}); write to another place, ask "
            "for what is there, or remove it"
        )
