"""Numbers of sets that were drawn from one shard set: at random, to match classes, by weights.

A way of drawing is tried with several seeds, and its number is their mean with the deviation
(Kynkaanniemi et al. 2023, Tables 1 to 3); never the best of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from raymetrics.errors import NotEnoughData, RaymetricsError
from raymetrics.evaluation.catalogue import METRICS, Value
from raymetrics.evaluation.needs import Of, Samples, bytes_of
from raymetrics.evaluation.outcome import result, side_of
from raymetrics.evaluation.selection import Item, fits, known, opened, shared_columns
from raymetrics.metrics import Convention
from raymetrics.results import Result
from raymetrics.shards.view import View
from raymetrics.statistics import Measure
from raymetrics.streaming.fold import fold_shards
from raymetrics.streaming.session import session

AT_ONCE = 1_000_000_000  # bytes of statistics that one pass over the shards gathers
OFFERED = ("fid", "kid", "top1")
SHOWN = 60  # samples whose ids a result keeps, for a grid of images


@dataclass(frozen=True, eq=False)
class Draws:
    """A way of drawing from the candidates, and what it drew with every seed."""

    name: str  # "Top-1 matched"
    ids: Sequence[np.ndarray]  # int64 [n] for each seed, ascending; repeated where drawn again
    how: Mapping[str, Any] = field(default_factory=dict)  # for the convention of a result
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Among:
    """A statistic of the samples of one draw, as often as they were drawn."""

    ids: np.ndarray  # int64 [n], ascending
    of: Of

    def __call__(self, sample_ids: np.ndarray, values: np.ndarray) -> Any:
        first, stop = (np.searchsorted(self.ids, sample_ids, side) for side in ("left", "right"))
        rows = np.repeat(np.arange(len(sample_ids)), stop - first)
        return self.of(sample_ids[rows], values[rows])


def evaluate_draws(
    *,
    real: str,
    generated: str,
    draws: Sequence[Draws],
    metrics: Sequence[str] = ("fid", "kid", "top1"),
    extractors: Sequence[str] | None = None,
    convention: Convention | None = None,
) -> list[Result]:
    """The metrics of every way of drawing, in every feature space that both sets have.

    real, generated: complete shard sets; the draws are of samples of the generated one.
    metrics: of "fid", "kid" and "top1".
    A result is labelled by the space and the name of the draws; its value is the mean over the
    seeds, its spread their standard deviation (of one seed there is none), and its details hold
    the value of each. Reads the shards once for as many seeds as memory allows, on Ray. Raises what
    `evaluate` does.
    """
    asked = convention or Convention()
    views = {"real": opened(real), "generated": opened(generated)}
    of_real = views["real"].shards
    spaces = shared_columns(of_real, views["generated"].shards, extractors, None)
    items = [
        Item(METRICS[name], column)
        for column in spaces
        for name in known(metrics)
        if fits(METRICS[name], column, of_real.spec, explicit=False)
    ]
    refuse_if_impossible(views, draws, items, asked)
    with session():
        found = list(computed(views, items, draws, asked))
    return [
        with_provenance([part for part in found if part.of == (item, way)], views, asked)
        for item in items
        for way in draws
    ]


@dataclass(frozen=True, eq=False)
class OfSeed:
    """A number of one draw."""

    of: tuple[Item, Draws]
    value: Value
    seconds: float


def computed(
    views: Mapping[str, View], items: Sequence[Item], draws: Sequence[Draws], asked: Convention
) -> Iterator[OfSeed]:
    """The number of every item, way of drawing and seed."""
    ids = views["real"].sample_ids
    every = [(way, Samples(ids, of_seed)) for way in draws for of_seed in way.ids]
    (of_real,) = gathered(views["real"], "real", items, [every[0][1]], asked)
    at_once = max(1, AT_ONCE // bytes_needed(items, every[0][1], asked))
    for start in range(0, len(every), at_once):
        batch = every[start : start + at_once]
        of_generated = gathered(
            views["generated"], "generated", items, [samples for _, samples in batch], asked
        )
        for (way, samples), of_seed in zip(batch, of_generated, strict=True):
            for item in items:
                begun, column = time.monotonic(), item.column.name
                (value,) = item.metric.compute(of_real[column], of_seed[column], samples, asked)
                yield OfSeed((item, way), value, time.monotonic() - begun)


Found = dict[str, dict[str, Any]]  # {column: {name of a statistic: statistic}}


def gathered(
    view: View, side: str, items: Sequence[Item], batch: Sequence[Samples], asked: Convention
) -> list[Found]:
    """What the items need of every draw, in one pass; of the real side all samples are meant."""
    measures = {}
    for place, samples in enumerate(batch):
        for item in items:
            for name, of in needs_of(item, samples, side, asked).items():
                of_draw = of if side == "real" else Among(samples.generated, of)
                measures[place, item.column.name, name] = Measure(item.column.name, of_draw)
    keys = {f"{i}": key for i, key in enumerate(measures)}
    size = len(batch) * bytes_needed(items, batch[0], asked)
    folded = fold_shards(view, {i: measures[key] for i, key in keys.items()}, size)
    found: list[Found] = [{item.column.name: {} for item in items} for _ in batch]
    for i, statistic in folded.items():
        place, column, name = keys[i]
        found[place][column][name] = statistic
    return found


def needs_of(item: Item, samples: Samples, side: str, asked: Convention) -> Mapping[str, Of]:
    """The statistics that an item needs of a side, by name."""
    assert item.metric.needs is not None  # those that a survey answers are not offered
    return item.metric.needs(samples, side, asked)


def bytes_needed(items: Sequence[Item], samples: Samples, asked: Convention) -> int:
    """By the statistics of one draw."""
    return sum(
        bytes_of(of, item.column.dimension, len(samples.generated))
        for item in items
        for of in needs_of(item, samples, "generated", asked).values()
    )


def refuse_if_impossible(
    views: Mapping[str, View], draws: Sequence[Draws], items: Sequence[Item], asked: Convention
) -> None:
    """RaymetricsError for metrics that are not offered, NotEnoughData for too few samples."""
    names = {item.metric.name for item in items}
    if not items or names - set(OFFERED):
        raise RaymetricsError(f"of draws there are {', '.join(OFFERED)}, not {', '.join(names)}")
    sizes = {len(ids) for way in draws for ids in way.ids}
    if len(sizes) != 1:
        raise NotEnoughData(f"draws of {sorted(sizes)} samples; expected as many in each")
    takes = asked.kid_subset_size if "kid" in names else asked.ddof + 1
    for side, count in {"real": len(views["real"]), "generated": sizes.pop()}.items():
        if count < takes:
            raise NotEnoughData(
                f"{count} {side} samples are too few for {' and '.join(sorted(names))}, which take "
                f"{takes}; ask for more, or leave kid out"
            )


def with_provenance(
    found: Sequence[OfSeed], views: Mapping[str, View], asked: Convention
) -> Result:
    """The mean over the seeds as a result."""
    item, way = found[0].of
    values = [of_seed.value.value for of_seed in found]
    first = found[0].value
    several = len(values) > 1
    ids = way.ids[0]
    value = replace(
        first,
        value=float(np.mean(values)),
        spread=float(np.std(values, ddof=1)) if several else None,
        convention={**first.convention, "drawn": way.name, **way.how, "seeds": len(values)},
        details={
            **first.details,
            **way.details,
            "values": values,
            "shown": np.unique(ids)[
                np.linspace(0, len(np.unique(ids)) - 1, SHOWN).astype(int)
            ].tolist(),
        },
    )
    sides = {
        "real": side_of(views["real"], len(views["real"])),
        "generated": side_of(views["generated"], len(ids)),
    }
    of = [view.shards.spec for view in views.values()]
    made = result(value, item, of, sides, asked, None, sum(part.seconds for part in found))
    return replace(made, label=f"{made.label}, {way.name}")
