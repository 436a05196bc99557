"""Subsets: which samples of both sides a number is computed from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from raymetrics.errors import SpecMismatch
from raymetrics.metrics.required_statistics import SampleIds
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.view import View

SIDES = ("real", "generated")


@dataclass(frozen=True, eq=False)
class Subset:
    """Some samples of both sides: those with a label, or a draw; or all samples.

    Subsets are compared by identity, as their ids may be many.
    """

    samples: SampleIds
    restricted_sides: frozenset[str] = frozenset()  # on the others these are all samples
    title: str = ""  # "label 3 (cat)", with which the label of a result ends
    fields: Mapping[str, Any] = field(default_factory=dict)  # for `Result.subset`
    convention_fields: Mapping[str, Any] = field(default_factory=dict)  # for `Result.convention`
    seed: int = 0  # is added to the seed of the convention


def all_samples(views: Mapping[str, View], equal_counts_seed: int | None = None) -> Subset:
    """Return the subset of all samples of both sides.

    equal_counts_seed: by which the views were cut to equal counts, if they were.
    """
    samples = SampleIds(**{side: views[side].sample_ids for side in SIDES})
    return Subset(samples, convention_fields=_equal_counts_fields(equal_counts_seed))


def subsets_by_label(
    views: Mapping[str, View], equal_counts_seed: int | None = None
) -> list[Subset]:
    """Return a subset for each label, ascending. SpecMismatch if the sides have different ones.

    equal_counts_seed: cut both sides of each label to the smaller count, by this seed.
    """
    labels = _read_labels(views)
    dataset_spec = views["real"].shards.spec
    return [
        _subset_of_label(views, labels, label, dataset_spec, equal_counts_seed)
        for label in np.unique(labels["real"]).tolist()
    ]


def _subset_of_label(
    views: Mapping[str, View],
    labels: Mapping[str, np.ndarray],
    label: int,
    dataset_spec: DatasetSpec,
    equal_counts_seed: int | None,
) -> Subset:
    ids = {side: views[side].sample_ids[labels[side] == label] for side in SIDES}
    if equal_counts_seed is not None:
        ids = _cut_ids(ids, equal_counts_seed)
    names = dataset_spec.label_names
    return Subset(
        SampleIds(**ids),
        restricted_sides=frozenset(SIDES),
        title=f"label {label_name(label, dataset_spec)}",
        fields={"label": label, "name": names[label] if names else str(label)},
        convention_fields={"label": label, **_equal_counts_fields(equal_counts_seed)},
    )


def _cut_ids(ids: Mapping[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Return the ids of both sides, cut to the smaller count as `View.choose` chooses samples."""
    count = min(map(len, ids.values()))
    return {
        side: side_ids
        if len(side_ids) == count
        else np.sort(np.random.default_rng(seed).choice(side_ids, count, replace=False))
        for side, side_ids in ids.items()
    }


def _equal_counts_fields(seed: int | None) -> dict[str, str]:
    """Return what the convention of a result says of equal counts; nothing without them."""
    return {} if seed is None else {"equal_counts": f"the smaller side's, seed {seed}"}


def label_name(label: int, dataset_spec: DatasetSpec) -> str:
    """Return "3", or "3 (cat)" where the labels have names."""
    return (
        f"{label} ({dataset_spec.label_names[label]})" if dataset_spec.label_names else str(label)
    )


def _read_labels(views: Mapping[str, View]) -> dict[str, np.ndarray]:
    """Read the labels of both sides. SpecMismatch if the sides have different ones."""
    names = {side: view.shards.spec.label_names for side, view in views.items()}
    if all(names.values()) and names["real"] != names["generated"]:
        raise SpecMismatch(
            f"the labels 0, 1, ... of {views['real'].shards.uri} are "
            f"{_first_names(names['real'])}, those of {views['generated'].shards.uri} are "
            f"{_first_names(names['generated'])}; both must have the same to be compared label by "
            "label"
        )
    labels = {side: view.labels() for side, view in views.items()}
    real_labels, generated_labels = (set(np.unique(labels[side]).tolist()) for side in SIDES)
    if real_labels != generated_labels:
        raise SpecMismatch(
            f"labels {sorted(real_labels - generated_labels)} are only in "
            f"{views['real'].shards.uri}, {sorted(generated_labels - real_labels)} only in "
            f"{views['generated'].shards.uri}; both must have the same to be compared label by "
            "label"
        )
    return labels


def _first_names(names: Sequence[str]) -> str:
    """Join the first eight names."""
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
