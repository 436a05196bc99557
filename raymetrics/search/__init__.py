"""Exact k-nearest-neighbour radii and ball membership (Kynkaanniemi et al. 2019, Eq. 1).

Two engines with the same two methods and the same answers: `FlatSearch` (FAISS) and
`ExactSearch` (numpy, float64, slow).
"""

from raymetrics.search.exact import ExactSearch
from raymetrics.search.flat import FlatSearch

__all__ = ["ExactSearch", "FlatSearch"]
