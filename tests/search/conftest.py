"""Engines by name, also with blocks so small that there are several of each."""

from __future__ import annotations

from typing import Any

import pytest

from raymetrics.search import flat, sketches, tiles
from tests.searches import ENGINES

SMALL = {"flat in blocks": "flat", "lower-bound-4 in blocks": "lower-bound-4"}


@pytest.fixture(params=[*ENGINES, *SMALL, "tiles of 13"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    name = request.param
    if name in SMALL:
        monkeypatch.setattr(flat, "BLOCK", 16)
        monkeypatch.setattr(flat, "EVERYTHING", 100)
        monkeypatch.setattr(sketches, "BLOCK", 7)
        name = SMALL[name]
    if " of " in name:
        name, side = name.split(" of ")
        monkeypatch.setattr(tiles, "SIDE", int(side))
    return ENGINES[name]()
