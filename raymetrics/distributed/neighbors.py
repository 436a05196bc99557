"""Neighbors among shard sets larger than memory.

Either side is cut into partitions that fit. An actor holds one partition, the base, and searches it
and another, the queries, for each other's neighbors: within a set every two partitions meet once.
The results of pairs of partitions merge in any order, have the same bits on any engine and machine,
and are kept beside the shards under the digests of both partitions: a rerun searches only the
missing pairs, and the radii of a set are found once for all sets that it is compared with. Each
actor computes on the GPU or on all cores that it was given, in the way that is the fastest there.
The driver searches what fits into its memory.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property, partial
from hashlib import sha256
from typing import Any

import numpy as np

from raymetrics.distributed.memory_limits import fits_in_driver, partition_rows
from raymetrics.distributed.neighbor_files import (
    NEIGHBORS_FOLDER,
    NEIGHBORS_VERSION,
    parse_neighbor_file,
    problem_with_balls,
    problem_with_distances,
    problem_with_misses,
    problem_with_neighbors,
    read_neighbor_file,
    write_neighbor_file,
)
from raymetrics.distributed.neighbor_spot_checks import distances_agree
from raymetrics.distributed.nodes import MAX_RESTARTS, search_resources
from raymetrics.distributed.reserved_gpus import reserved_gpus
from raymetrics.distributed.session import NO_PROGRESS_SECONDS, uses_ray
from raymetrics.errors import InsufficientResources, RaymetricsError, ShardError
from raymetrics.metrics import Convention, ManifoldSurvey, normalize_rows
from raymetrics.metrics.conventions import CHOICES
from raymetrics.metrics.manifold_survey import require_enough_neighbors, survey_sides
from raymetrics.metrics.survey_needs import SurveyNeeds
from raymetrics.neighbors import DEFAULT_ENGINE, make_engine
from raymetrics.neighbors.faiss_indexes import count_gpus, load_faiss
from raymetrics.npz_files import Arrays
from raymetrics.provenance import fingerprint
from raymetrics.shards.shard_set import ShardSet, open_shards
from raymetrics.shards.store import Store
from raymetrics.shards.view import Selection, View
from raymetrics.statistics import BallMembership, NearestDistances, from_arrays, to_arrays

_CHECKED_ROWS = 32_768  # rows in memory at a time, while stored distances are checked


@dataclass(frozen=True)
class Partition:
    """Some rows of a column of a view: whole shards."""

    uri: str
    samples: tuple[range, ...] | Selection
    shards: tuple[range, ...]
    column: str
    convention: Convention
    first_row: int  # the number in the view of the first row
    rows: int
    digest: str  # of the values and of how they are rounded
    unit_length: bool = False  # whether rows are divided by their length

    @property
    def view_slice(self) -> slice:
        """The rows of the partition in the view."""
        return slice(self.first_row, self.first_row + self.rows)

    def is_same_part(self, other: Partition) -> bool:
        """Return whether the other has the same rows of the same view."""
        return (self.uri, self.samples, self.view_slice) == (
            other.uri,
            other.samples,
            other.view_slice,
        )

    def read(self) -> np.ndarray:
        """Read the features, float32 [rows, d], rounded as the convention says."""
        view = View(open_shards(self.uri, self.shards), self.samples)
        features = view.read(self.column, self.shards)
        if self.unit_length:
            features = normalize_rows(features).astype(np.float32)
        return self.convention.round_features(features)


@dataclass(frozen=True)
class PartitionPair:
    """A search in a base for the neighbors of queries, and the converse.

    base_index: the number of the base in a list of partitions. k: search the k nearest of each; 0:
    multiply the distances within the reaches of base and queries, if these are given; or else
    search which samples lie in the balls of the other side, whose radii are given. of_one_set: both
    are parts of one set, in which no sample is its own neighbor. one_way: search the k nearest base
    rows of the queries alone, with their numbers.
    """

    base_index: int
    queries: Partition
    k: int = 0
    base_radii: np.ndarray | None = None
    query_radii: np.ndarray | None = None
    count: bool = True
    realism_radii: np.ndarray | None = None
    of_one_set: bool = False
    reaches: tuple[float, float] | None = None
    one_way: bool = False

    def key(self, base: Partition) -> str:
        """Return a digest of all that the result depends on, which names its file."""
        radii = (self.base_radii, self.query_radii, self.realism_radii)
        digests = [None if a is None else sha256(a.tobytes()).hexdigest() for a in radii]
        same_values = base.digest == self.queries.digest
        settings = {
            "version": NEIGHBORS_VERSION,
            "k": self.k,
            "radii": digests,
            "count": self.count,
            "same": same_values,
            "of_one_set": self.of_one_set,
            "reaches": self.reaches,
            **({"one way": True} if self.one_way else {}),
        }
        return fingerprint({"base": base.digest, "queries": self.queries.digest, **settings})

    def problem_with(self, arrays: Arrays, base: Partition) -> str | None:
        """Return why arrays cannot be the result; None if they can."""
        if self.one_way:
            return problem_with_neighbors(arrays, (self.queries.rows, self.k), base.rows)
        if self.k:
            return problem_with_distances(
                arrays, (base.rows, self.k), all_finite=False, name="base_distances"
            ) or problem_with_distances(
                arrays, (self.queries.rows, self.k), all_finite=False, name="queries_distances"
            )
        if self.reaches:
            return problem_with_misses(arrays, "base", base.rows) or problem_with_misses(
                arrays, "queries", self.queries.rows
            )
        assert self.base_radii is not None
        radii, sizes = self.base_radii.shape[1], (self.queries.rows, base.rows)
        return problem_with_balls(arrays, "base", *sizes, radii) or problem_with_balls(
            arrays, "queries", *sizes[::-1], radii
        )


class LoadedPartition:
    """A partition in memory, prepared for searches."""

    def __init__(self, partition: Partition, engine: str) -> None:
        self.partition, self.search = partition, make_engine(engine)
        (self.prepared,) = self.search.prepare(partition.read())

    def find(self, pair: PartitionPair) -> Arrays:
        """Search the pair; return the result as arrays."""
        # A prepared set that is searched in itself leaves each sample out.
        is_itself = self.partition.is_same_part(pair.queries) and not pair.one_way
        if is_itself and (pair.of_one_set or not pair.k):
            queries = self.prepared
        else:
            queries = self.search.prepare_like(self.prepared, pair.queries.read())
        if pair.one_way:
            return to_arrays(self.search.nearest_neighbors(queries, self.prepared, pair.k))
        if pair.k:
            return self.find_nearest(queries, pair.k)
        if pair.reaches:
            of_queries, of_base = self.search.misses_both_directions(
                self.prepared, queries, *pair.reaches
            )
            return {"base_misses": of_base, "queries_misses": of_queries}
        return self.find_balls(queries, pair)

    def find_balls(self, queries: Any, pair: PartitionPair) -> Arrays:
        """Search which rows lie in which balls."""
        if pair.of_one_set and queries is self.prepared:
            in_base = self.search.balls_among_others(queries, pair.base_radii)
            in_queries = in_base.without_pairs()
        else:
            in_base, in_queries = self.search.balls_both_directions(
                self.prepared, queries, pair.base_radii, pair.query_radii,
                count=pair.count, realism_radii=pair.realism_radii,
            )  # fmt: skip
        sides = {"base": in_base, "queries": in_queries}
        return {
            f"{side}_{n}": a for side, part in sides.items() for n, a in to_arrays(part).items()
        }

    def find_nearest(self, queries: Any, k: int) -> Arrays:
        """Search the k nearest of the rows of both partitions, which are of one set."""
        if queries is self.prepared:
            of_base = of_queries = self.search.nearest(queries, queries, k)
        else:
            of_base, of_queries = self.search.nearest_both_directions(self.prepared, queries, k)
        return {"base_distances": of_base, "queries_distances": of_queries}


class Searcher:
    """Searches pairs, and keeps the base of the last pair in memory."""

    def __init__(self, engine: str) -> None:
        self.engine = engine
        self.base: LoadedPartition | None = None

    def find(self, partition: Partition, pair: PartitionPair) -> Arrays:
        """Search the pair in this base; return the result as arrays."""
        if self.base is None or self.base.partition != partition:
            self.base = None  # before the next one is read
            self.base = LoadedPartition(partition, self.engine)
        return self.base.find(pair)


class SearchActor(Searcher):
    """A `Searcher` with a process of its own, on the GPU that Ray reserved for it, if any."""

    def find(self, partition: Partition, pair: PartitionPair) -> Arrays:
        """Search the pair; raise InsufficientResources for a GPU that torch or FAISS cannot use."""
        if not reserved_gpus():
            return super().find(partition, pair)
        from raymetrics.devices.failures import end_process_if_device_lost  # loads torch

        require_usable_gpu(self.engine)
        with end_process_if_device_lost():
            return super().find(partition, pair)


def survey_views(
    *,
    real: View,
    generated: View,
    column: str,
    convention: Convention,
    needs: SurveyNeeds | None = None,
    max_rows: int | None = None,
    engine: str = DEFAULT_ENGINE,
    searched_k: int = 0,
) -> ManifoldSurvey:
    """Survey a column of two views, see `ManifoldSurvey`, by a convention.

    Searches on actors in a session of Ray, in this process without one, or if both sides fit into
    the driver's memory.

    needs: what is searched; by default the balls of every k of the convention, counted.
    max_rows: rows of a partition; by default as many as fit.
    engine: a name of ENGINES, which changes the time and no number.
    searched_k: search at least so many neighbors, where there are, so that what is kept beside the
    shards serves a later survey with this k.

    Raises NotEnoughData, or InsufficientResources before anything is read.
    """
    needs = needs or SurveyNeeds.of_convention(count=True)
    views = {"real": real, "generated": generated}
    counts = {side: len(view) for side, view in views.items()}
    require_enough_neighbors(counts, convention, needs)
    rows = max(len(real), len(generated))
    in_driver = max_rows is None and fits_in_driver(views, column)
    if not in_driver:
        rows = max_rows or partition_rows(real.shards.columns[column].dimension, rows)
    local = in_driver or not uses_ray()
    with closing(LocalSearch(engine) if local else ActorSearch(engine)) as search:
        sides = ViewSides(views, column, convention, rows, search, searched_k)
        return survey_sides(sides, counts, convention, needs)


class ViewSides:
    """Two views, searched partition by partition."""

    def __init__(
        self,
        views: Mapping[str, View],
        column: str,
        convention: Convention,
        max_rows: int,
        search: LocalSearch | ActorSearch,
        searched_k: int,
    ) -> None:
        self.views, self.column, self.convention = views, column, convention
        self.max_rows, self.search, self.searched_k = max_rows, search, searched_k
        self.engine = search.engine
        self.sizes = len(views["generated"]), len(views["real"])

    @cached_property
    def parts(self) -> Mapping[str, list[Partition]]:
        """The partitions of both sides."""
        return {
            side: partition_view(view, self.column, self.convention, self.max_rows)
            for side, view in self.views.items()
        }

    def nearest(self, side: str, k: int) -> np.ndarray:
        """Search one side in itself, or read what is kept."""
        view = self.views[side]
        larger = self.searched_k if k < self.searched_k < len(view) else k
        asked = replace(self.convention, k=larger)
        return _nearest_distances(view, self.column, asked, self.max_rows, self.search)[:, :k]

    def nearest_across(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Search each side in the other; keep nothing, as it is large."""
        generated, real = (np.full((size, k), np.inf) for size in self.sizes)
        pairs = [PartitionPair(*pair, k) for pair in self.pairs_across]
        for pair, arrays in find_pairs(pairs, self.parts["real"], None, self.search):
            base, queries = self.parts["real"][pair.base_index].view_slice, pair.queries.view_slice
            for whole, rows, side in ((real, base, "base"), (generated, queries, "queries")):
                found = NearestDistances(arrays[f"{side}_distances"])
                whole[rows] = NearestDistances(whole[rows]).merge(found).distances
        return real, generated

    def balls(
        self,
        real_radii: np.ndarray,
        generated_radii: np.ndarray,
        *,
        count: bool,
        realism_radii: np.ndarray | None,
    ) -> tuple[BallMembership, BallMembership]:
        """Search each side in the balls of the other."""
        radii = real_radii.shape[1]
        in_real = BallMembership.empty(*self.sizes, radii)
        in_generated = BallMembership.empty(*self.sizes[::-1], radii)
        pairs = [
            PartitionPair(
                base,
                queries,
                base_radii=real_radii[rows],
                query_radii=generated_radii[queries.view_slice],
                count=count,
                realism_radii=None if realism_radii is None else realism_radii[rows],
            )
            for base, queries in self.pairs_across
            for rows in [self.parts["real"][base].view_slice]
        ]
        for pair, arrays in self.find_pairs(pairs, "generated"):
            base, queries = self.parts["real"][pair.base_index].view_slice, pair.queries.view_slice
            found = [_balls_of_side(arrays, side) for side in ("base", "queries")]
            in_real = in_real.merge(found[0].embed(queries, base, self.sizes))
            in_generated = in_generated.merge(found[1].embed(base, queries, self.sizes[::-1]))
        return in_real, in_generated

    def balls_among_real(self, radii: np.ndarray) -> BallMembership:
        """Search the real side in its own balls: every two partitions meet once."""
        parts, sizes = self.parts["real"], (len(radii), len(radii))
        pairs = [
            PartitionPair(
                base,
                queries,
                base_radii=radii[parts[base].view_slice],
                query_radii=radii[queries.view_slice],
                of_one_set=True,
            )
            for base in range(len(parts))
            for queries in parts[base:]
        ]
        membership = BallMembership.empty(*sizes, radii.shape[1])
        for pair, arrays in self.find_pairs(pairs, "real"):
            base, queries = parts[pair.base_index].view_slice, pair.queries.view_slice
            for side, points, balls in (("base", queries, base), ("queries", base, queries)):
                found = _balls_of_side(arrays, side).embed(points, balls, sizes)
                membership = membership.merge(found)
        return membership

    def misses(self, real_reach: float, generated_reach: float) -> tuple[np.ndarray, np.ndarray]:
        """Multiply the distances of each side that the other reaches, in the order of the rows."""
        reaches = real_reach, generated_reach
        pairs = [PartitionPair(*pair, reaches=reaches) for pair in self.pairs_across]
        found = {
            (pair.base_index, pair.queries.first_row): (pair, arrays)
            for pair, arrays in self.find_pairs(pairs, "generated")
        }
        generated, real = (np.ones(size) for size in self.sizes)
        for _, (pair, arrays) in sorted(found.items(), key=lambda item: item[0]):
            real[self.parts["real"][pair.base_index].view_slice] *= arrays["base_misses"]
            generated[pair.queries.view_slice] *= arrays["queries_misses"]
        return generated, real

    @property
    def pairs_across(self) -> list[tuple[int, Partition]]:
        """Every real partition, by its number, with every generated one."""
        bases = range(len(self.parts["real"]))
        return [(base, queries) for base in bases for queries in self.parts["generated"]]

    def find_pairs(
        self, pairs: Sequence[PartitionPair], kept_beside: str
    ) -> Iterator[tuple[PartitionPair, Arrays]]:
        """Yield the result of every pair of a real base; keep it beside the shards of a side."""
        store = Store(f"{self.views[kept_beside].shards.uri}/{NEIGHBORS_FOLDER}")
        yield from find_pairs(pairs, self.parts["real"], store, self.search)


def _balls_of_side(pair_arrays: Arrays, side: str) -> BallMembership:
    """Return the balls of one side of a pair."""
    arrays = {
        name.removeprefix(side + "_"): a for name, a in pair_arrays.items() if name.startswith(side)
    }
    balls: BallMembership = from_arrays(BallMembership, arrays)
    return balls


def _nearest_distances(
    view: View,
    column: str,
    convention: Convention,
    max_rows: int,
    search: LocalSearch | ActorSearch,
) -> np.ndarray:
    """Return the distances of every sample to the nearest others of its set, float64 [n, max k].

    They are kept beside the shards under the digest of the set's values, and read from there if
    some of them are found again, see `distances_agree`.
    """
    store, k = Store(f"{view.shards.uri}/{NEIGHBORS_FOLDER}"), convention.ks[-1]
    blocks = partition_view(view, column, convention, min(max_rows, _CHECKED_ROWS))

    def find_problem(arrays: Arrays) -> str | None:
        return _problem_with_radii(arrays, view, column, convention, blocks)

    file = _radii_file_name(view, column, convention)
    stored = read_neighbor_file(store, file, find_problem)
    if stored is not None:
        return stored["distances"]
    parts = partition_view(view, column, convention, max_rows)
    pairs = [
        PartitionPair(base, queries, k, of_one_set=True)
        for base in range(len(parts))
        for queries in parts[base:]
    ]
    nearest_by_part = [NearestDistances.empty(partition.rows, k) for partition in parts]
    part_indices = {partition: i for i, partition in enumerate(parts)}
    for pair, arrays in find_pairs(pairs, parts, store if len(pairs) > 1 else None, search):
        sides = {pair.base_index: "base", part_indices[pair.queries]: "queries"}
        for index, side in sides.items():
            nearest = NearestDistances(arrays[f"{side}_distances"])
            nearest_by_part[index] = nearest_by_part[index].merge(nearest)
    distances = np.concatenate([nearest.distances for nearest in nearest_by_part])
    write_neighbor_file(store, file, {"distances": distances})
    return distances


def _radii_file_name(view: View, column: str, convention: Convention) -> str:
    """Return the name of the file of a view's radii, by all that they depend on."""
    values = {"values": view.digest(), "distances": convention.distances}
    key = fingerprint({"version": NEIGHBORS_VERSION, **values})[:24]
    return f"radii-{column}-k{convention.ks[-1]}-{key}.npz"


def _problem_with_radii(
    arrays: Arrays, view: View, column: str, convention: Convention, blocks: Sequence[Partition]
) -> str | None:
    """Return why arrays cannot be the distances of the view; None if they seem to be."""
    problem = problem_with_distances(arrays, (len(view), convention.ks[-1]), all_finite=True)
    if problem:
        return problem
    features = (partition.read() for partition in blocks)
    if distances_agree(arrays["distances"], view, column, convention, features):
        return None
    return "its distances are not those of the samples"


def partition_view(
    view: View, column: str, convention: Convention, max_rows: int, *, unit_length: bool = False
) -> list[Partition]:
    """Cut the view into partitions of at most `max_rows` rows, but at least one whole shard.

    unit_length: divide rows by their length.
    """
    partitions: list[Partition] = []
    for group in view.group_shards(max_rows):
        rows = sum(map(view.count, group))
        first_row = partitions[-1].view_slice.stop if partitions else 0
        values = {"values": view.digest(group), "column": column}
        values |= {"length": "unit"} if unit_length else {}
        digest = fingerprint({**values, "distances": convention.distances})
        uri, shards = view.shards.store.absolute_uri, tuple(group)
        partitions.append(
            Partition(
                uri, view.samples, shards, column, convention, first_row, rows, digest, unit_length
            )
        )
    return partitions


def find_pairs(
    pairs: Sequence[PartitionPair],
    partitions: Sequence[Partition],
    store: Store | None,
    search: LocalSearch | ActorSearch,
) -> Iterator[tuple[PartitionPair, Arrays]]:
    """Yield the result of every pair: first those in files, then the others as they are found."""
    missing = []
    for pair in pairs:
        file = f"cell-{pair.key(partitions[pair.base_index])}.npz"
        check = partial(pair.problem_with, base=partitions[pair.base_index])
        stored = read_neighbor_file(store, file, check) if store else None
        if stored is None:
            missing.append(pair)
        else:
            yield pair, stored
    for pair, arrays in search.find_all(missing, partitions):
        if store:
            write_neighbor_file(store, f"cell-{pair.key(partitions[pair.base_index])}.npz", arrays)
        yield pair, arrays


class LocalSearch:
    """Searches in this process, one pair after another."""

    def __init__(self, engine: str) -> None:
        self.engine, self.searcher = engine, Searcher(engine)

    def find_all(
        self, pairs: Sequence[PartitionPair], partitions: Sequence[Partition]
    ) -> Iterator[tuple[PartitionPair, Arrays]]:
        """Yield the result of every pair."""
        for pair in pairs:
            yield pair, self.searcher.find(partitions[pair.base_index], pair)

    def close(self) -> None:
        """Do nothing, as there are no actors."""


def require_usable_gpu(engine: str) -> None:
    """Raise InsufficientResources if the engine cannot use the GPU that Ray reserved."""
    from raymetrics.devices.failures import describe_build
    from raymetrics.distributed.devices import worker_device

    device = worker_device()
    if engine == "faiss-flat" and device.type == "cuda" and not count_gpus(load_faiss()):
        raise InsufficientResources(
            f"FAISS cannot use the GPU that was reserved for it ({describe_build()}): it is built "
            "for CPUs, or its CUDA needs another driver; take --engine tiles, which computes with "
            "torch, or install faiss-gpu"
        )


class ActorSearch:
    """Searches on actors, which are started with the first pair.

    Each actor takes pairs of one base until there are none, and then pairs of the base that has
    most left.
    """

    def __init__(self, engine: str) -> None:
        self.engine = engine
        self.actors: list[Any] = []
        self.starting: dict[Any, Any] = {}
        self.idle: list[tuple[Any, int]] = []  # an actor, and the number of its base

    def find_all(
        self, pairs: Sequence[PartitionPair], partitions: Sequence[Partition]
    ) -> Iterator[tuple[PartitionPair, Arrays]]:
        """Yield the result of every pair, as it is found."""
        import ray

        waiting: dict[int, deque[PartitionPair]] = defaultdict(deque)
        for pair in pairs:
            waiting[pair.base_index].append(pair)
        if pairs and not self.actors:
            self.start()
        busy: dict[Any, tuple[Any, PartitionPair]] = {}
        remaining = len(pairs)
        while remaining:
            while self.idle and any(waiting.values()):
                actor, loaded = self.idle.pop()
                base = loaded if waiting.get(loaded) else self.busiest_base(waiting, busy)
                pair = waiting[base].popleft()
                busy[actor.find.remote(partitions[base], pair)] = actor, pair
            done, _ = ray.wait([*busy, *self.starting], num_returns=1, timeout=NO_PROGRESS_SECONDS)
            if not done:
                raise RaymetricsError(
                    f"no actor has found anything for {NO_PROGRESS_SECONDS} s; what was found is "
                    "kept: see what else uses the cluster, and run the same command again"
                )
            if done[0] in self.starting:
                self.idle.append((self.starting.pop(done[0]), -1))
                continue
            actor, pair = busy.pop(done[0])
            arrays = ray.get(done[0])
            self.idle.append((actor, pair.base_index))
            remaining -= 1
            yield pair, arrays
        self.idle = [(actor, -1) for actor, _ in self.idle]  # the next call has other bases

    def busiest_base(
        self, waiting: dict[int, deque[PartitionPair]], busy: dict[Any, tuple[Any, PartitionPair]]
    ) -> int:
        """Return the base with the most pairs left for each actor that holds it."""
        holders = Counter(pair.base_index for _, pair in busy.values())
        return max(waiting, key=lambda base: (len(waiting[base]) / (1 + holders[base]), -base))

    def start(self) -> None:
        """Start the actors."""
        import ray

        count, cpus, gpus = search_resources()
        remote = ray.remote(
            num_cpus=cpus,
            num_gpus=gpus,
            max_restarts=MAX_RESTARTS,
            max_task_retries=MAX_RESTARTS,
        )
        self.actors = [remote(SearchActor).remote(self.engine) for _ in range(count)]
        # On a cluster that others use too, some may never start.
        self.starting = {actor.__ray_ready__.remote(): actor for actor in self.actors}

    def close(self) -> None:
        """End the actors."""
        import ray

        for actor in self.actors:
            ray.kill(actor)


def require_true_files(shards: ShardSet) -> None:
    """Raise ShardError, with the names, if files beside a set hold false neighbors."""
    false = false_files(shards)
    if false:
        raise ShardError(
            f"{len(false)} files in {shards.uri}/{NEIGHBORS_FOLDER} do not hold the neighbors that "
            f"they should: {', '.join(false)}; remove them: they are made again when they are "
            "needed"
        )


def false_files(shards: ShardSet) -> list[str]:
    """Return the names of files beside a set that hold false neighbors.

    Compares their digests; of the radii of the whole set it also finds some again.
    """
    store = Store(f"{shards.uri}/{NEIGHBORS_FOLDER}")
    names = [name for name in sorted(store.names()) if name.endswith(".npz")]
    return [name for name in names if _is_false(store, name, View.from_shards(shards))]


def _is_false(store: Store, name: str, view: View) -> bool:
    data = store.read(name)
    problem, arrays = parse_neighbor_file(data, name) if data is not None else (None, {})
    radii_request = None if problem else _parse_radii_name(name, view)
    if radii_request:
        column, convention = radii_request
        blocks = partition_view(view, column, convention, _CHECKED_ROWS)
        problem = _problem_with_radii(arrays, view, column, convention, blocks)
    return problem is not None


def _parse_radii_name(name: str, view: View) -> tuple[str, Convention] | None:
    """Return column and convention of a file of the view's radii; None for other files."""
    match = re.fullmatch(r"radii-(\w+)-k([1-9]\d{0,3})-[0-9a-f]{24}\.npz", name)
    if not match or match[1] not in view.shards.columns or not view.present:
        return None
    for distances in CHOICES["distances"]:
        convention = Convention(k=int(match[2]), distances=distances)  # type: ignore[arg-type]
        if _radii_file_name(view, match[1], convention) == name:
            return match[1], convention
    return None
