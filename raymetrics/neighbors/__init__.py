"""Exact k-nearest-neighbor radii and ball membership (Kynkaanniemi et al. 2019, Eq. 1)."""

from raymetrics.neighbors.choose_engine import DEFAULT_ENGINE, ENGINES, make_engine, survey_arrays
from raymetrics.neighbors.faiss_search import FlatSearch
from raymetrics.neighbors.tiles import TileSearch

__all__ = [
    "DEFAULT_ENGINE",
    "ENGINES",
    "FlatSearch",
    "TileSearch",
    "make_engine",
    "survey_arrays",
]
