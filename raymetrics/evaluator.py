"""Compute metrics of images that come batch by batch, as in a training loop, without files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from raymetrics.errors import ExtractorError, NotEnoughData, RaymetricsError
from raymetrics.extractors import Extractor, make_extractor
from raymetrics.feature_states import FeatureState
from raymetrics.fixed_batches import run_in_fixed_batches
from raymetrics.generators.uint8_rules import RULES, require_finite, to_uint8
from raymetrics.metrics import Convention, get_convention
from raymetrics.metrics.metric import Metric, MetricValue
from raymetrics.metrics.registry import find_metrics
from raymetrics.metrics.required_statistics import FeatureMoments, SampleIds
from raymetrics.neighbors import survey_arrays
from raymetrics.neighbors.nearest_arrays import nearest_training_rows
from raymetrics.python_arguments import as_names
from raymetrics.shards.foreign import ReferenceStatistics
from raymetrics.shards.schema import Column, make_columns
from raymetrics.shards.shard_set import ShardSet
from raymetrics.shards.view import View
from raymetrics.shards.write_features import write_features
from raymetrics.studies.comparison import find_space, require_no_validation
from raymetrics.studies.open_sides import open_side

_SIDES = ("real", "generated")


class Evaluator:
    """Compute metrics of images that are given batch by batch, in the manner of torchmetrics.

        evaluator = Evaluator(extractor="inception", metrics="fid", real="shards/real")
        for images in generated_batches:
            evaluator.update(images)
        print(evaluator.compute())  # {"frechet_distance": 12.3}

    Of the features it remembers the moments if those are enough for the metrics ("fid", "sfid"),
    and the features themselves otherwise; never an image.

    extractor: as in `extract`, or an extractor made by `raymetrics.extractors.make_extractor`.
    metrics: names as in `evaluate`.
    real: the real side, if it exists already: a shard set by the same extractor, or statistics of
    another program (for "fid" and "sfid").
    convention: a `Convention`, or the name of a program whose choices are repeated.
    uint8: the rule by which images of floats become bytes: "nvidia", "signed-truncate" and "biggan"
    from -1..1, "unit-round" and "unit-truncate" from 0..1. Without a rule, floats are refused.
    keep_features: remember all features, so that `save_shards` can write them.
    device: where the network runs; by default the current GPU, or the CPU.

    Under torch.distributed every rank updates with images of its own, and `compute` is called on
    every rank: it gathers the states, in the order of the ranks, so that all ranks return the same
    numbers.
    """

    def __init__(
        self,
        extractor: str | Extractor = "inception",
        metrics: str | Sequence[str] = "fid",
        *,
        real: object = None,
        convention: Convention | str = "raymetrics",
        uint8: str | None = None,
        keep_features: bool = False,
        device: torch.device | str | None = None,
    ) -> None:
        if uint8 is not None and uint8 not in RULES:
            raise RaymetricsError(f"no uint8 rule {uint8!r}; there are {', '.join(RULES)}")
        self.uint8 = uint8
        self.convention = get_convention(convention) if isinstance(convention, str) else convention
        self.metrics = find_metrics(as_names(metrics))
        require_no_validation(self.metrics)
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.extractor = (
            make_extractor(extractor, self.device) if isinstance(extractor, str) else extractor
        )
        columns = make_columns(self.extractor.name, self.extractor.columns)
        self.columns = {column.name: column for column in columns}
        self._tasks = self._plan_tasks()
        rows = {column.name for metric, column in self._tasks if not metric.moments_suffice}
        self._row_columns = frozenset(self.columns if keep_features else rows)
        self._keep_features = keep_features
        self._reference: View | ReferenceStatistics | None = None
        if real is not None:
            self._reference = self._open_reference(real)
        self.states: dict[str, FeatureState] = {}
        self._pending: dict[str, list[np.ndarray]] = {}
        self.reset()

    def _plan_tasks(self) -> list[tuple[Metric, Column]]:
        """Return each metric with each column that it takes. RaymetricsError for one without."""
        network = str(self.extractor.spec.get("network", self.extractor.name))
        tasks = []
        for metric in self.metrics:
            fitting = [
                (metric, column)
                for column in self._columns_of_space(metric)
                if metric.applies_to(column.output, network, explicit=False)
            ]
            if not fitting:
                raise RaymetricsError(
                    f"{metric.name} takes a column of {metric.column_kind}; there are "
                    f"{', '.join(self.columns)}"
                )
            tasks += fitting
        return tasks

    def _columns_of_space(self, metric: Metric) -> list[Column]:
        """Return the columns that the metric is bound to; all, if it is not bound."""
        columns = list(self.columns.values())
        return columns if metric.space is None else find_space(metric.space, columns)

    def _open_reference(self, real: object) -> View | ReferenceStatistics:
        """Return the real side. RaymetricsError if it has other features than the extractor."""
        opened = open_side("real", real, None)
        if isinstance(opened, View):
            specs = {spec["name"]: spec for spec in opened.shards.spec.extractors}
            spec = dict(specs.get(self.extractor.name, {}))
            expected = dict(self.extractor.spec)
            if {**spec, "columns": None} != {**expected, "columns": None}:
                raise RaymetricsError(
                    f"{opened.shards.uri} has features of {', '.join(map(str, specs))}, not those "
                    f"of {self.extractor.name} as it is here; extract it with this extractor"
                )
            return opened
        if not isinstance(opened, ReferenceStatistics):
            raise RaymetricsError(
                f"real is {opened.source!r}, a source; update with its images and real=True, or "
                "extract it first and name the shard set"
            )
        if self._row_columns or len(self._tasks) > 1 or len(opened.gaussians) > 1:
            raise RaymetricsError(
                f"{opened.uri} holds a mean and a covariance; expected one metric that these are "
                "enough for: metrics='fid', and an extractor with one column of features"
            )
        return opened

    def update(self, images: Any, *, real: bool = False) -> None:
        """Add images of one side.

        images: uint8 [n, 3, h, w], an array or a tensor on any device; or floats, with a rule
        `uint8`. real: whether they are real ones. ExtractorError for other images.
        """
        if real and self._reference is not None:
            raise RaymetricsError("the real side was given when the evaluator was made")
        side = _SIDES[0 if real else 1]
        pending = self._pending[side]
        pending.extend(self._as_bytes(images))
        block = self.extractor.block
        while len(pending) >= block:
            self._extract(side, pending[:block])
            del pending[:block]

    def _as_bytes(self, images: Any) -> np.ndarray:
        """Return images uint8 [n, 3, h, w] as an array."""
        if self.uint8 is None:
            tensor = images.detach().cpu() if isinstance(images, torch.Tensor) else images
            array = tensor.numpy() if isinstance(tensor, torch.Tensor) else np.asarray(tensor)
        else:
            tensor = torch.as_tensor(images).detach()
            outputs = to_uint8(tensor, RULES[self.uint8])
            array = require_finite(outputs, np.arange(len(tensor)), "a batch").cpu().numpy()
        if array.dtype != np.uint8 or array.ndim != 4 or array.shape[1] != 3:
            rule = f"; name their rule: uint8='{next(iter(RULES))}'"
            hint = rule if array.dtype.kind == "f" else ""
            raise ExtractorError(
                f"images are {array.dtype} {list(array.shape)}, expected uint8 [n, 3, height, "
                f"width]{hint}"
            )
        return array

    def _extract(self, side: str, images: list[np.ndarray]) -> None:
        outputs = run_in_fixed_batches(
            self.extractor, np.arange(len(images)), np.stack(images), self.extractor.block
        )
        features = {column.name: outputs[column.output] for column in self.columns.values()}
        used = {column.name for _, column in self._tasks} | self._row_columns
        self.states[side].add({name: features[name] for name in sorted(used)})

    def save_shards(self, folder: str, *, real: bool = False) -> ShardSet:
        """Write the features of one side as a shard set, which every command takes.

        Takes keep_features=True. StorageError if the folder is not empty.
        """
        self._flush()
        side = _SIDES[0 if real else 1]
        state = self.states[side]
        if not self._keep_features or not state.count:
            raise RaymetricsError(
                f"there are no {side} features to write; make the evaluator with "
                "keep_features=True, and update it with images"
            )
        return write_features(
            folder,
            list(self.columns.values()),
            self.extractor.spec,
            {name: state.rows(name) for name in self.columns},
            file=self.extractor.file,
            class_names=self.extractor.class_names,
        )

    def _flush(self) -> None:
        """Extract the images that wait for a whole block."""
        for side, pending in self._pending.items():
            if pending:
                self._extract(side, pending)
                pending.clear()

    def compute(self) -> dict[str, float]:
        """Return the metrics of all images so far, over all ranks, by name.

        The names are those of `Result.metric`; with several k or columns, these follow. A spread
        stands beside its metric, as "kernel_distance_std". NotEnoughData for too few images.
        """
        numbers: dict[str, float] = {}
        values = list(self.values())
        for column, value in values:
            name = _number_name(value, column, [v for _, v in values])
            numbers[name] = value.value
            if value.spread is not None:
                numbers[f"{name}_std"] = value.spread
        return numbers

    def values(self) -> list[tuple[Column, MetricValue]]:
        """Return the metrics as `compute` does, with their conventions and details."""
        self._flush()
        states = _gather_states(self.states, self._row_columns)
        counts = {side: states[side].count for side in _SIDES}
        if isinstance(self._reference, View):
            counts["real"] = len(self._reference)
        computed = []
        for metric, column in self._tasks:
            for side, count in counts.items():
                needed = metric.min_samples(self.convention)
                if count < needed and not isinstance(self._reference, ReferenceStatistics):
                    raise NotEnoughData(
                        f"{metric.name} takes at least {needed} samples, there are {count} {side} "
                        "ones; update with more images"
                    )
            computed += [(column, value) for value in self._compute_metric(metric, column, states)]
        return computed

    def _compute_metric(
        self, metric: Metric, column: Column, states: Mapping[str, FeatureState]
    ) -> list[MetricValue]:
        if metric.moments_suffice and column.name not in self._row_columns:
            sides = {side: {"moments": self._moments(side, column, states)} for side in _SIDES}
            assert metric.compute is not None  # as moments suffice
            return metric.compute(sides["real"], sides["generated"], _NO_IDS, self.convention)
        rows = {side: self._rows(side, column, states) for side in _SIDES}
        return compute_from_rows(metric, rows["real"], rows["generated"], self.convention)

    def _moments(self, side: str, column: Column, states: Mapping[str, FeatureState]) -> Any:
        if side == "generated" or self._reference is None:
            return states[side].moments[column.name]
        if isinstance(self._reference, View):
            blocks = (self._reference.block(s, [column.name]) for s in self._reference.present)
            parts = [FeatureMoments()(b["sample_id"], b[column.name]) for b in blocks]
            merged = parts[0]
            for part in parts[1:]:
                merged = merged.merge(part)
            return merged
        return next(iter(self._reference.gaussians.values()))

    def _rows(self, side: str, column: Column, states: Mapping[str, FeatureState]) -> np.ndarray:
        if side == "real" and isinstance(self._reference, View):
            return self._reference.read(column.name)
        return states[side].rows(column.name)

    def reset(self, *, real: bool = True) -> None:
        """Forget all images; with real=False only the generated ones."""
        for side in _SIDES if real else _SIDES[1:]:
            self.states[side] = FeatureState(self._row_columns)
            self._pending[side] = []

    def merge(self, addend: Evaluator) -> None:
        """Add the images of another evaluator with the same extractor and metrics."""
        for evaluator in (self, addend):
            evaluator._flush()
        for side in _SIDES:
            self.states[side].merge(addend.states[side])

    def state_dict(self) -> dict[str, dict[str, torch.Tensor]]:
        """Return what is remembered of both sides, as tensors that torch.save takes."""
        self._flush()
        return {
            side: {name: torch.from_numpy(value) for name, value in state.to_arrays().items()}
            for side, state in self.states.items()
        }

    def load_state_dict(self, state_dict: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
        """Continue from the state of an evaluator with the same extractor and metrics."""
        self.reset()
        for side in _SIDES:
            arrays = {name: value.numpy() for name, value in state_dict[side].items()}
            self.states[side] = FeatureState.from_arrays(arrays, self._row_columns)


_NO_IDS = SampleIds(real=np.empty(0, np.int64), generated=np.empty(0, np.int64))


def compute_from_rows(
    metric: Metric, real: np.ndarray, generated: np.ndarray, convention: Convention
) -> list[MetricValue]:
    """Compute a metric from all features of both sides, float32 [n, d] and [m, d]."""
    samples = SampleIds.of_rows(real, generated)
    rows = {"real": real, "generated": generated}
    if metric.survey_values is not None:
        needs = metric.survey_needs(samples, convention)
        survey = survey_arrays(real=real, generated=generated, convention=convention, needs=needs)
        statistics = {} if metric.needs is None else _statistics(metric, samples, rows, convention)
        return metric.survey_values(survey, samples, convention, **statistics)
    if metric.nearest_values is not None:
        nearest = nearest_training_rows(real=real, generated=generated)
        return metric.nearest_values(nearest, samples, convention)
    assert metric.compute is not None
    statistics = _statistics(metric, samples, rows, convention)
    return metric.compute(statistics["real"], statistics["generated"], samples, convention)


def _statistics(
    metric: Metric, samples: SampleIds, rows: Mapping[str, np.ndarray], convention: Convention
) -> dict[str, Mapping[str, Any]]:
    """Compute the statistics of both sides that a metric needs."""
    assert metric.needs is not None
    return {
        side: {
            name: function(samples.for_side(side), side_rows)
            for name, function in metric.needs(samples, side, convention).items()
        }
        for side, side_rows in rows.items()
    }


def _number_name(value: MetricValue, column: Column, values: Sequence[MetricValue]) -> str:
    """Return the name of a number: the metric, and what tells it from others of its name."""
    peers = [peer for peer in values if peer.metric == value.metric]
    parts = [value.metric]
    for key in ("k", "samples"):
        if len({str(peer.convention.get(key)) for peer in peers}) > 1:
            parts.append(f"{key}{value.convention[key]}")
    distinct = len({str([peer.convention.get(key) for key in ("k", "samples")]) for peer in peers})
    return "_".join(parts if distinct == len(peers) else [*parts, column.name])


def _gather_states(
    states: Mapping[str, FeatureState], row_columns: frozenset[str]
) -> Mapping[str, FeatureState]:
    """Return the states of all ranks of torch.distributed, merged in the order of the ranks."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return states
    gathered: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(
        gathered, {side: state.to_arrays() for side, state in states.items()}
    )
    merged = {side: FeatureState(row_columns) for side in states}
    for rank_states in gathered:
        for side, arrays in rank_states.items():
            merged[side].merge(FeatureState.from_arrays(arrays, row_columns))
    return merged
