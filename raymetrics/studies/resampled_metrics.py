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

from raymetrics.distributed.fold import fold_shards
from raymetrics.distributed.session import session
from raymetrics.errors import NotEnoughData, RaymetricsError
from raymetrics.metrics import Convention
from raymetrics.metrics.registry import METRICS, Value
from raymetrics.metrics.required_statistics import Chosen, Of, Samples, bytes_of
from raymetrics.results import Result
from raymetrics.shards.view import View, rows_of
from raymetrics.statistics import Measure
from raymetrics.studies.comparison import Item, fits, known, opened, shared_columns
from raymetrics.studies.make_result import result, side_of

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
    real: str | View,
    generated: str | View,
    draws: Sequence[Draws],
    metrics: Sequence[str] = ("fid", "kid", "top1"),
    extractors: Sequence[str] | None = None,
    convention: Convention | None = None,
) -> list[Result]:
    """The metrics of every way of drawing, in every feature space that both sets have.

    real, generated: complete shard sets, or views of some; the draws are of samples of the
    generated one.
    metrics: of "fid", "kid" and "top1".
    A result is labelled by the space and the name of the draws; its value is the mean over the
    seeds, its spread their standard deviation (of one seed there is none), and its details hold
    the value of each. KID's subsets are others for every seed. Reads the shards once for as many
    seeds as memory allows, on Ray. Raises what `evaluate` does.
    """
    asked = convention or Convention()
    views = {
        "real": real if isinstance(real, View) else opened(real),
        "generated": generated if isinstance(generated, View) else opened(generated),
    }
    of_real = views["real"].shards
    # Sizes were compared, or let pass, by what made the draws.
    spaces = shared_columns(of_real, views["generated"].shards, extractors, None, any_size=True)
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
class Draw:
    """One draw, and by which convention its numbers are computed."""

    way: Draws
    samples: Samples
    asked: Convention  # with a seed of its own

    def needs_of(self, item: Item, side: str) -> Mapping[str, Of]:
        """The statistics that an item needs of a side, by name."""
        assert item.metric.needs is not None  # those that a survey answers are not offered
        return item.metric.needs(self.samples, side, self.asked)

    def bytes_needed(self, items: Sequence[Item]) -> int:
        """By the statistics of the generated side."""
        return sum(
            bytes_of(of, item.column.dimension, len(self.samples.generated))
            for item in items
            for of in self.needs_of(item, "generated").values()
        )


@dataclass(frozen=True, eq=False)
class OfSeed:
    """A number of one draw."""

    of: tuple[Item, Draws]
    value: Value
    seconds: float


Found = dict[str, dict[str, Any]]  # {column: {name of a statistic: statistic}}


def computed(
    views: Mapping[str, View], items: Sequence[Item], draws: Sequence[Draws], asked: Convention
) -> Iterator[OfSeed]:
    """The number of every item, way of drawing and seed."""
    ids = views["real"].sample_ids
    every = [
        Draw(way, Samples(ids, of_seed), replace(asked, seed=asked.seed + seed))
        for way in draws
        for seed, of_seed in enumerate(way.ids)
    ]
    of_real = of_the_real(views["real"], items, every)
    at_once = max(1, AT_ONCE // every[0].bytes_needed(items))
    for start in range(0, len(every), at_once):
        batch = every[start : start + at_once]
        for one, of_draw in zip(batch, of_draws(views["generated"], items, batch), strict=True):
            for item in items:
                begun, column = time.monotonic(), item.column.name
                sides = of_real[column], of_draw[column]
                (value,) = item.metric.compute(*sides, one.samples, one.asked)
                yield OfSeed((item, one.way), value, time.monotonic() - begun)


def of_the_real(view: View, items: Sequence[Item], every: Sequence[Draw]) -> Found:
    """What the items need of the real side, for all draws."""
    measures = {
        (item.column.name, name): for_all([one.needs_of(item, "real")[name] for one in every])
        for item in items
        for name in every[0].needs_of(item, "real")
    }
    found: Found = {}
    for (column, name), statistic in folded(view, measures).items():
        found.setdefault(column, {})[name] = statistic
    return found


def for_all(needed: Sequence[Of]) -> Of:
    """One statistic for all draws: of chosen samples all that any of them chooses; the others
    do not depend on the draw."""
    chosen = [of.ids for of in needed if isinstance(of, Chosen)]
    return Chosen(np.unique(np.concatenate(chosen))) if chosen else needed[0]


def of_draws(view: View, items: Sequence[Item], batch: Sequence[Draw]) -> list[Found]:
    """What the items need of every draw, in one pass."""
    measures = {
        (place, item.column.name, name): Among(one.samples.generated, of)
        for place, one in enumerate(batch)
        for item in items
        for name, of in one.needs_of(item, "generated").items()
    }
    found: list[Found] = [{item.column.name: {} for item in items} for _ in batch]
    bytes_of_all = sum(one.bytes_needed(items) for one in batch)
    for (place, column, name), statistic in folded(view, measures, bytes_of_all).items():
        found[place][column][name] = statistic
    return found


def folded(view: View, needed: Mapping[Any, Of], bytes_of_all: int = 0) -> dict[Any, Any]:
    """Statistics by a key whose last part but one is the column."""
    keys = {str(i): key for i, key in enumerate(needed)}
    measures = {i: Measure(key[-2], needed[key]) for i, key in keys.items()}
    return {keys[i]: found for i, found in fold_shards(view, measures, bytes_of_all).items()}


def refuse_if_impossible(
    views: Mapping[str, View], draws: Sequence[Draws], items: Sequence[Item], asked: Convention
) -> None:
    """RaymetricsError for metrics that are not offered, ShardError for samples that are not
    candidates, NotEnoughData for too few."""
    names = {item.metric.name for item in items}
    if not items or names - set(OFFERED):
        raise RaymetricsError(f"of draws there are {', '.join(OFFERED)}, not {', '.join(names)}")
    if views["generated"].repeats:
        raise RaymetricsError("candidates that stand there repeatedly; expected each once")
    for way in draws:
        for ids in way.ids:
            rows_of(ids, views["generated"].sample_ids, views["generated"].shards)
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
    value = replace(
        first,
        value=float(np.mean(values)),
        spread=float(np.std(values, ddof=1)) if several else None,
        convention={**first.convention, **said(way)},
        details={
            **first.details,
            **way.details,
            "values": values,
            "shown": shown(way.ids[0]),
        },
    )
    sides = {
        "real": side_of(views["real"], len(views["real"])),
        "generated": side_of(views["generated"], len(way.ids[0])),
    }
    of = [view.shards.spec for view in views.values()]
    made = result(value, item, of, sides, asked, None, sum(part.seconds for part in found))
    return replace(made, label=f"{made.label}, {way.name}")


def said(way: Draws) -> dict[str, Any]:
    """What a result's convention says of its draws."""
    return {"drawn": way.name, "n": len(way.ids[0]), "seeds": len(way.ids), **way.how}


def shown(ids: np.ndarray) -> list[int]:
    """Some of them, evenly spaced."""
    once = np.unique(ids)
    places = np.linspace(0, len(once) - 1, min(SHOWN, len(once))).astype(int)
    return [int(i) for i in once[places]]
