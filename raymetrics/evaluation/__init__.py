"""Two shard sets to numbers: which statistics the metrics need, one pass, then the formulas."""

from raymetrics.evaluation.catalogue import METRICS
from raymetrics.evaluation.run import evaluate

__all__ = ["METRICS", "evaluate"]
