"""Exact k-nearest-neighbour radii and ball membership (Kynkaanniemi et al. 2019, Eq. 1)."""

from raymetrics.search.exact import ExactSearch
from raymetrics.search.flat import FlatSearch, LowerBoundSearch
from raymetrics.search.probe import ENGINES, choose, engine, survey_fast
from raymetrics.search.tiles import TileSearch

__all__ = [
    "ENGINES",
    "ExactSearch",
    "FlatSearch",
    "LowerBoundSearch",
    "TileSearch",
    "choose",
    "engine",
    "survey_fast",
]
