"""Distribution metrics for image generators, as a streaming, distributed batch job on Ray.

The public names. They are loaded when they are first used: importing raymetrics loads neither
torch nor ray nor faiss.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raymetrics.arrays import frechet_distance as frechet_distance
    from raymetrics.arrays import kernel_distance as kernel_distance
    from raymetrics.arrays import prdc as prdc
    from raymetrics.arrays import precision_recall as precision_recall
    from raymetrics.arrays import realism as realism
    from raymetrics.errors import RaymetricsError as RaymetricsError
    from raymetrics.evaluation import evaluate as evaluate
    from raymetrics.evaluation.sweep import sweep as sweep
    from raymetrics.metrics import Convention as Convention
    from raymetrics.reports import report as report
    from raymetrics.resampling import match_top1 as match_top1
    from raymetrics.resampling import reweight as reweight
    from raymetrics.results import Result as Result
    from raymetrics.shards.interop import export as export
    from raymetrics.shards.interop import read_statistics as read_statistics
    from raymetrics.shards.reader import ShardSet as ShardSet
    from raymetrics.shards.reader import open_shards as open_shards
    from raymetrics.statistics import Moments as Moments
    from raymetrics.streaming.extract import extract as extract
    from raymetrics.streaming.pools import Resources as Resources

_HOME = {
    "Convention": "raymetrics.metrics",
    "Moments": "raymetrics.statistics",
    "RaymetricsError": "raymetrics.errors",
    "Resources": "raymetrics.streaming.pools",
    "Result": "raymetrics.results",
    "ShardSet": "raymetrics.shards.reader",
    "evaluate": "raymetrics.evaluation",
    "export": "raymetrics.shards.interop",
    "extract": "raymetrics.streaming.extract",
    "frechet_distance": "raymetrics.arrays",
    "kernel_distance": "raymetrics.arrays",
    "match_top1": "raymetrics.resampling",
    "open_shards": "raymetrics.shards.reader",
    "prdc": "raymetrics.arrays",
    "precision_recall": "raymetrics.arrays",
    "read_statistics": "raymetrics.shards.interop",
    "realism": "raymetrics.arrays",
    "report": "raymetrics.reports",
    "reweight": "raymetrics.resampling",
    "sweep": "raymetrics.evaluation.sweep",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'raymetrics' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__]
