"""The request of a heatmap: two shard sets, and a column whose features are means of a map."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from raymetrics import sample_ranges
from raymetrics.distributed.devices import use_deterministic_kernels, worker_device
from raymetrics.distributed.fold import fold_shards
from raymetrics.errors import ExtractorError, RaymetricsError, SampleRangeError, SourceError
from raymetrics.extractors import make_extractor, published_network
from raymetrics.extractors.base import Extractor, NetworkExtractor
from raymetrics.extractors.trial import TRIAL_SECONDS
from raymetrics.generators import Generator, absolute_source, open_source, quick_fingerprint
from raymetrics.metrics import Gaussian
from raymetrics.metrics.frechet_sensitivity import AddedSensitivity, Sensitivity
from raymetrics.permissions import Permission
from raymetrics.provenance import fingerprint
from raymetrics.shards.comparability import require_same_extractor, require_shared_extractors
from raymetrics.shards.layout import differences
from raymetrics.shards.open_view import open_view
from raymetrics.shards.schema import Column
from raymetrics.shards.shard_set import ShardSet
from raymetrics.shards.view import View
from raymetrics.statistics import ColumnStatistic, Histogram, Moments

CPU = torch.device("cpu")
_MAX_NAMED = 10  # ranges that an error names
_DEFAULT_CLASS_COUNT = 3  # of real classes that have means of their own


@dataclass(frozen=True, eq=False)
class HeatmapRequest:
    """Two sets, the column, and the source and the extractor of the generated set."""

    real: View
    generated: View
    column: Column
    source: tuple[str, str]  # of the generated set, with its quick fingerprint
    extractor: tuple[str, Mapping[str, object]]  # its text, with its specification

    @property
    def identity(self) -> dict[str, object]:
        """All that the heatmap of a sample depends on."""
        sides = {"real": self.real.digest(), "generated": self.generated.digest()}
        return {**sides, "column": self.column.name, "extractor": dict(self.extractor[1])}

    @property
    def class_names(self) -> tuple[str, ...]:
        """The class names of the network; empty without logits."""
        return tuple(self.generated.shards.spec.class_names.get(self.column.extractor, ()))

    @cached_property
    def moments(self) -> tuple[Gaussian, Moments]:
        """The Gaussian of the real features, and the moments of the generated ones."""
        real, generated = (
            _fold_column(view, self.column.name, _feature_moments)
            for view in (self.real, self.generated)
        )
        return Gaussian.from_moments(real, ddof=1), generated

    def member_sensitivity(self) -> Sensitivity:
        """Return the sensitivity of samples of the generated set."""
        return Sensitivity.for_members(*self.moments)

    def added_sensitivity(self) -> Sensitivity:
        """Return the sensitivity of other images, by the moments of the set without them."""
        return Sensitivity.for_new_images_approximately(*self.moments)

    def exact_sensitivity(self) -> AddedSensitivity:
        """Return the sensitivity of other images, by the moments of the set with each of them."""
        return AddedSensitivity.from_moments(*self.moments)

    def most_common_classes(self, count: int = _DEFAULT_CLASS_COUNT) -> list[int]:
        """Return the most common Top-1 classes of the real set; none without logits."""
        name = Column(self.column.extractor, "logits", 0).name
        if name not in self.real.shards.columns or not self.class_names:
            return []
        counts = _fold_column(self.real, name, _class_histogram).counts
        order = np.lexsort((np.arange(len(counts)), -counts))[:count]
        return [int(number) for number in order if counts[number]]

    def class_numbers(self, names: Sequence[str]) -> list[int]:
        """Return the numbers of classes by their names.

        Raises RaymetricsError for an unknown name.
        """
        return [_class_number(name, self.class_names) for name in dict.fromkeys(names)]

    def require_samples(self, wanted: Sequence[range] | None) -> np.ndarray:
        """Return sample ids int64 [n] in the wanted order, each once; by default 16 evenly spaced.

        Raises SampleRangeError for ids that the generated set lacks.
        """
        present = self.generated.sample_ids
        if wanted is None:
            return present[np.linspace(0, len(present) - 1, min(16, len(present))).astype(int)]
        parts = [present[slice(*np.searchsorted(present, [ids.start, ids.stop]))] for ids in wanted]
        self._require_whole(wanted, parts)
        sample_ids = np.concatenate(parts)
        _, first_rows = np.unique(sample_ids, return_index=True)
        return sample_ids[np.sort(first_rows)]

    def _require_whole(self, wanted: Sequence[range], parts: Sequence[np.ndarray]) -> None:
        """Raise SampleRangeError, with the ranges, where a range has more ids than were found."""
        broken = [ids for ids, part in zip(wanted, parts, strict=True) if len(part) < len(ids)]
        if not broken:
            return
        present = self.generated.sample_ids
        lacking = sample_ranges.count_ids(wanted) - sum(map(len, parts))
        names = ", ".join(map(sample_ranges.format_id_or_range, broken[:_MAX_NAMED]))
        raise SampleRangeError(
            f"{self.generated.shards.uri} lacks {lacking} of the samples {names}; it has "
            f"{len(present)} from {present[0]} to {present[-1]}"
        )

    @property
    def has_logits(self) -> bool:
        """Whether the network gives classes to images."""
        name = Column(self.column.extractor, "logits", 0).name
        return name in self.generated.shards.columns


def make_heatmap_request(
    *,
    real: str,
    generated: str,
    column: str | None = None,
    run_code: bool = False,
    any_size: bool = False,
) -> HeatmapRequest:
    """Check a request, load the network, and return the request.

    column: by default the only one that is the mean of a map.
    run_code: also open what the generated set names if it is a program, or lies on another machine;
    otherwise ProgramRefused is raised.
    any_size: allow images of another size than the real ones.

    Raises SpecMismatch for sets that cannot be compared, ExtractorError for a column that is not
    the mean of a map, SourceError if the generated set's source has changed.
    """
    sides = open_view(real), open_view(generated)
    if sides[1].repeats:
        raise RaymetricsError(
            f"{generated} was drawn with repetitions; heatmaps take every sample once"
        )
    _require_permission(sides[1].shards, Permission(run_code))
    map_column, extractor = _choose_map_column(sides[0].shards, sides[1].shards, column)
    sets = sides[0].shards, sides[1].shards
    require_same_extractor(*sets, map_column.extractor, any_size=any_size)
    return HeatmapRequest(*sides, map_column, _source_with_fingerprint(sides[1].shards), extractor)


def _require_permission(shards: ShardSet, permission: Permission) -> None:
    """Raise ProgramRefused if the source or an extractor of the set may not be run."""
    permission.require_source(shards.spec.source, shards.uri)
    for text in shards.spec.extractor_texts:
        permission.require_extractor(text, shards.uri)


def _choose_map_column(
    real: ShardSet, generated: ShardSet, name: str | None
) -> tuple[Column, tuple[str, Mapping[str, object]]]:
    """Return the column and its extractor. Raises ExtractorError unless exactly one fits."""
    shared_names = require_shared_extractors(real, generated)
    spec = generated.spec
    means: dict[str, tuple[Column, tuple[str, Mapping[str, object]]]] = {}
    for text, extractor_spec in zip(spec.extractor_texts, spec.extractors, strict=True):
        extractor_columns = [
            c
            for c in spec.columns
            if c.extractor == extractor_spec["name"] and c in real.spec.columns
        ]
        wanted = extractor_spec["name"] in shared_names and (
            name is None or name in [c.name for c in extractor_columns]
        )
        output = _mean_output(text, extractor_spec) if wanted else None
        means |= {
            c.name: (c, (text, extractor_spec)) for c in extractor_columns if c.output == output
        }
    column_names = ", ".join(c.name for c in spec.columns)
    if name is not None and name not in means:
        raise ExtractorError(
            f"column {name!r} is not the mean of a map in both sets; {generated.uri} has "
            f"{column_names}; take the features before the logits of a convolutional network"
        )
    if len(means) != 1:
        what = (
            f"{', '.join(means)}: name one, --column NAME" if means else f"none of {column_names}"
        )
        raise ExtractorError(f"the columns of both sets that are means of a map are {what}")
    return means[name or next(iter(means))]


def _mean_output(text: str, spec: Mapping[str, object]) -> str | None:
    """Return the output that is the mean of a map, None if the extractor has none.

    Raises ExtractorError if the extractor has changed.
    """
    extractor = load_verified_extractor(text, spec)
    if not isinstance(extractor, NetworkExtractor) or not extractor.has_map:
        return None
    return next(iter(published_network(extractor.network_name).outputs))


def _source_with_fingerprint(shards: ShardSet) -> tuple[str, str]:
    """Return the source of a set, with its quick fingerprint.

    Raises SourceError if the source has changed.
    """
    generator = open_source(shards.spec.source, CPU)
    if fingerprint(generator.spec) != fingerprint(shards.spec.generator):
        raise SourceError(
            f"{shards.spec.source} is no longer what {shards.uri} was made from; bring it back, or "
            "extract again to another place"
        )
    return shards.spec.source, quick_fingerprint(generator)


def load_verified_extractor(text: str, expected: Mapping[str, object]) -> Extractor:
    """Load the extractor on this machine's device; it computes the same bits every time.

    Raises ExtractorError if its specification is not the expected one.
    """
    use_deterministic_kernels()
    extractor = make_extractor(text, worker_device(), TRIAL_SECONDS)
    fields = differences(extractor.spec, expected)
    if fields:
        raise ExtractorError(
            f"{extractor.name} is no longer what the features were made by ({'; '.join(fields)}); "
            "bring code and weights in line, or extract again to another place"
        )
    return extractor


def open_added_source(text: str) -> tuple[tuple[str, str], Generator]:
    """Open a source whose images are added; return it with its quick fingerprint."""
    text = absolute_source(text)
    generator = open_source(text, CPU)
    return (text, quick_fingerprint(generator)), generator


def _fold_column(view: View, column: str, block_statistic: Any) -> Any:
    """Fold a statistic of a column over the view."""
    return fold_shards(view, {"found": ColumnStatistic(column, block_statistic)})["found"]


def _feature_moments(sample_ids: np.ndarray, values: np.ndarray) -> Moments:
    """Return the moments of a block of features."""
    return Moments.from_samples(values)


def _class_histogram(sample_ids: np.ndarray, values: np.ndarray) -> Histogram:
    """Return the Top-1 histogram of a block of logits."""
    return Histogram.from_samples(values)


def _class_number(name: str, names: Sequence[str]) -> int:
    """Return the number of the class with this name, in upper or lower case.

    Raises RaymetricsError, with similar names, for an unknown name.
    """
    lowered = [class_name.lower() for class_name in names]
    if name.lower() in lowered:
        return lowered.index(name.lower())
    close_names = difflib.get_close_matches(name.lower(), lowered, 3)
    hint = f"; did you mean {' or '.join(close_names)}?" if close_names else ""
    raise RaymetricsError(f"the network has no class {name!r} among {len(names)}{hint}")
