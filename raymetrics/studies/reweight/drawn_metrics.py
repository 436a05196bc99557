"""Metrics of samples that are drawn by the weights on the way to the last ones.

Kynkaanniemi et al. 2023, Appendix D, take the weights with the smallest FID of drawn samples. Their
program draws three times every 500 steps, and takes the smallest of all these distances.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from raymetrics.attacks import Step, draw_by_weight
from raymetrics.distributed.session import set_executor
from raymetrics.errors import SpecMismatch
from raymetrics.metrics.registry import METRICS
from raymetrics.npz_files import Arrays
from raymetrics.results import Result
from raymetrics.shards.schema import Column
from raymetrics.shards.view import View
from raymetrics.studies.comparison import comparable_columns, metric_applies
from raymetrics.studies.resampled_metrics import Resampling, draw_convention, evaluate_resamplings
from raymetrics.studies.seeds import SEED_LIMIT

TRACE_FILE = "trace.jsonl"
DRAWS = 3  # of an evaluation, as the program has
_PREFERRED_OUTPUT = "pre_logits"
_ROWS, _BEST = "drawn_rows", "drawn_best"  # in a saved state


@dataclass(frozen=True)
class DrawnRow:
    """Some weights on the way, and the metrics of samples drawn by them: a line of the file."""

    evaluations: int  # of the distance with its gradient, so far
    distance: float  # the last that was evaluated: of gradient descent, before its last step
    effective_sample_size: float
    weight_min: float
    weight_median: float
    weight_max: float
    smallest: float  # the smallest of the distances that decide
    draws: Mapping[str, Sequence[float]]  # "FD clip-vit-b-32": of each draw

    def to_json(self) -> str:
        """Return the row as one line."""
        return json.dumps(asdict(self), allow_nan=False) + "\n"


@dataclass(eq=False)
class DrawnMetrics:
    """Metrics of draws on the way, and the weights whose draws had the smallest distance."""

    real: View
    generated: View
    deciding: Column  # in whose space the smallest distance is looked for
    n: int
    scheme: str
    every: int
    rows: list[DrawnRow] = field(default_factory=list)
    best_weights: np.ndarray | None = None  # float64 [candidates]

    def restore(self, state: Arrays) -> Arrays:
        """Take what `to_arrays` added to a saved state, and return the rest of it."""
        rest = dict(state)
        if _ROWS in rest:
            rows = json.loads(rest.pop(_ROWS).tobytes())
            self.rows = [DrawnRow(**row) for row in rows]
            self.best_weights = rest.pop(_BEST)
        return rest

    def to_arrays(self) -> Arrays:
        """Return rows and weights for a saved state."""
        if self.best_weights is None:
            return {}
        rows = json.dumps([asdict(row) for row in self.rows]).encode()
        return {_ROWS: np.frombuffer(rows, np.uint8), _BEST: self.best_weights}

    def is_due(self, evaluations: int) -> bool:
        """Return whether the first weights, or a multiple of `every` evaluations, are reached."""
        last = self.rows[-1].evaluations if self.rows else 0
        return not self.rows or evaluations // self.every > last // self.every

    def evaluate(self, step: Step, weights: np.ndarray) -> None:
        """Add the metrics of draws by weights, float64 [candidates], that sum to 1."""
        seeds = [SEED_LIMIT + DRAWS * step.evaluations + draw for draw in range(DRAWS)]
        ids = self.generated.sample_ids
        drawn = [ids[draw_by_weight(weights, self.n, seed, self.scheme)] for seed in seeds]
        with set_executor(local=True):  # the actors that hold the candidates have all CPUs
            results = evaluate_resamplings(
                real=self.real,
                generated=self.generated,
                resamplings=[Resampling("drawn", drawn)],
                metrics=("fid", "kid"),
                convention=draw_convention(real=len(self.real), n=self.n),
            )
        smallest = min(next(filter(self._decides, results)).details["values"])
        if not self.rows or smallest < min(row.smallest for row in self.rows):
            self.best_weights = weights
        self.rows.append(_make_row(step, weights, smallest, results))

    def _decides(self, result: Result) -> bool:
        """Return whether a result is the distance that is to be the smallest."""
        place = result.space["name"], result.space["output"]
        is_distance = result.metric == "frechet_distance"
        return is_distance and place == (self.deciding.extractor, self.deciding.output)

    @property
    def best(self) -> DrawnRow:
        """The row with the smallest distance of a draw, the first of equal ones."""
        return min(self.rows, key=lambda row: row.smallest)


def _make_row(
    step: Step, weights: np.ndarray, smallest: float, results: Sequence[Result]
) -> DrawnRow:
    """Return the row of some weights."""
    return DrawnRow(
        int(step.evaluations),
        float(step.distance),
        float(1 / (weights @ weights)),
        float(weights.min()),
        float(np.median(weights)),
        float(weights.max()),
        smallest,
        {result.measure_name: result.details["values"] for result in results},
    )


def deciding_column(*, real: View, generated: View, extractor: str) -> Column:
    """Return the column whose Frechet distance decides: the features of the matched extractor.

    SpecMismatch if both sets have only other columns of it.
    """
    columns = comparable_columns(real.shards, generated.shards, [extractor], None, any_size=True)
    spec = real.shards.spec
    features = [c for c in columns if metric_applies(METRICS["fid"], c, spec, explicit=False)]
    if not features:
        raise SpecMismatch(
            f"draws on the way are compared by features of {extractor}, of which both sets have "
            f"only {', '.join(column.name for column in columns)}; extract its pre_logits too, or "
            "evaluate no draws"
        )
    return min(features, key=lambda column: column.output != _PREFERRED_OUTPUT)


def trace_of_measure(rows: Sequence[Mapping[str, Any]], measure_name: str) -> list[dict[str, Any]]:
    """Return mean and deviation over the draws of a measure, for every row that has it."""
    return [
        {
            "evaluations": row["evaluations"],
            "mean": float(np.mean(row["draws"][measure_name])),
            "spread": float(np.std(row["draws"][measure_name], ddof=1)),
        }
        for row in rows
        if measure_name in row["draws"]
    ]
