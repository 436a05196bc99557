"""The nearest training sample of every generated one, and whether generated samples are copies."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raymetrics.distributed.memory_limits import fits_in_driver
from raymetrics.distributed.nearest_views import nearest_training, nearest_views
from raymetrics.distributed.session import session, shared_session
from raymetrics.errors import RaymetricsError
from raymetrics.metrics import Convention, neighbor_ratios
from raymetrics.metrics.metric import MetricValue
from raymetrics.metrics.registry.memorization_metrics import auth_pct_values
from raymetrics.metrics.required_statistics import SampleIds
from raymetrics.neighbors import DEFAULT_ENGINE
from raymetrics.python_arguments import as_names
from raymetrics.results import Result
from raymetrics.shards.shard_set import ShardSet
from raymetrics.shards.store import Store
from raymetrics.shards.view import View
from raymetrics.shards.writable import require_writable_store
from raymetrics.statistics import NearestNeighbors
from raymetrics.studies.comparison import MetricTask, open_as_view, set_uri
from raymetrics.studies.nearest.copying_test import copying_test
from raymetrics.studies.nearest.numbers import (
    closest_pairs,
    copying_value,
    cosine_value,
    ratio_value,
)
from raymetrics.studies.nearest.request import NearestRequest, find_threshold, plan_columns
from raymetrics.studies.realism import result_for_views

NEAREST_FILE = "nearest.parquet"


@dataclass(frozen=True)
class NearestResults:
    """Numbers of `nearest`, and the file of the nearest training samples.

    path: of nearest.parquet: sample_id, and for every column nearest_id_COLUMN, distance_COLUMN,
    ratio_COLUMN, and cosine_COLUMN where features are of unit length.
    """

    results: list[Result]
    path: str


def nearest(
    *,
    real: str | ShardSet,
    generated: str | ShardSet,
    to: str,
    test: str | ShardSet | None = None,
    extractors: str | Sequence[str] | None = None,
    columns: str | Sequence[str] | None = None,
    neighbors: int = 50,
    threshold: float | None = None,
    normalize: bool = False,
    count: int = 24,
    seed: int = 0,
    any_size: bool = False,
    engine: str = DEFAULT_ENGINE,
    tell: Callable[[list[Result]], None] | None = None,
    local: bool | None = None,
) -> NearestResults:
    """Find the nearest training sample of every generated one, in every space that both have.

    real, generated: complete shard sets, or some of their samples as "SHARDS?ids=FILE"; the real
    ones are those of the training set.
    to: a folder or a prefix for nearest.parquet.
    test: a set of held-out real samples, for C_T (Meehan et al. 2020).
    extractors, columns: only these spaces.
    neighbors: the distance to the nearest one is compared with the mean of the distances to the
    others of so many.
    threshold: count the samples with a greater cosine to a training sample; by default 0.5 in
    spaces of unit length, such as that of SSCD, and not in others.
    normalize: divide features by their length first, in every space.
    count: how many of the closest pairs the results and the page have.
    seed: of the clusters of C_T.
    any_size: also compare sets whose images have different sizes.
    engine: how neighbors are searched, a name of `raymetrics.neighbors.ENGINES`, for time alone.
    tell: called with the numbers before the file is written.
    local: compute in this process, without Ray.

    Exact; of equally near training samples the one with the smallest id. Searches the training set
    part by part, and keeps what is found beside the generated shards: a run that was killed goes on
    from there. Raises what `evaluate` does; RaymetricsError for sides with common samples, and if
    every generated sample is a copy. Of arrays: `raymetrics.in_memory.nearest`.
    """
    request = NearestRequest(neighbors, threshold, normalize, count, seed, engine)
    require_writable_store(to)
    sides = {"real": real, "generated": generated} | ({} if test is None else {"test": test})
    views = {name: open_as_view(set_uri(name, side)) for name, side in sides.items()}
    extractor_names, column_names = (
        None if names is None else as_names(names) for names in (extractors, columns)
    )
    tasks = plan_columns(views, request, extractor_names, column_names, any_size=any_size)
    thresholds = {t.column.name: find_threshold(views, t.column.name, request) for t in tasks}
    results: list[Result] = []
    arrays = {"sample_id": views["generated"].sample_ids}
    with shared_session(local=local):
        for task in tasks:
            search = _ColumnSearch(views, task, request, thresholds[task.column.name])
            with session(local=search.is_small or local):
                results += search.results()
            arrays |= search.arrays
    if tell:
        tell(results)
    path = f"{to}/{NEAREST_FILE}"
    _write_table(path, arrays)
    return NearestResults(results, path)


class _ColumnSearch:
    """The search in one column, and its numbers."""

    def __init__(
        self,
        views: Mapping[str, View],
        task: MetricTask,
        request: NearestRequest,
        threshold: float | None,
    ) -> None:
        self.views, self.task, self.request, self.threshold = views, task, request, threshold
        self.real, self.generated = views["real"], views["generated"]
        self.column = task.column.name
        self.arrays: dict[str, np.ndarray] = {}  # filled in by `results`

    @property
    def is_small(self) -> bool:
        """Whether this process searches by itself."""
        return fits_in_driver({"real": self.real, "generated": self.generated}, self.column)

    def results(self) -> list[Result]:
        """Search, and compute the numbers. RaymetricsError if all generated samples are copies."""
        start = time.monotonic()
        request = self.request
        found = nearest_views(
            queries=self.generated,
            base=self.real,
            column=self.column,
            k=request.neighbors,
            unit_length=request.normalize,
            engine=request.engine,
        )
        self._require_other_samples(found)
        self._fill_arrays(found)
        values = self._values(found)
        seconds = time.monotonic() - start
        convention = Convention(seed=request.seed)
        return [
            result_for_views(value, self.task, self.real, self.generated, convention, seconds)
            for value in values
        ]

    def _values(self, found: NearestNeighbors) -> list[MetricValue]:
        request, fields = self.request, {"engine": self.request.engine}
        if request.normalize:
            fields["lengths"] = "all 1"
        nearest = nearest_training(
            real=self.real,
            generated=self.generated,
            column=self.column,
            nearest=found,
            unit_length=request.normalize,
            engine=request.engine,
        )
        ids = self.generated.sample_ids, self.real.sample_ids
        samples = SampleIds(real=ids[1], generated=ids[0])
        (authentic,) = auth_pct_values(nearest, samples, Convention(), "dgm-eval")
        values = [
            MetricValue(**{**vars(authentic), "convention": {**fields, **authentic.convention}}),
            ratio_value(found, closest_pairs(found, *ids, request.count), fields),
        ]
        if self.threshold is not None:
            cosines = self.arrays[f"cosine_{self.column}"]
            values.append(cosine_value(cosines, self.threshold, fields))
        if "test" in self.views:
            values.append(self._copying_value(fields))
        return values

    def _copying_value(self, fields: dict[str, str]) -> MetricValue:
        request, test = self.request, self.views["test"]
        copying = copying_test(
            self.views,
            self.column,
            seed=request.seed,
            unit_length=request.normalize,
            engine=request.engine,
        )
        held_out = {"test": test.shards.store.absolute_uri, "test samples": len(test)}
        return copying_value(copying, request.seed, {**fields, **held_out})

    def _require_other_samples(self, found: NearestNeighbors) -> None:
        if not found.distances[:, 0].any():
            raise RaymetricsError(
                f"all {len(self.generated)} generated samples of {self.generated.shards.uri} are "
                f"training samples of {self.real.shards.uri} (distance 0 in {self.column}); give "
                "the samples of a generator"
            )

    def _fill_arrays(self, found: NearestNeighbors) -> None:
        """Keep what the file has of the column, of every generated sample."""
        distances = found.distances[:, 0]
        self.arrays = {
            f"nearest_id_{self.column}": self.real.sample_ids[found.rows[:, 0]],
            f"distance_{self.column}": distances,
            f"ratio_{self.column}": neighbor_ratios(found.distances),
        }
        if self.threshold is not None:
            self.arrays[f"cosine_{self.column}"] = 1 - np.square(distances) / 2


def _write_table(path: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays [n] as a Parquet file; NaN becomes null."""
    columns = {name: pa.array(values, from_pandas=True) for name, values in arrays.items()}
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    name = path.rpartition("/")[2]
    Store(path.removesuffix(name) or ".").replace(name, buffer.getvalue())
