"""The metrics of two arrays of features in memory, of numpy or torch, without a cluster."""

from raymetrics.attacks import match_top1, reweight
from raymetrics.in_memory.distances import (
    fdr,
    frechet_distance,
    jedi,
    kernel_distance,
    mifid,
)
from raymetrics.in_memory.manifolds import prdc, precision_recall, realism

__all__ = [
    "fdr",
    "frechet_distance",
    "jedi",
    "kernel_distance",
    "match_top1",
    "mifid",
    "prdc",
    "precision_recall",
    "realism",
    "reweight",
]
