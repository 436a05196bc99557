"""Neighbours among shard sets larger than memory.

Either side is cut into parts that fit. An actor holds one part as a base, and others go by as
queries; what was found of a pair of parts is a cell. Cells merge in any order, say the same
whichever engine and machine found them, and are kept beside the shards under the digests of both
parts: a rerun finds only the cells that are missing, and the radii of a set are found once for
all the sets that it is compared with. What fits into memory at once is searched by the driver.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any

import numpy as np
import psutil
import ray

from raymetrics.distributed.cluster_resources import equal_part
from raymetrics.distributed.neighbor_files import (
    FOLDER,
    VERSION,
    Arrays,
    parse_arrays,
    read_arrays,
    trouble_of_balls,
    trouble_of_distances,
    write_arrays,
)
from raymetrics.distributed.neighbor_spot_checks import distances_agree
from raymetrics.distributed.session import NO_PROGRESS_SECONDS
from raymetrics.errors import PlanTooLarge, RaymetricsError, ShardError
from raymetrics.metrics import Convention, Survey, require, up_to_median
from raymetrics.metrics.conventions import CHOICES
from raymetrics.neighbors import choose, engine
from raymetrics.provenance import fingerprint
from raymetrics.shards.shard_set import ShardSet, open_shards
from raymetrics.shards.store import Store
from raymetrics.shards.view import Selection, View
from raymetrics.statistics import Balls, Nearest, from_arrays, to_arrays

AT_ONCE = 400_000_000  # bytes of features that the driver searches by itself
BLOCK = 32_768  # rows that go by at a time
COPIES = 4  # of a base in memory, at most: read, centred, indexed, to be indexed
SHARE_OF_MEMORY = 0.4
# A GPU holds one copy, beside FAISS's working space and CUDA's context. Of the smallest in use.
GPU_BYTES, GPU_OVERHEAD = 16e9, 3e9


@dataclass(frozen=True)
class Part:
    """Some rows of a column of a view."""

    uri: str
    samples: tuple[range, ...] | Selection
    group: tuple[range, ...]  # the shards
    column: str
    convention: Convention
    first: int  # the number in the view of the first row
    rows: int
    digest: str  # of the values and of how they are rounded

    @property
    def slice(self) -> slice:
        """The rows of the view."""
        return slice(self.first, self.first + self.rows)

    def read(self) -> np.ndarray:
        """float32 [rows, d]."""
        view = View(open_shards(self.uri, self.group), self.samples)
        return self.convention.rounded(view.read(self.column, self.group))


@dataclass(frozen=True)
class Cell:
    """What is to be found of two parts; `base` is a place in a list of parts."""

    base: int
    queries: Part
    k: int = 0  # the nearest k; or, of 0, who lies in whose balls:
    radii_of_base: np.ndarray | None = None
    radii_of_queries: np.ndarray | None = None
    count: bool = True
    lesser: np.ndarray | None = None

    def key(self, base: Part) -> str:
        """A name for what is found, by all that it depends on."""
        radii = (self.radii_of_base, self.radii_of_queries, self.lesser)
        digests = [None if a is None else sha256(a.tobytes()).hexdigest() for a in radii]
        same = base.digest == self.queries.digest
        of = {"version": VERSION, "k": self.k, "radii": digests, "count": self.count, "same": same}
        return fingerprint({"base": base.digest, "queries": self.queries.digest, **of})

    def trouble(self, arrays: Arrays, base: Part) -> str | None:
        """Say why arrays cannot be what is to be found; None if they can."""
        if self.k:
            shape = (self.queries.rows, self.k)
            return trouble_of_distances(arrays, shape, all_there=False)
        assert self.radii_of_base is not None
        radii, sizes = self.radii_of_base.shape[1], (self.queries.rows, base.rows)
        return trouble_of_balls(arrays, "base", *sizes, radii) or trouble_of_balls(
            arrays, "queries", *sizes[::-1], radii
        )


class Base:
    """A part, held in memory and searched."""

    def __init__(self, part: Part, engine_name: str) -> None:
        self.part, self.search = part, engine(engine_name)
        (self.placed,) = self.search.place(part.read())

    def find(self, cell: Cell) -> Arrays:
        """What is found of a cell, as arrays."""
        part, queries = self.part, cell.queries
        itself = (part.uri, part.samples, part.slice) == (
            queries.uri,
            queries.samples,
            queries.slice,
        )
        placed = self.placed if itself else self.search.place_like(self.placed, queries.read())
        if cell.k:
            same_set = (part.uri, part.samples) == (queries.uri, queries.samples)
            numbers = np.arange(queries.rows) + queries.first - part.first
            inside = same_set & (numbers >= 0) & (numbers < part.rows)
            own = np.where(inside, numbers, -1)
            return to_arrays(Nearest(self.search.nearest(placed, self.placed, cell.k, own)))
        by_base, by_queries = self.search.both_ways(
            self.placed, placed, cell.radii_of_base, cell.radii_of_queries,
            count=cell.count, lesser=cell.lesser,
        )  # fmt: skip
        return {
            **{f"base_{name}": a for name, a in to_arrays(by_base).items()},
            **{f"queries_{name}": a for name, a in to_arrays(by_queries).items()},
        }


class Searcher:
    """Finds cells, and keeps the base of the last one."""

    def __init__(self, engine_name: str) -> None:
        self.engine_name = engine_name
        self.base: Base | None = None

    def find(self, part: Part, cell: Cell) -> Arrays:
        """What is found of a cell, with this part as its base."""
        if self.base is None or self.base.part != part:
            self.base = None  # before the next one is read
            self.base = Base(part, self.engine_name)
        return self.base.find(cell)


def survey_views(
    *,
    real: View,
    generated: View,
    column: str,
    convention: Convention,
    count: bool = True,
    realism: bool = False,
    most_rows: int | None = None,
    balls: Collection[str] = ("real", "generated"),
) -> Survey:
    """`raymetrics.metrics.survey` of a column of two views, for every k of a convention.

    Needs a session unless it fits into the driver's memory. most_rows: to a part; by default as
    many as fit. balls: the sides whose samples have some; of another none is searched, its radii
    are -1, and nothing lies in them. NotEnoughData, or PlanTooLarge before anything is read.
    """
    ks = convention.ks
    both = {"real": real, "generated": generated}
    for side in balls:
        require(len(both[side]), ks[-1], side)
    alone = most_rows is None and fits_at_once(both, column)
    if alone:
        most = max(len(real), len(generated))
    else:
        most = most_rows or rows_that_fit(real.shards.columns[column].dimension)
    name = chosen(real, generated, column, convention)
    with closing(Driver(name) if alone else Actors(name)) as search:
        of_real, of_generated = (
            convention.reach(
                nearest(view, column, convention, most, search)[:, [k - 1 for k in ks]]
            )
            if side in balls
            else np.full((len(view), len(ks)), -1.0)
            for side, view in both.items()
        )
        one = parts(real, column, convention, most)
        other = parts(generated, column, convention, min(most, BLOCK))
        return crossed(
            real, generated, one, other, of_real, of_generated, convention, search,
            count=count, realism=realism, name=name,
        )  # fmt: skip


def crossed(
    real: View, generated: View, one: Sequence[Part], other: Sequence[Part], of_real: np.ndarray,
    of_generated: np.ndarray, convention: Convention, search: Driver | Actors, *, count: bool,
    realism: bool, name: str,
) -> Survey:  # fmt: skip
    """The survey of two sets whose radii are known."""
    ks = convention.ks
    lesser = up_to_median(of_real[:, 0]) if realism else None
    sizes = len(generated), len(real)
    by_real = Balls.empty(*sizes, len(ks))
    by_generated = Balls.empty(*sizes[::-1], len(ks))
    cells = [
        Cell(
            base, queries, 0, of_real[part.slice], of_generated[queries.slice], count,
            None if lesser is None else lesser[part.slice],
        )
        for base, part in enumerate(one)
        for queries in other
    ]  # fmt: skip
    kept = Store(f"{generated.shards.uri}/{FOLDER}")
    for cell, found in found_of(cells, one, kept, search):
        base, queries = one[cell.base].slice, cell.queries.slice
        balls = [balls_of(found, side) for side in ("base", "queries")]
        by_real = by_real.merge(balls[0].within(queries, base, sizes))
        by_generated = by_generated.merge(balls[1].within(base, queries, sizes[::-1]))
    return Survey(ks, name, of_real, of_generated, by_real, by_generated)


def balls_of(found: Arrays, side: str) -> Balls:
    """Those of one side of a cell."""
    arrays = {
        name.removeprefix(side + "_"): a for name, a in found.items() if name.startswith(side)
    }
    balls: Balls = from_arrays(Balls, arrays)
    return balls


def nearest(
    view: View, column: str, convention: Convention, most: int, search: Driver | Actors
) -> np.ndarray:
    """The distances of every sample to the nearest others of its set, float64 [n, largest k].

    Kept beside the shards under the digest of the set's values, and believed if some of them are
    found again, see `agreement`.
    """
    store, k = Store(f"{view.shards.uri}/{FOLDER}"), convention.ks[-1]
    blocks = parts(view, column, convention, min(most, BLOCK))

    def trouble(arrays: Arrays) -> str | None:
        return trouble_of_radii(arrays, view, column, convention, blocks)

    file = radii_file(view, column, convention)
    known = read_arrays(store, file, trouble)
    if known is not None:
        return known["distances"]
    bases = parts(view, column, convention, most)
    cells = [Cell(base, queries, k) for base in range(len(bases)) for queries in blocks]
    found = [Nearest.empty(part.rows, k) for part in blocks]
    places = {part: i for i, part in enumerate(blocks)}
    for cell, arrays in found_of(cells, bases, store if len(cells) > 1 else None, search):
        place = places[cell.queries]
        found[place] = found[place].merge(from_arrays(Nearest, arrays))
    distances = np.concatenate([nearest.distances for nearest in found])
    write_arrays(store, file, {"distances": distances})
    return distances


def radii_file(view: View, column: str, convention: Convention) -> str:
    """Name the file of a view's radii, by all that they depend on."""
    values = {"values": view.digest(), "distances": convention.distances}
    key = fingerprint({"version": VERSION, **values})[:24]
    return f"radii-{column}-k{convention.ks[-1]}-{key}.npz"


def trouble_of_radii(
    arrays: Arrays, view: View, column: str, convention: Convention, blocks: Sequence[Part]
) -> str | None:
    """Say why arrays are not the distances that `nearest` gives; None if they seem to be."""
    trouble = trouble_of_distances(arrays, (len(view), convention.ks[-1]), all_there=True)
    if trouble:
        return trouble
    features = (part.read() for part in blocks)
    if distances_agree(arrays["distances"], view, column, convention, features):
        return None
    return "its distances are not those of the samples"


def parts(view: View, column: str, convention: Convention, most: int) -> list[Part]:
    """The view cut into groups of whole shards of at most so many rows; one shard at least."""
    groups: list[list[range]] = []
    rows = 0
    for shard in view.present:
        if not groups or rows + view.count(shard) > most:
            groups.append([])
            rows = 0
        groups[-1].append(shard)
        rows += view.count(shard)
    made: list[Part] = []
    for group in groups:
        rows = sum(map(view.count, group))
        first = made[-1].slice.stop if made else 0
        values = {"values": view.digest(group), "column": column}
        digest = fingerprint({**values, "distances": convention.distances})
        uri = view.shards.store.absolute_uri
        made.append(Part(uri, view.samples, tuple(group), column, convention, first, rows, digest))
    return made


def fits_at_once(views: Mapping[str, View], column: str) -> bool:
    """Whether the features of both sides are so few that the driver searches by itself."""
    rows = sum(map(len, views.values()))
    size = 4 * views["real"].shards.columns[column].dimension * rows
    return size <= min(AT_ONCE, psutil.virtual_memory().total * SHARE_OF_MEMORY / COPIES)


def rows_that_fit(dimension: int) -> int:
    """How many rows a base may have, a power of two: so that every actor can hold one, and its
    GPU if it has one.

    Where a whole set fits every actor holds all of it; otherwise each holds a part. By all the
    memory of the machine and not what is free, so that a rerun cuts the same parts. PlanTooLarge
    if not even a thousand rows fit.
    """
    actors, _, gpus = workers() if ray.is_initialized() else (1, 0.0, 0.0)
    memory = psutil.virtual_memory().total * SHARE_OF_MEMORY / actors
    rows = memory / (COPIES * 4 * dimension)
    if gpus:
        rows = min(rows, (GPU_BYTES - GPU_OVERHEAD) * gpus / (4 * dimension))
    if rows < 1024:
        raise PlanTooLarge(
            f"{actors} actors that search {dimension} dimensions have {memory / 1e9:.1f} GB each, "
            f"enough for {rows:.0f} rows; it takes 1024: use fewer CPUs, or a larger machine"
        )
    return int(2 ** np.floor(np.log2(rows)))


def workers() -> tuple[int, float, float]:
    """How many actors, and the CPUs and GPUs of each: one per GPU, or per CPU without any."""
    there = ray.cluster_resources()
    gpus, cpus = there.get("GPU", 0.0), there.get("CPU", 1.0)
    actors = max(1, int(gpus or cpus))
    return actors, equal_part(cpus, actors), equal_part(gpus, actors)


def chosen(real: View, generated: View, column: str, convention: Convention) -> str:
    """The name of the engine for the whole, from the first shard of either side."""
    first = [view.read(column, view.present[:1]) for view in (real, generated)]
    rows = len(real) + len(generated)
    k = convention.ks[0]
    name: str = choose(real=first[0], generated=first[1], k=k, rows=rows).name
    return name


def found_of(
    cells: Sequence[Cell], cut: Sequence[Part], kept: Store | None, search: Driver | Actors
) -> Iterator[tuple[Cell, Arrays]]:
    """What is found of every cell: what was kept first, and then the rest, as it is found."""
    missing = []
    for cell in cells:
        file = f"cell-{cell.key(cut[cell.base])}.npz"
        check = partial(cell.trouble, base=cut[cell.base])
        known = read_arrays(kept, file, check) if kept else None
        if known is None:
            missing.append(cell)
        else:
            yield cell, known
    for cell, found in search.find_all(missing, cut):
        if kept:
            write_arrays(kept, f"cell-{cell.key(cut[cell.base])}.npz", found)
        yield cell, found


class Driver:
    """Searches in this process, one cell after another."""

    def __init__(self, engine_name: str) -> None:
        self.searcher = Searcher(engine_name)

    def find_all(self, cells: Sequence[Cell], cut: Sequence[Part]) -> Iterator[tuple[Cell, Arrays]]:
        """What is found of every cell."""
        for cell in cells:
            yield cell, self.searcher.find(cut[cell.base], cell)

    def close(self) -> None:
        """Nothing is left behind."""


class Actors:
    """Searches on actors, started when there is something to find. Each takes the cells of one
    base until there are none, and then those of the base that has the most left."""

    def __init__(self, engine_name: str) -> None:
        self.engine_name = engine_name
        self.actors: list[Any] = []
        self.starting: dict[Any, Any] = {}
        self.idle: list[tuple[Any, int]] = []  # an actor, and the base that it holds

    def find_all(self, cells: Sequence[Cell], cut: Sequence[Part]) -> Iterator[tuple[Cell, Arrays]]:
        """What is found of every cell, as it is found."""
        waiting: dict[int, deque[Cell]] = defaultdict(deque)
        for cell in cells:
            waiting[cell.base].append(cell)
        if cells and not self.actors:
            self.start()
        busy: dict[Any, tuple[Any, Cell]] = {}
        left = len(cells)
        while left:
            while self.idle and any(waiting.values()):
                actor, held = self.idle.pop()
                base = held if waiting.get(held) else self.longest(waiting, busy)
                cell = waiting[base].popleft()
                busy[actor.find.remote(cut[base], cell)] = actor, cell
            done, _ = ray.wait([*busy, *self.starting], num_returns=1, timeout=NO_PROGRESS_SECONDS)
            if not done:
                raise RaymetricsError(
                    f"no actor has found anything for {NO_PROGRESS_SECONDS} s; what was found is "
                    "kept: see what else uses the cluster, and run the same command again"
                )
            if done[0] in self.starting:
                self.idle.append((self.starting.pop(done[0]), -1))
                continue
            actor, cell = busy.pop(done[0])
            found = ray.get(done[0])
            self.idle.append((actor, cell.base))
            left -= 1
            yield cell, found
        self.idle = [(actor, -1) for actor, _ in self.idle]  # numbers of other parts come next

    def longest(self, waiting: dict[int, deque[Cell]], busy: dict[Any, tuple[Any, Cell]]) -> int:
        """The base with the most cells left to each actor that has it."""
        holders = Counter(cell.base for _, cell in busy.values())
        return max(waiting, key=lambda base: (len(waiting[base]) / (1 + holders[base]), -base))

    def start(self) -> None:
        """One actor per worker."""
        count, cpus, gpus = workers()
        remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=3, max_task_retries=3)
        self.actors = [remote(Searcher).remote(self.engine_name) for _ in range(count)]
        # On a cluster that others use too, some may never start.
        self.starting = {actor.__ray_ready__.remote(): actor for actor in self.actors}

    def close(self) -> None:
        """Ends the actors."""
        for actor in self.actors:
            ray.kill(actor)


def require_true_files(shards: ShardSet) -> None:
    """ShardError, which names them, if files of neighbors beside a set are not what they should
    be."""
    false = false_files(shards)
    if false:
        raise ShardError(
            f"{len(false)} files in {shards.uri}/{FOLDER} do not hold the neighbors that they "
            f"should: {', '.join(false)}; remove them: they are made again when they are needed"
        )


def false_files(shards: ShardSet) -> list[str]:
    """Name the files of neighbors beside a set that are not what they should be: by their digests;
    the radii of the whole set also by finding some of them again."""
    store = Store(f"{shards.uri}/{FOLDER}")
    names = [name for name in sorted(store.names()) if name.endswith(".npz")]
    return [name for name in names if _is_false(store, name, View.of(shards))]


def _is_false(store: Store, name: str, view: View) -> bool:
    data = store.read(name)
    trouble, arrays = parse_arrays(data, name) if data is not None else (None, {})
    asked = None if trouble else _radii_asked(name, view)
    if asked:
        column, convention = asked
        blocks = parts(view, column, convention, BLOCK)
        trouble = trouble_of_radii(arrays, view, column, convention, blocks)
    return trouble is not None


def _radii_asked(name: str, view: View) -> tuple[str, Convention] | None:
    """Of which column and by which convention a file holds the radii of a view; None if it holds
    something else."""
    match = re.fullmatch(r"radii-(\w+)-k([1-9]\d{0,3})-[0-9a-f]{24}\.npz", name)
    if not match or match[1] not in view.shards.columns or not view.present:
        return None
    for distances in CHOICES["distances"]:
        convention = Convention(k=int(match[2]), distances=distances)  # type: ignore[arg-type]
        if radii_file(view, match[1], convention) == name:
            return match[1], convention
    return None
