"""The metrics of two arrays of features in memory, of numpy or torch, without a cluster."""

from raymetrics.attacks import match_top1, reweight
from raymetrics.in_memory.distances import frechet_distance, kernel_distance
from raymetrics.in_memory.intervals import intervals
from raymetrics.in_memory.manifolds import prdc, precision_recall, realism

__all__ = [
    "frechet_distance",
    "intervals",
    "kernel_distance",
    "match_top1",
    "prdc",
    "precision_recall",
    "realism",
    "reweight",
]
