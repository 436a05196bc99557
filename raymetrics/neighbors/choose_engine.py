"""Make the engine for a search. All engines give equal results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from raymetrics.errors import RaymetricsError
from raymetrics.metrics import Convention, ManifoldSurvey, survey_manifolds
from raymetrics.metrics.manifold_survey import require_enough_neighbors
from raymetrics.metrics.survey_needs import SurveyNeeds
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
    needs: SurveyNeeds,
    engine: str = DEFAULT_ENGINE,
) -> ManifoldSurvey:
    """Run `survey_manifolds` for a convention.

    real, generated: real [n, d] and [m, d]. Raise NotEnoughData if a side has at most as many rows
    as the largest k.
    """
    counts = {"real": len(real), "generated": len(generated)}
    require_enough_neighbors(counts, convention, needs)
    return survey_manifolds(
        real=convention.round_features(real),
        generated=convention.round_features(generated),
        ks=convention.ks,
        search=make_engine(engine),
        convention=convention,
        needs=needs,
    )
