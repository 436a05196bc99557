"""What a heatmap is asked of: two shard sets, and a column whose features are means of a map."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import ray
import torch

from raymetrics import sample_ranges
from raymetrics.distributed.devices import device, reproducible
from raymetrics.distributed.fold import fold_group, fold_shards, groups
from raymetrics.errors import ExtractorError, RangeError, RaymetricsError, SourceError
from raymetrics.extractors import architecture, make_extractor
from raymetrics.extractors.base import Extractor, NetworkExtractor
from raymetrics.extractors.trial import SECONDS
from raymetrics.fixed_batches import in_blocks
from raymetrics.generators import Generator, absolute, listing, open_source
from raymetrics.metrics import Gaussian
from raymetrics.metrics.frechet_sensitivity import Sensitivity
from raymetrics.permissions import Permission
from raymetrics.provenance import fingerprint
from raymetrics.shards.comparability import require_alike, require_some_shared
from raymetrics.shards.layout import differences
from raymetrics.shards.open_view import open_view
from raymetrics.shards.schema import Column
from raymetrics.shards.shard_set import ShardSet
from raymetrics.shards.view import View
from raymetrics.statistics import Histogram, Measure, Moments, merge_all

CPU = torch.device("cpu")
COMMONEST = 3  # real classes that have means of their own


@dataclass(frozen=True, eq=False)
class HeatRequest:
    """Two sets, the column, and what makes images and features again."""

    real: View
    generated: View
    column: Column
    source: tuple[str, str]  # of the generated set, with its listing
    extractor: tuple[str, Mapping[str, object]]  # as it was asked for, with its specification

    @property
    def identity(self) -> dict[str, object]:
        """All that a heatmap of a sample depends on."""
        sides = {"real": self.real.digest(), "generated": self.generated.digest()}
        return {**sides, "column": self.column.name, "extractor": dict(self.extractor[1])}

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the network; empty without logits."""
        return tuple(self.generated.shards.spec.class_names.get(self.column.extractor, ()))

    @cached_property
    def moments(self) -> tuple[Gaussian, Moments]:
        """Of the real and of the generated features."""
        real, generated = (
            folded(view, self.column.name, moments_of) for view in (self.real, self.generated)
        )
        return Gaussian.fitted(real, ddof=1), generated

    def of_members(self) -> Sensitivity:
        """Of samples of the generated set."""
        return Sensitivity.of_members(*self.moments)

    def of_added(self) -> Sensitivity:
        """Of other images, by the set as it is."""
        return Sensitivity.of_added(*self.moments)

    def of_one(self, features: np.ndarray) -> Sensitivity:
        """Of one other image, exactly; features: [d]."""
        return Sensitivity.of_one(*self.moments, features)

    def features_of(self, extractor: Extractor, sample_id: int, image: np.ndarray) -> np.ndarray:
        """Of one image uint8 [1, 3, h, w], at the sample's place in a block; float32 [d]."""
        found = in_blocks(extractor, np.array([sample_id]), image, extractor.block)
        return found[self.column.output][0]

    def commonest(self, count: int = COMMONEST) -> list[int]:
        """The commonest Top-1 classes of the real set; none unless both sets have logits."""
        name = Column(self.column.extractor, "logits", 0).name
        if name not in self.real.shards.columns or not self.class_names:
            return []
        counts = folded(self.real, name, histogram_of).counts
        order = np.lexsort((np.arange(len(counts)), -counts))[:count]
        return [int(number) for number in order if counts[number]]

    def classes_named(self, names: Sequence[str]) -> list[int]:
        """The numbers of classes by their names. RaymetricsError for one that there is not."""
        return [number_of(name, self.class_names) for name in dict.fromkeys(names)]

    def require_samples(self, ids: range | None) -> np.ndarray:
        """int64 [n]; 16 evenly spaced ones by default. RangeError for some that are not there."""
        there = self.generated.sample_ids
        if ids is None:
            return there[np.linspace(0, len(there) - 1, min(16, len(there))).astype(int)]
        wanted = there[np.searchsorted(there, ids.start) : np.searchsorted(there, ids.stop)]
        if len(wanted) < len(ids):
            raise RangeError(
                f"{self.generated.shards.uri} lacks {len(ids) - len(wanted)} of the samples "
                f"{sample_ranges.describe(ids)}; it has {len(there)} from {there[0]} to {there[-1]}"
            )
        return wanted


def requested(
    *,
    real: str,
    generated: str,
    column: str | None = None,
    run_code: bool = False,
    any_size: bool = False,
) -> HeatRequest:
    """The request, checked; loads the network.

    column: by default the only one that is the mean of a map. run_code: open what the generated set
    names also if it is a program, or on another machine; else ProgramRefused. any_size: also for
    images of another size than the real ones.
    SpecMismatch for sets that cannot be compared, ExtractorError for a column that is no such mean,
    SourceError if the generated set's source is no longer what it was.
    """
    sides = open_view(real), open_view(generated)
    if sides[1].repeats:
        raise RaymetricsError(
            f"{generated} was drawn with repetitions; heatmaps take every sample once"
        )
    require_data(sides[1].shards, Permission(run_code))
    chosen, extractor = chosen_column(sides[0].shards, sides[1].shards, column)
    sets = sides[0].shards, sides[1].shards
    require_alike(*sets, chosen.extractor, any_size=any_size)
    return HeatRequest(*sides, chosen, source_of(sides[1].shards), extractor)


def require_data(shards: ShardSet, permission: Permission) -> None:
    """ProgramRefused if the source or an extractor of the set is a program that is not allowed."""
    permission.require_source(shards.spec.source, shards.uri)
    for text in shards.spec.asked:
        permission.require_extractor(text, shards.uri)


def chosen_column(
    real: ShardSet, generated: ShardSet, name: str | None
) -> tuple[Column, tuple[str, Mapping[str, object]]]:
    """The column, and its extractor. ExtractorError unless there is one, and only one."""
    both = require_some_shared(real, generated)
    spec = generated.spec
    means: dict[str, tuple[Column, tuple[str, Mapping[str, object]]]] = {}
    for text, of in zip(spec.asked, spec.extractors, strict=True):
        its = [c for c in spec.columns if c.extractor == of["name"] and c in real.spec.columns]
        wanted = of["name"] in both and (name is None or name in [c.name for c in its])
        output = mean_output(text, of) if wanted else None
        means |= {c.name: (c, (text, of)) for c in its if c.output == output}
    there = ", ".join(c.name for c in spec.columns)
    if name is not None and name not in means:
        raise ExtractorError(
            f"column {name!r} is not the mean of a map in both sets; {generated.uri} has {there}; "
            "take the features before the logits of a convolutional network"
        )
    if len(means) != 1:
        what = f"{', '.join(means)}: name one, --column NAME" if means else f"none of {there}"
        raise ExtractorError(f"the columns of both sets that are means of a map are {what}")
    return means[name or next(iter(means))]


def mean_output(text: str, spec: Mapping[str, object]) -> str | None:
    """The output that is the mean of a map, if the extractor has any. ExtractorError if it is no
    longer what it was."""
    extractor = network(text, spec)
    if not isinstance(extractor, NetworkExtractor) or not extractor.mapped:
        return None
    return next(iter(architecture(extractor.architecture).outputs))


def source_of(shards: ShardSet) -> tuple[str, str]:
    """The source of a set, with its listing. SourceError if it has changed."""
    generator = open_source(shards.spec.source, CPU)
    if fingerprint(generator.spec) != fingerprint(shards.spec.generator):
        raise SourceError(
            f"{shards.spec.source} is no longer what {shards.uri} was made from; bring it back, or "
            "extract again to another place"
        )
    return shards.spec.source, listing(generator)


def network(text: str, expected: Mapping[str, object]) -> Extractor:
    """The extractor on this machine's device, computing the same bits every time. ExtractorError
    if its specification is not the expected one."""
    reproducible()
    extractor = make_extractor(text, device(), SECONDS)
    fields = differences(extractor.spec, expected)
    if fields:
        raise ExtractorError(
            f"{extractor.name} is no longer what the features were made by ({'; '.join(fields)}); "
            "bring code and weights in line, or extract again to another place"
        )
    return extractor


def other_source(text: str) -> tuple[tuple[str, str], Generator]:
    """A source whose images are added, with its listing."""
    text = absolute(text)
    generator = open_source(text, CPU)
    return (text, listing(generator)), generator


def folded(view: View, column: str, of: Any) -> Any:
    """A statistic of a column: on the cluster if a session is open, else in this process; with the
    same bits."""
    measures = {"found": Measure(column, of)}
    if ray.is_initialized():
        return fold_shards(view, measures)["found"]
    uri = view.shards.store.absolute_uri
    merged: dict[str, Any] = {}
    for group in groups(view.present):
        merged = merge_all(merged, fold_group(uri, view.samples, group, measures))
    return merged["found"]


def moments_of(sample_ids: np.ndarray, values: np.ndarray) -> Moments:
    """Of a block of features."""
    return Moments.of(values)


def histogram_of(sample_ids: np.ndarray, values: np.ndarray) -> Histogram:
    """Of a block of logits."""
    return Histogram.of(values)


def number_of(name: str, names: Sequence[str]) -> int:
    """The class of this name, in any case. RaymetricsError, with those like it, for no name."""
    lowered = [known.lower() for known in names]
    if name.lower() in lowered:
        return lowered.index(name.lower())
    near = difflib.get_close_matches(name.lower(), lowered, 3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise RaymetricsError(f"the network has no class {name!r} among {len(names)}{hint}")
