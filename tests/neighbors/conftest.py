"""Engines by name, also with blocks so small that there are several of each."""

from __future__ import annotations

from typing import Any

import pytest

from raymetrics.neighbors import faiss_engines, projections, tiles
from tests.helpers.neighbor_cases import ENGINES

SMALL = {"flat in blocks": "flat", "lower-bound-4 in blocks": "lower-bound-4"}


@pytest.fixture(params=[*ENGINES, *SMALL, "tiles of 13"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    name = request.param
    if name in SMALL:
        monkeypatch.setattr(faiss_engines, "BLOCK", 16)
        monkeypatch.setattr(faiss_engines, "EXHAUSTIVE_PAIRS", 100)
        monkeypatch.setattr(projections, "BLOCK", 7)
        name = SMALL[name]
    if " of " in name:
        name, side = name.split(" of ")
        monkeypatch.setattr(tiles, "SIDE", int(side))
    return ENGINES[name]()
