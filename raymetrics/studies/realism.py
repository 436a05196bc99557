"""How realistic every sample is, and which are most and least so: Kynkaanniemi et al. 2019,
section 5, Eq. 3, Fig. 8, 10 and 11."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from raymetrics.distributed.neighbors import fits_at_once, survey_views
from raymetrics.distributed.session import session
from raymetrics.errors import NotEnoughData, RaymetricsError
from raymetrics.metrics import Convention, Survey, registry, require
from raymetrics.metrics.registry import METRICS, Value
from raymetrics.neighbors.faiss_indexes import load_faiss
from raymetrics.results import Result
from raymetrics.shards.view import View
from raymetrics.shards.writable import require_writable
from raymetrics.studies.comparison import Item, fits, opened, refuse_repeats, shared_columns
from raymetrics.studies.evaluate import write_scores
from raymetrics.studies.make_result import label_name, result, side_of
from raymetrics.studies.match.request import column_of_classes

REALISM = METRICS["realism"]
SCORES = "realism.parquet"
COUNT = 16  # samples that are shown at either end
COUNT_OF_GROUP = 2  # as in Fig. 8


@dataclass(frozen=True, eq=False)
class Groups:
    """The samples by label or by Top-1 class."""

    by: str
    numbers: np.ndarray  # int64 [n], the group of every sample
    names: Mapping[int, str]


def rank_samples(
    *,
    real: str,
    generated: str,
    to: str,
    columns: Sequence[str] | None = None,
    k: int = 3,
    count: int | None = None,
    by: str | None = None,
    classes: str | None = None,
    tell: Callable[[list[Result]], None] | None = None,
    any_size: bool = False,
) -> list[Result]:
    """The share of realistic samples, with those that are most and least realistic, in every
    feature space that both sets have; R of every generated sample goes to `to`/realism.parquet.

    real, generated: complete shard sets, or some of their samples as "SHARDS?ids=FILE".
    columns: only these. count: samples at either end, 16, or 2 of each group.
    by: "label", the labels of the generated samples, or "class", their Top-1 classes by the column
    of logits `classes` (inception's, or the only one). R is always that among all real samples:
    only the order is made within a group. any_size: also of images of another size than the real
    ones.
    tell: called with the numbers, before R is written.

    R >= 1 where a ball of a real sample holds the generated one, so their share is the precision
    with the balls pruned to the half with the smaller radii. Holds a few numbers for each sample.
    Raises what `evaluate` does.
    """
    if by not in (None, "label", "class"):
        raise RaymetricsError(f"by is {by!r}; there are 'label' and 'class'")
    if classes is not None and by != "class":
        raise RaymetricsError(
            "classes say how samples are grouped; leave them out without by class"
        )
    if count is not None and count < 1:
        raise NotEnoughData(f"count is {count}, expected at least 1")
    require_writable(to)
    of_real, of_generated = opened(real), opened(generated)
    asked = Convention(k=k)
    items = items_of(of_real, of_generated, columns, any_size=any_size)
    require(len(of_real), k, "real")
    groups = groups_of(of_generated, by, classes)
    ids = of_generated.sample_ids
    found: list[Result] = []
    scores: dict[str, np.ndarray] = {}
    for item in items:
        start, name = time.monotonic(), item.column.name
        survey = survey_realism(of_real, of_generated, name, asked)
        scores[name] = survey.of_generated.realism
        first, *others = registry.realism(survey, asked, ids)
        shown = ends_of(ids, scores[name], groups, count)
        seconds = time.monotonic() - start
        found += [
            with_provenance(value, item, of_real, of_generated, asked, seconds)
            for value in (replace(first, details={**first.details, **shown}), *others)
        ]
    if tell:
        tell(found)
    write_scores(f"{to}/{SCORES}", ids, scores)
    return found


def items_of(
    real: View, generated: View, columns: Sequence[str] | None, *, any_size: bool = False
) -> list[Item]:
    """Realism in the columns that are asked for, or in all of features that both sets have."""
    spaces = shared_columns(real.shards, generated.shards, None, columns, any_size=any_size)
    items = [
        Item(REALISM, column)
        for column in spaces
        if fits(REALISM, column, real.shards.spec, explicit=bool(columns))
    ]
    if not items:
        there = ", ".join(column.name for column in spaces)
        raise RaymetricsError(f"realism takes a column of features; there are {there}")
    refuse_repeats(items, {"real": real, "generated": generated})
    return items


def only_item(real: View, generated: View, column: str | None, *, any_size: bool = False) -> Item:
    """The same in one column. RaymetricsError if there are several to choose from."""
    columns = None if column is None else [column]
    items = items_of(real, generated, columns, any_size=any_size)
    if len(items) > 1:
        there = ", ".join(item.column.name for item in items)
        raise RaymetricsError(f"both sets have the features {there}; name one: --column COLUMN")
    return items[0]


def survey_realism(real: View, generated: View, column: str, asked: Convention) -> Survey:
    """Equation 3 for every generated sample: R is the largest radius / distance over the real
    samples whose radius is at most the median; infinite on top of one of them.

    A survey in which no generated sample has a ball, as R needs none: of n samples they would be
    a search of n x n. NotEnoughData, or PlanTooLarge before anything is read.
    """
    load_faiss()  # says what is missing before anything is read
    alone = fits_at_once({"real": real, "generated": generated}, column)
    running: AbstractContextManager[None] = nullcontext() if alone else session()
    with running:
        return survey_views(
            real=real, generated=generated, column=column, convention=asked,
            count=False, realism=True, balls=["real"],
        )  # fmt: skip


def groups_of(view: View, by: str | None, classes: str | None) -> Groups | None:
    """The groups that are asked for, if any. ShardError where there are no labels, SpecMismatch
    without one column of logits."""
    if by is None:
        return None
    spec = view.shards.spec
    if by == "label":
        numbers = view.labels()
        names = {number: label_name(number, spec) for number in np.unique(numbers).tolist()}
        return Groups(by, numbers, names)
    column = column_of_classes(view.shards, classes)
    numbers = top1(view, column.name)
    known = spec.class_names.get(column.extractor, ())
    names = {n: known[n] if n < len(known) else str(n) for n in np.unique(numbers).tolist()}
    return Groups(by, numbers, names)


def with_provenance(
    value: Value, item: Item, real: View, generated: View, asked: Convention, seconds: float
) -> Result:
    """The value as a result of both sides."""
    views = {"real": real, "generated": generated}
    sides = {name: side_of(view, len(view)) for name, view in views.items()}
    of = [view.shards.spec for view in views.values()]
    return result(value, item, of, sides, asked, None, seconds)


def top1(view: View, logits: str) -> np.ndarray:
    """The Top-1 class of every sample, int64 [n]; of equal logits the first class."""
    blocks = (view.block(shard, [logits])[logits] for shard in view.present)
    return np.concatenate([block.argmax(axis=1) for block in blocks])


def ends_of(
    ids: np.ndarray, realism: np.ndarray, groups: Groups | None, count: int | None
) -> dict[str, Any]:
    """The samples with the highest and with the lowest R, [[id, R], ...], of all or by group."""
    if groups is None:
        (order,) = orders(ids, realism, np.zeros(len(ids), np.int64))
        return extremes(ids[order], realism[order], count or COUNT)
    found = []
    for order in orders(ids, realism, groups.numbers):
        name, own = groups.names[int(groups.numbers[order[0]])], realism[order]
        share = float((own >= 1).mean())
        ends = extremes(ids[order], own, count or COUNT_OF_GROUP)
        found.append({"name": name, "count": len(order), "realistic": share, **ends})
    return {"by": groups.by, "groups": found}


def orders(ids: np.ndarray, realism: np.ndarray, groups: np.ndarray) -> list[np.ndarray]:
    """The rows of every group, int64, from the most to the least realistic; of equal ones the
    lower id first. In the order of the groups' numbers."""
    order = np.lexsort([ids, -realism, groups])
    _, first = np.unique(groups[order], return_index=True)
    return np.split(order, first[1:])


def extremes(ids: np.ndarray, realism: np.ndarray, count: int) -> dict[str, Any]:
    """Both ends of what is ranked, at most half of it each; the lowest first in the second."""
    count = min(count, max(1, len(ids) // 2))
    ends = {"highest": slice(count), "lowest": slice(None, -count - 1, -1)}
    return {
        name: [[int(i), finite(r)] for i, r in zip(ids[some], realism[some], strict=True)]
        for name, some in ends.items()
    }


def finite(realism: float) -> float | None:
    """R, or None where it is infinite, as JSON has no such number."""
    return float(realism) if np.isfinite(realism) else None
