"""The metrics of two arrays of features in memory, of numpy or torch, without a cluster."""

from raymetrics.attacks import match_top1, reweight
from raymetrics.in_memory.distances import frechet_distance, kernel_distance
from raymetrics.in_memory.kernels import cmmd, kad
from raymetrics.in_memory.manifolds import prdc, precision_recall, realism
from raymetrics.in_memory.sliced import mind, sliced_wasserstein

__all__ = [
    "cmmd",
    "frechet_distance",
    "kad",
    "kernel_distance",
    "match_top1",
    "mind",
    "prdc",
    "precision_recall",
    "realism",
    "reweight",
    "sliced_wasserstein",
]
