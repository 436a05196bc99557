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


def all_samples(views: Mapping[str, View]) -> Subset:
    """Return the subset of all samples of both sides."""
    return Subset(SampleIds(**{side: views[side].sample_ids for side in SIDES}))


def subsets_by_label(views: Mapping[str, View]) -> list[Subset]:
    """Return a subset for each label, ascending. SpecMismatch if the sides have different ones."""
    labels = _read_labels(views)
    dataset_spec = views["real"].shards.spec
    return [
        _subset_of_label(views, labels, label, dataset_spec)
        for label in np.unique(labels["real"]).tolist()
    ]


def _subset_of_label(
    views: Mapping[str, View],
    labels: Mapping[str, np.ndarray],
    label: int,
    dataset_spec: DatasetSpec,
) -> Subset:
    ids = {side: views[side].sample_ids[labels[side] == label] for side in SIDES}
    names = dataset_spec.label_names
    return Subset(
        SampleIds(**ids),
        restricted_sides=frozenset(SIDES),
        title=f"label {label_name(label, dataset_spec)}",
        fields={"label": label, "name": names[label] if names else str(label)},
        convention_fields={"label": label},
    )


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
