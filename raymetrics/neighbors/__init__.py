"""Exact k-nearest-neighbor radii and ball membership (Kynkaanniemi et al. 2019, Eq. 1)."""

from raymetrics.neighbors.brute_force import ExactSearch
from raymetrics.neighbors.choose_engine import ENGINES, fastest_engine, make_engine, survey_arrays
from raymetrics.neighbors.faiss_engines import FlatSearch, LowerBoundSearch
from raymetrics.neighbors.tiles import TileSearch

__all__ = [
    "ENGINES",
    "ExactSearch",
    "FlatSearch",
    "LowerBoundSearch",
    "TileSearch",
    "fastest_engine",
    "make_engine",
    "survey_arrays",
]
