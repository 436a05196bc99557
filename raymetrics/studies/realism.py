"""How realistic every sample is, and which samples are most and least realistic.

Kynkaanniemi et al. 2019, section 5, Eq. 3, Fig. 8, 10 and 11.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from raymetrics.distributed.memory_limits import fits_in_driver
from raymetrics.distributed.neighbors import survey_views
from raymetrics.distributed.session import session, shared_session
from raymetrics.errors import NotEnoughData, RaymetricsError
from raymetrics.metrics import Convention, ManifoldSurvey, require_neighbors
from raymetrics.metrics.metric import MetricValue
from raymetrics.metrics.registry import METRICS
from raymetrics.metrics.registry.manifold_metrics import realism_values
from raymetrics.metrics.required_statistics import SampleIds
from raymetrics.metrics.survey_needs import SurveyNeeds
from raymetrics.python_arguments import as_names
from raymetrics.results import Result
from raymetrics.shards.shard_set import ShardSet
from raymetrics.shards.view import View
from raymetrics.shards.writable import require_writable_store
from raymetrics.studies.comparison import (
    MetricTask,
    comparable_columns,
    metric_applies,
    open_as_view,
    require_unique_samples,
    set_uri,
)
from raymetrics.studies.evaluate_shards import write_scores
from raymetrics.studies.make_result import make_result, side_from_view
from raymetrics.studies.match.request import choose_logits_column
from raymetrics.studies.subsets import label_name

_REALISM = METRICS["realism"]
SCORES_FILE = "realism.parquet"
_SHOWN_PER_END = 16  # samples that are shown at either end
_SHOWN_PER_END_OF_GROUP = 2  # as in Fig. 8


@dataclass(frozen=True)
class RealismRanking:
    """Numbers of `realism`, and the file of the scores.

    results: for every feature space the share of realistic samples, with the most and the least
    realistic ones in its details, and the median of R.
    """

    results: list[Result]
    path: str  # of realism.parquet: sample_id, and R in realism_COLUMN


@dataclass(frozen=True, eq=False)
class _Groups:
    """The samples by label or by Top-1 class."""

    by: str
    numbers: np.ndarray  # int64 [n], the group of every sample
    names: Mapping[int, str]


def realism(
    *,
    real: str | ShardSet,
    generated: str | ShardSet,
    to: str,
    columns: str | Sequence[str] | None = None,
    k: int = 3,
    count: int | None = None,
    by: str | None = None,
    classes: str | None = None,
    any_size: bool = False,
    tell: Callable[[list[Result]], None] | None = None,
    local: bool | None = None,
) -> RealismRanking:
    """Rank generated samples by their realism R, in every feature space that both sets have.

    real, generated: complete shard sets, or some of their samples as "SHARDS?ids=FILE".
    to: a folder or a prefix; R of every generated sample goes to `to`/realism.parquet.
    columns: only these spaces.
    k: the ball around a real sample reaches its k-th nearest real sample.
    count: samples at either end; by default 16, or 2 of each group.
    by: "label" ranks within the labels of the generated samples, "class" within their Top-1
    classes by the column of logits `classes` (by default inception's, or the only one). R compares
    with all real samples in either case.
    any_size: also compare sets whose images have different sizes.
    tell: called with the numbers before R is written.
    local: compute in this process, without Ray.

    R >= 1 where a ball of a real sample holds the generated one, so the share of these samples is
    the precision with the balls pruned to the half with the smaller radii. Holds a few numbers for
    each sample. Raises what `evaluate` does. Of arrays: `raymetrics.in_memory.realism`.
    """
    _require_options(by, classes, count)
    require_writable_store(to)
    real_view, generated_view = (
        open_as_view(set_uri("real", real)),
        open_as_view(set_uri("generated", generated)),
    )
    names = None if columns is None else as_names(columns)
    tasks = _realism_tasks(real_view, generated_view, names, any_size=any_size)
    require_neighbors(len(real_view), k, "real")
    groups = _make_groups(generated_view, by, classes)
    results: list[Result] = []
    scores: dict[str, np.ndarray] = {}
    with shared_session(local=local):
        for task in tasks:
            task_results, scores[task.column.name] = _rank_in_column(
                task, real_view, generated_view, Convention(k=k), groups, count
            )
            results += task_results
    if tell:
        tell(results)
    path = f"{to}/{SCORES_FILE}"
    write_scores(path, generated_view.sample_ids, scores)
    return RealismRanking(results, path)


def _require_options(by: str | None, classes: str | None, count: int | None) -> None:
    """Raise RaymetricsError for options that contradict each other."""
    if by not in (None, "label", "class"):
        raise RaymetricsError(f"by is {by!r}; there are 'label' and 'class'")
    if classes is not None and by != "class":
        raise RaymetricsError(
            "classes say how samples are grouped; leave them out without by class"
        )
    if count is not None and count < 1:
        raise NotEnoughData(f"count is {count}, expected at least 1")


def _rank_in_column(
    task: MetricTask,
    real: View,
    generated: View,
    convention: Convention,
    groups: _Groups | None,
    count: int | None,
) -> tuple[list[Result], np.ndarray]:
    """Return the numbers of one column, and R of every generated sample, float64 [n]."""
    start, ids = time.monotonic(), generated.sample_ids
    survey = survey_realism(real, generated, task.column.name, convention)
    scores = survey.generated_in_real.realism
    samples = SampleIds(real.sample_ids, ids)
    share, *rest = realism_values(survey, samples, convention)
    shown_samples = _best_and_worst(ids, scores, groups, count)
    values = (replace(share, details={**share.details, **shown_samples}), *rest)
    seconds = time.monotonic() - start
    results = [
        result_for_views(value, task, real, generated, convention, seconds) for value in values
    ]
    return results, scores


def _realism_tasks(
    real: View, generated: View, columns: Sequence[str] | None, *, any_size: bool = False
) -> list[MetricTask]:
    """List the requested columns, or all columns of features that both sets have."""
    spaces = comparable_columns(real.shards, generated.shards, None, columns, any_size=any_size)
    tasks = [
        MetricTask(_REALISM, column)
        for column in spaces
        if metric_applies(_REALISM, column, real.shards.spec, explicit=bool(columns))
    ]
    if not tasks:
        column_names = ", ".join(column.name for column in spaces)
        raise RaymetricsError(f"realism takes a column of features; there are {column_names}")
    require_unique_samples(tasks, {"real": real, "generated": generated})
    return tasks


def single_realism_task(
    real: View, generated: View, column: str | None, *, any_size: bool = False
) -> MetricTask:
    """Return the task of the only column. Raise RaymetricsError if both sets have several."""
    columns = None if column is None else [column]
    tasks = _realism_tasks(real, generated, columns, any_size=any_size)
    if len(tasks) > 1:
        column_names = ", ".join(task.column.name for task in tasks)
        raise RaymetricsError(
            f"both sets have the features {column_names}; name one: --column COLUMN"
        )
    return tasks[0]


def survey_realism(
    real: View, generated: View, column: str, convention: Convention
) -> ManifoldSurvey:
    """Compute Equation 3 for every generated sample.

    R is the largest radius / distance over the real samples whose radius is at most the median; it
    is infinite for a copy of a real sample. The survey gives no generated sample a ball, as R
    needs none: balls of n samples cost a search of n x n. Raise NotEnoughData, or
    InsufficientResources before anything is read.
    """
    in_driver = fits_in_driver({"real": real, "generated": generated}, column)
    with nullcontext() if in_driver else session():
        return survey_views(
            real=real,
            generated=generated,
            column=column,
            convention=convention,
            needs=SurveyNeeds.of_convention(realism=True, sides=["real"]),
        )


def _make_groups(view: View, by: str | None, classes: str | None) -> _Groups | None:
    """Group the samples of a view by label or by Top-1 class.

    Raise ShardError for a set without labels, SpecMismatch unless there is one column of logits.
    """
    if by is None:
        return None
    spec = view.shards.spec
    if by == "label":
        numbers = view.labels()
        names = {number: label_name(number, spec) for number in np.unique(numbers).tolist()}
        return _Groups(by, numbers, names)
    column = choose_logits_column(view.shards, classes)
    numbers = _read_top1_classes(view, column.name)
    class_names = spec.class_names.get(column.extractor, ())
    names = {
        n: class_names[n] if n < len(class_names) else str(n) for n in np.unique(numbers).tolist()
    }
    return _Groups(by, numbers, names)


def result_for_views(
    value: MetricValue,
    task: MetricTask,
    real: View,
    generated: View,
    convention: Convention,
    seconds: float,
) -> Result:
    """Make the result of a value of both sides."""
    views = {"real": real, "generated": generated}
    sides = {name: side_from_view(view, len(view)) for name, view in views.items()}
    specs = [view.shards.spec for view in views.values()]
    return make_result(value, task, specs, sides, convention, None, seconds)


def _read_top1_classes(view: View, logits: str) -> np.ndarray:
    """Read the Top-1 class of every sample, int64 [n]; of equal logits the first class."""
    blocks = (view.block(shard, [logits])[logits] for shard in view.present)
    return np.concatenate([block.argmax(axis=1) for block in blocks])


def _best_and_worst(
    ids: np.ndarray, realism: np.ndarray, groups: _Groups | None, count: int | None
) -> dict[str, Any]:
    """List the samples with the highest and the lowest R, [[id, R], ...], of all or by group."""
    if groups is None:
        (order,) = order_within_groups(ids, realism, np.zeros(len(ids), np.int64))
        return highest_and_lowest(ids[order], realism[order], count or _SHOWN_PER_END)
    group_entries = []
    for order in order_within_groups(ids, realism, groups.numbers):
        name, group_realism = groups.names[int(groups.numbers[order[0]])], realism[order]
        share = float((group_realism >= 1).mean())
        ends = highest_and_lowest(ids[order], group_realism, count or _SHOWN_PER_END_OF_GROUP)
        group_entries.append({"name": name, "count": len(order), "realistic": share, **ends})
    return {"by": groups.by, "groups": group_entries}


def order_within_groups(
    ids: np.ndarray, realism: np.ndarray, groups: np.ndarray
) -> list[np.ndarray]:
    """Sort the rows of every group from the most to the least realistic, int64.

    Equally realistic samples are sorted by id, groups by their numbers.
    """
    order = np.lexsort([ids, -realism, groups])
    _, first = np.unique(groups[order], return_index=True)
    return np.split(order, first[1:])


def highest_and_lowest(ids: np.ndarray, realism: np.ndarray, count: int) -> dict[str, Any]:
    """Return both ends of a ranking, [[id, R], ...], each with at most half of the samples.

    The lowest samples begin with the least realistic one.
    """
    count = min(count, max(1, len(ids) // 2))
    ends = {"highest": slice(count), "lowest": slice(None, -count - 1, -1)}
    return {
        name: [[int(i), finite_or_none(r)] for i, r in zip(ids[rows], realism[rows], strict=True)]
        for name, rows in ends.items()
    }


def finite_or_none(realism: float) -> float | None:
    """Return R, or None for an infinite one, as JSON has no such number."""
    return float(realism) if np.isfinite(realism) else None
