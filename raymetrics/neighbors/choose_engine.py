"""Make the engine for a search. All engines give equal results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from raymetrics.errors import RaymetricsError
from raymetrics.metrics import Convention, ManifoldSurvey, require_neighbors, survey_manifolds
from raymetrics.neighbors.faiss_search import FlatSearch
from raymetrics.neighbors.tiles import TileSearch

ENGINES: Mapping[str, Callable[[], Any]] = {
    "tiles": TileSearch,
    "tiles-full": partial(TileSearch, part=1),
    "tiles-sketched": partial(TileSearch, adaptive=False),
    "faiss-flat": FlatSearch,
}


DEFAULT_ENGINE = "tiles"


def make_engine(name: str = DEFAULT_ENGINE) -> Any:
    """Make the engine with this name. RaymetricsError if it is unknown or not installed."""
    if name not in ENGINES:
        raise RaymetricsError(f"no engine is called {name!r}; there are {', '.join(ENGINES)}")
    return ENGINES[name]()


def survey_arrays(
    *,
    real: np.ndarray,
    generated: np.ndarray,
    convention: Convention,
    count: bool,
    realism: bool,
    engine: str = DEFAULT_ENGINE,
) -> ManifoldSurvey:
    """Run `survey_manifolds` for a convention.

    real, generated: real [n, d] and [m, d]. Raise NotEnoughData if a side has at most as many rows
    as the largest k.
    """
    for side, features in (("real", real), ("generated", generated)):
        require_neighbors(len(features), convention.ks[-1], side)
    return survey_manifolds(
        real=convention.round_features(real),
        generated=convention.round_features(generated),
        ks=convention.ks,
        search=make_engine(engine),
        radius_rule=convention.effective_radii,
        count=count,
        realism=realism,
    )
