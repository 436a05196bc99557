"""Distribution metrics for image generators, as a streaming, distributed batch job on Ray.

The public names: a function for every verb of the command line, and `raymetrics.in_memory` for
arrays. Every name is loaded when it is first used: importing raymetrics loads neither torch nor
ray nor faiss.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raymetrics import in_memory as in_memory
    from raymetrics.compatibility.torch_fidelity import calculate_metrics as calculate_metrics
    from raymetrics.distributed.extraction.extract import extract as extract
    from raymetrics.distributed.resources import Resources as Resources
    from raymetrics.errors import RaymetricsError as RaymetricsError
    from raymetrics.evaluator import Evaluator as Evaluator
    from raymetrics.in_memory import frechet_distance as frechet_distance
    from raymetrics.in_memory import kernel_distance as kernel_distance
    from raymetrics.in_memory import match_top1 as match_top1
    from raymetrics.in_memory import prdc as prdc
    from raymetrics.in_memory import precision_recall as precision_recall
    from raymetrics.metrics import Convention as Convention
    from raymetrics.reports.comparison_page import report as report
    from raymetrics.result_loggers import log_results as log_results
    from raymetrics.results import Result as Result
    from raymetrics.shards.foreign import read_statistics as read_statistics
    from raymetrics.shards.foreign.export import export as export
    from raymetrics.shards.shard_set import ShardSet as ShardSet
    from raymetrics.shards.shard_set import open_shards as open_shards
    from raymetrics.statistics import Moments as Moments
    from raymetrics.studies.audit.study import audit as audit
    from raymetrics.studies.compare import compare as compare
    from raymetrics.studies.evaluate import evaluate as evaluate
    from raymetrics.studies.heatmap.study import heatmap as heatmap
    from raymetrics.studies.interpolate import interpolate as interpolate
    from raymetrics.studies.match.study import match as match
    from raymetrics.studies.nearest.study import nearest as nearest
    from raymetrics.studies.realism import realism as realism
    from raymetrics.studies.reweight.study import reweight as reweight
    from raymetrics.studies.snapshots import snapshots as snapshots
    from raymetrics.studies.sweep import sweep as sweep
    from raymetrics.studies.truncate import truncate as truncate

_NAMES_BY_MODULE = {
    "raymetrics.compatibility.torch_fidelity": ("calculate_metrics",),
    "raymetrics.distributed.extraction.extract": ("extract",),
    "raymetrics.distributed.resources": ("Resources",),
    "raymetrics.errors": ("RaymetricsError",),
    "raymetrics.evaluator": ("Evaluator",),
    "raymetrics.in_memory": (
        "frechet_distance",
        "kernel_distance",
        "match_top1",
        "prdc",
        "precision_recall",
    ),
    "raymetrics.metrics": ("Convention",),
    "raymetrics.reports.comparison_page": ("report",),
    "raymetrics.result_loggers": ("log_results",),
    "raymetrics.results": ("Result",),
    "raymetrics.shards.foreign": ("read_statistics",),
    "raymetrics.shards.foreign.export": ("export",),
    "raymetrics.shards.shard_set": ("ShardSet", "open_shards"),
    "raymetrics.statistics": ("Moments",),
    "raymetrics.studies.audit.study": ("audit",),
    "raymetrics.studies.compare": ("compare",),
    "raymetrics.studies.evaluate": ("evaluate",),
    "raymetrics.studies.heatmap.study": ("heatmap",),
    "raymetrics.studies.interpolate": ("interpolate",),
    "raymetrics.studies.match.study": ("match",),
    "raymetrics.studies.nearest.study": ("nearest",),
    "raymetrics.studies.realism": ("realism",),
    "raymetrics.studies.reweight.study": ("reweight",),
    "raymetrics.studies.snapshots": ("snapshots",),
    "raymetrics.studies.sweep": ("sweep",),
    "raymetrics.studies.truncate": ("truncate",),
}
_MODULES_BY_NAME = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names}

__all__ = sorted([*_MODULES_BY_NAME, "in_memory"])


def __getattr__(name: str) -> object:
    if name == "in_memory":
        return importlib.import_module("raymetrics.in_memory")
    if name not in _MODULES_BY_NAME:
        raise AttributeError(f"module 'raymetrics' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES_BY_NAME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__]
