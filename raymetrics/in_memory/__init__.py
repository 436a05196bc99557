"""The metrics of two arrays of features in memory, of numpy or torch, without a cluster."""

from raymetrics.attacks import match_top1, reweight
from raymetrics.in_memory.distances import fdr, frechet_distance, jedi, kernel_distance, mifid
from raymetrics.in_memory.diversity import rke, rrke, vendi
from raymetrics.in_memory.intervals import intervals
from raymetrics.in_memory.kernels import cmmd, kad
from raymetrics.in_memory.manifolds import (
    clipped_coverage,
    clipped_density,
    prdc,
    precision_recall,
    precision_recall_cover,
    precision_recall_curve,
    probabilistic_precision_recall,
    realism,
    symmetric_precision_recall,
)
from raymetrics.in_memory.memorization import auth_pct, c_t, nearest
from raymetrics.in_memory.scores import aesthetic, clipscore, score
from raymetrics.in_memory.sliced import mind, sliced_wasserstein

__all__ = [
    "aesthetic",
    "auth_pct",
    "c_t",
    "clipped_coverage",
    "clipped_density",
    "clipscore",
    "cmmd",
    "fdr",
    "frechet_distance",
    "intervals",
    "jedi",
    "kad",
    "kernel_distance",
    "match_top1",
    "mifid",
    "mind",
    "nearest",
    "prdc",
    "precision_recall",
    "precision_recall_cover",
    "precision_recall_curve",
    "probabilistic_precision_recall",
    "realism",
    "reweight",
    "rke",
    "rrke",
    "score",
    "sliced_wasserstein",
    "symmetric_precision_recall",
    "vendi",
]
