"""Engines by name."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.neighbor_cases import ENGINES


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Any:
    return ENGINES[request.param]()
