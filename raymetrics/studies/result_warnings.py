"""What a reader should know before trusting a number: facts of both sides that have misled papers.

Each check is a function from the facts to a sentence, or to None. A warning changes no number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from raymetrics.metrics import Convention
from raymetrics.metrics.metric import Metric
from raymetrics.shards.foreign import ReferenceStatistics
from raymetrics.shards.schema import Column
from raymetrics.shards.view import Selection, View

_LOSSY_ENDINGS = {".jpg", ".jpeg", ".webp"}
_EQUAL_COUNT_METRICS = ("pr", "dc")  # that are defined for equal counts
_FRECHET_METRICS = ("fid", "sfid", "fid-infinity", "fid-probabilities", "fdr", "mifid")
_FEW_SAMPLES = 10_000  # below which the bias of a Frechet distance is large in any space


@dataclass(frozen=True, eq=False)
class SideFacts:
    """The facts of one side: a view of shards, or statistics of another program."""

    source: View | ReferenceStatistics

    @property
    def view(self) -> View | None:
        """The view, None for statistics."""
        return self.source if isinstance(self.source, View) else None

    @property
    def count(self) -> int | None:
        """The number of samples; None where statistics do not say."""
        return len(self.source) if isinstance(self.source, View) else self.source.count

    @cached_property
    def labels(self) -> np.ndarray | None:
        """The labels in the order of sample ids, int64 [n]; None without."""
        view = self.view
        return view.labels() if view is not None and view.shards.spec.labels else None

    @cached_property
    def is_sorted_by_class(self) -> bool:
        """Whether the samples come class by class."""
        labels = self.labels
        if labels is None or len(labels) < 2:
            return False
        return labels[0] != labels[-1] and bool((np.diff(labels) >= 0).all())

    @cached_property
    def is_balanced(self) -> bool:
        """Whether every class has exactly as many samples."""
        labels = self.labels
        if labels is None:
            return False
        counts = np.unique(labels, return_counts=True)[1]
        return len(counts) > 1 and counts.min() == counts.max()

    @property
    def takes_first_ids(self) -> bool:
        """Whether the samples are the first ones of a larger set."""
        view = self.view
        if view is None or isinstance(view.samples, Selection):
            return False
        return len(view) < len(view.shards)

    def generator_field(self, *path: str) -> object:
        """Return a field of the generator's specification; None where there is none."""
        value: object = None if self.view is None else dict(self.view.shards.spec.generator)
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value


@dataclass(frozen=True, eq=False)
class Facts:
    """The facts of an evaluation of a metric in a column."""

    metric: Metric
    column: Column
    convention: Convention
    real: SideFacts
    generated: SideFacts

    @property
    def is_frechet(self) -> bool:
        """Whether the metric is a Frechet distance."""
        return self.metric.name in _FRECHET_METRICS

    @property
    def sides(self) -> tuple[tuple[str, SideFacts], ...]:
        """Both sides with their names."""
        return (("real", self.real), ("generated", self.generated))


def _sorted_splits(facts: Facts) -> str | None:
    """Warn of splits of the Inception Score that hold few classes each."""
    if facts.metric.name != "is" or facts.convention.is_shuffle is not None:
        return None
    if not facts.generated.is_sorted_by_class:
        return None
    return (
        "the samples are sorted by class and the splits are not shuffled, so that each holds few "
        "classes and the score is far too low; take a convention that shuffles: torch-fidelity"
    )


def _balanced_labels(facts: Facts) -> str | None:
    """Warn of a distance between exactly balanced and other classes."""
    if not facts.is_frechet or not facts.generated.is_balanced or facts.real.is_balanced:
        return None
    return (
        "the generated classes are exactly balanced, which lowers the distance against labels that "
        "are drawn at random; say so beside the number"
    )


def _few_samples(facts: Facts) -> str | None:
    """Warn of the bias of a Frechet distance of few samples."""
    counts = [facts_of_side.count for _, facts_of_side in facts.sides]
    known = [count for count in counts if count is not None]
    if not facts.is_frechet or not known:
        return None
    dimension = facts.column.dimension
    if min(known) <= dimension:
        return (
            f"{min(known)} samples in {dimension} dimensions: the covariance is singular, and most "
            "of the distance is bias; compare only equal counts, or take kid"
        )
    if min(known) < _FEW_SAMPLES:
        return (
            f"a distance of {min(known)} samples is biased upwards; compare only equal counts, and "
            "take 50,000 for a paper"
        )
    return None


def _unequal_counts(facts: Facts) -> str | None:
    """Warn of precision and recall of unequal counts."""
    if facts.metric.name not in _EQUAL_COUNT_METRICS:
        return None
    real, generated = facts.real.count, facts.generated.count
    if real == generated:
        return None
    return (
        f"{real} real against {generated} generated samples: precision and recall are defined for "
        "equal counts, and the larger side has the smaller balls; take --equal-counts"
    )


def _first_of_sorted(facts: Facts) -> str | None:
    """Warn of the first samples of a set that comes class by class."""
    for name, side in facts.sides:
        if side.takes_first_ids and side.is_sorted_by_class:
            return (
                f"the {name} samples are the first of a set that is sorted by class, so that "
                "classes are missing; choose them at random: --random-ids SEED"
            )
    return None


def _other_pixels(facts: Facts) -> str | None:
    """Warn of sides whose images have other sizes, or were resized in other ways."""
    if facts.real.view is None or facts.generated.view is None:
        return None
    sizes = [side.view.shards.spec.image_size for _, side in facts.sides if side.view]
    if None not in sizes and sizes[0] != sizes[1]:
        real, generated = (f"{size[1]} x {size[0]}" for size in sizes if size)
        return f"real images have {real} pixels and generated ones {generated}, which moves it"
    resizes = [side.generator_field("decoding", "resize") for _, side in facts.sides]
    if None not in resizes and resizes[0] != resizes[1]:
        return f"real images were resized by {resizes[0]}, generated ones by {resizes[1]}"
    return None


def _lossy_images(facts: Facts) -> str | None:
    """Warn of generated images that were stored as JPEG."""
    view = facts.generated.view
    lossy = sorted(_LOSSY_ENDINGS & {*view.shards.spec.encodings}) if view else []
    if not lossy:
        return None
    return (
        f"the generated images are {', '.join(lossy)} files, whose compression changes every "
        "number; store them as PNG"
    )


def _truncated_bytes(facts: Facts) -> str | None:
    """Warn of floats that were truncated to bytes."""
    rule = str(facts.generated.generator_field("uint8") or "")
    if not rule.endswith("truncate"):
        return None
    return f"floats became bytes by truncation ({rule}), half a grey level darker than by rounding"


def _mixed_machines(facts: Facts) -> str | None:
    """Warn of shards that several kinds of machine made."""
    for name, side in facts.sides:
        kinds = [] if side.view is None else side.view.shards.machine_kinds()
        if len(kinds) > 1:
            return (
                f"the {name} shards were made on {len(kinds)} kinds of machine, so that last bits "
                "may differ (raymetrics inspect names them); --same-machines refuses such sets"
            )
    return None


def _silent_statistics(facts: Facts) -> str | None:
    """Warn of statistics that do not say how they were made."""
    for name, side in facts.sides:
        if isinstance(side.source, ReferenceStatistics) and side.source.origin is None:
            return (
                f"the {name} statistics do not say which network, resize and crop they were made "
                "with; the number is right only if these are the same"
            )
    return None


_CHECKS: tuple[Callable[[Facts], str | None], ...] = (
    _sorted_splits,
    _balanced_labels,
    _few_samples,
    _unequal_counts,
    _first_of_sorted,
    _other_pixels,
    _lossy_images,
    _truncated_bytes,
    _silent_statistics,
    _mixed_machines,
)


def find_warnings(facts: Facts) -> tuple[str, ...]:
    """Return the warnings of a number, the gravest first."""
    return tuple(filter(None, (check(facts) for check in _CHECKS)))


def find_label_warnings(metric: Metric, real: int, generated: int) -> tuple[str, ...]:
    """Return the warnings of a number of one label with so many samples of each side.

    The sentence is the same for all labels, so that it is told once.
    """
    if metric.name not in _EQUAL_COUNT_METRICS or real == generated:
        return ()
    return (
        "labels have other counts of real than of generated samples: precision and recall are "
        "defined for equal counts; take --equal-counts",
    )
