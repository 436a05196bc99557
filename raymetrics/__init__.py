"""Distribution metrics for image generators, as a streaming, distributed batch job on Ray.

The public names. They are loaded when they are first used: importing raymetrics loads neither
torch nor ray nor faiss.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raymetrics.attacks import match_top1 as match_top1
    from raymetrics.attacks import reweight as reweight
    from raymetrics.distributed.extraction.extract import extract as extract
    from raymetrics.distributed.resources import Resources as Resources
    from raymetrics.errors import RaymetricsError as RaymetricsError
    from raymetrics.in_memory import frechet_distance as frechet_distance
    from raymetrics.in_memory import kernel_distance as kernel_distance
    from raymetrics.in_memory import prdc as prdc
    from raymetrics.in_memory import precision_recall as precision_recall
    from raymetrics.in_memory import realism as realism
    from raymetrics.metrics import Convention as Convention
    from raymetrics.reports import report as report
    from raymetrics.results import Result as Result
    from raymetrics.shards.foreign import read_statistics as read_statistics
    from raymetrics.shards.foreign.export import export as export
    from raymetrics.shards.shard_set import ShardSet as ShardSet
    from raymetrics.shards.shard_set import open_shards as open_shards
    from raymetrics.statistics import Moments as Moments
    from raymetrics.studies.evaluate import evaluate as evaluate
    from raymetrics.studies.sweep import sweep as sweep

_HOME = {
    "Convention": "raymetrics.metrics",
    "Moments": "raymetrics.statistics",
    "RaymetricsError": "raymetrics.errors",
    "Resources": "raymetrics.distributed.resources",
    "Result": "raymetrics.results",
    "ShardSet": "raymetrics.shards.shard_set",
    "evaluate": "raymetrics.studies.evaluate",
    "export": "raymetrics.shards.foreign.export",
    "extract": "raymetrics.distributed.extraction.extract",
    "frechet_distance": "raymetrics.in_memory",
    "kernel_distance": "raymetrics.in_memory",
    "match_top1": "raymetrics.attacks",
    "open_shards": "raymetrics.shards.shard_set",
    "prdc": "raymetrics.in_memory",
    "precision_recall": "raymetrics.in_memory",
    "read_statistics": "raymetrics.shards.foreign",
    "realism": "raymetrics.in_memory",
    "report": "raymetrics.reports",
    "reweight": "raymetrics.attacks",
    "sweep": "raymetrics.studies.sweep",
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
