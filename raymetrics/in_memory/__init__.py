"""The metrics of two arrays of features in memory, of numpy or torch, without a cluster."""

from raymetrics.attacks import match_top1, reweight
from raymetrics.in_memory.distances import frechet_distance, kernel_distance
from raymetrics.in_memory.manifolds import prdc, precision_recall, realism
from raymetrics.in_memory.memorization import auth_pct, c_t, nearest

__all__ = [
    "auth_pct",
    "c_t",
    "frechet_distance",
    "kernel_distance",
    "match_top1",
    "nearest",
    "prdc",
    "precision_recall",
    "realism",
    "reweight",
]
