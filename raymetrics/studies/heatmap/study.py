"""The study `heatmap`: which parts of images a Frechet distance looks at.

Kynkaanniemi et al. 2023, section 2 and appendix C.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raymetrics import results, sample_ranges
from raymetrics.distributed.extraction.dataset_request import max_samples, requested_samples
from raymetrics.distributed.extraction.progress import Progress
from raymetrics.distributed.resources import Resources
from raymetrics.distributed.session import session
from raymetrics.errors import RaymetricsError, SampleRangeError
from raymetrics.files import require_writable_folder
from raymetrics.heatmaps import TOP_CLASSES, Heatmaps
from raymetrics.heatmaps.noisy_source import require_noise_scale
from raymetrics.python_arguments import as_names
from raymetrics.results import Result
from raymetrics.shards.shard_set import ShardSet
from raymetrics.studies.comparison import set_uri
from raymetrics.studies.heatmap.classifications import require_classes, write_classifications
from raymetrics.studies.heatmap.compute import (
    MeanHeatmaps,
    heatmaps,
    heatmaps_if_added,
    mean_heatmaps,
    write_heatmap_arrays,
)
from raymetrics.studies.heatmap.noise_check import noise_distances, require_one_range
from raymetrics.studies.heatmap.request import (
    HeatmapRequest,
    make_heatmap_request,
    open_added_source,
)

_DEFAULT_ADDED = 16  # images of another source
_MAX_ADDED = 10_000
SHOWN_CLASSES = 10  # the most probable ones of a shown image
_MAPS_FILE, _RESULTS_FILE = "maps.npz", "results.jsonl"


@dataclass(frozen=True, eq=False)
class HeatmapResult:
    """What `heatmap` found, of single samples and of all."""

    request: HeatmapRequest
    added_source: str | None  # whose images are shown, as if each were added to the generated set
    images: np.ndarray  # uint8 [n, 3, h, w]: those shown
    heatmaps: Heatmaps  # of these images
    means: MeanHeatmaps | None
    noise_results: list[Result]

    @property
    def mean_titles(self) -> list[str]:
        """Names of the groups of samples that have means."""
        classes = self.means.classes if self.means else ()
        return ["all classes", *(self.request.class_names[number] for number in classes)]

    @property
    def facts(self) -> dict[str, object]:
        """What was compared, in words."""
        sides = {"real": self.request.real, "generated": self.request.generated}
        facts: dict[str, object] = {
            name: f"{view.shards.spec.source}, {len(view):,} samples; {view.shards.uri}"
            for name, view in sides.items()
        }
        if self.added_source is not None:
            facts["images"] = f"{self.added_source}, each as if it were added to the generated set"
        return {
            **facts,
            "distance": f"Frechet distance of {self.request.column.name}, covariances by count - 1",
            "weights (sha256)": self.request.extractor[1]["weights_sha256"],
        }


def heatmap(
    *,
    real: str | ShardSet,
    generated: str | ShardSet,
    to: str,
    samples: range | str | Sequence[range] | None = None,
    images: str | None = None,
    save_classifications: bool = False,
    column: str | None = None,
    exact: bool = False,
    mean: bool = False,
    classes: str | Sequence[str] | None = None,
    noise: Sequence[float] = (),
    run_code: bool = False,
    any_size: bool = False,
    resources: Resources | None = None,
    progress: Callable[[Progress], None] | None = None,
    on_means: Callable[[MeanHeatmaps], None] = lambda means: None,
    tell: Callable[[list[Result]], None] = lambda results: None,
) -> HeatmapResult:
    """Show which parts of generated images move the Frechet distance most.

    real, generated: complete shard sets, or some of their samples as "SHARDS?ids=FILE". Images are
    made again from their ids.
    to: a local folder, for heatmaps.npz of the shown samples; with means also maps.npz of all
    samples and means.npz, with noise also results.jsonl.
    samples: which samples are shown, in this order, as a range, as ranges, or as "107,540,0-9"; by
    default 16, evenly spaced.
    images: a source; its samples are shown instead, as if each were added to the generated set.
    save_classifications: also write `to`/classifications.parquet: the 10 most probable classes of
    every shown image.
    column: whose distance; by default the only one that is the mean of a map.
    exact: of images: compute the optimal map with each image included.
    mean: also means over all generated samples and over classes.
    classes: classes with means of their own; by default the 3 commonest real ones.
    noise: also distances with noise of these scales where the maps are large, small, or everywhere.
    run_code: also open what the generated set names if it is a program, or on another machine.
    any_size: also compare sets whose images have different sizes.
    resources, progress: of the means and the noise; see `extract`.
    on_means: called with the means once they are computed. tell: called with the distances with
    noise, before they are added to results.jsonl.

    Run again after anything that stopped it: what is there is not made twice. Raises SpecMismatch
    for sets that cannot be compared, ExtractorError for a column that is no mean of a map,
    SourceError if the generated set's source is no longer what it was, SampleRangeError for
    samples that are not there.
    """
    if exact and images is None:
        raise RaymetricsError("--exact is of --images; samples of the set are always exact")
    require_writable_folder(to)
    results.require_appendable(f"{to}/{_RESULTS_FILE}")
    for scale in noise:
        require_noise_scale(f"{scale}")
    request = make_heatmap_request(
        real=set_uri("real", real),
        generated=set_uri("generated", generated),
        column=column,
        run_code=run_code,
        any_size=any_size,
    )
    chosen_classes = request.class_numbers(() if classes is None else as_names(classes))
    if save_classifications:
        require_classes(request)
    if noise:
        require_one_range(request.generated)  # before the means take their time
    source, ids = _samples_to_show(request, samples, images)
    needs_all_samples = mean or classes is not None or bool(noise)
    means, noise_results, resources = None, [], resources or Resources()
    with session(local=resources.local) if needs_all_samples else nullcontext():
        if needs_all_samples and classes is None:
            chosen_classes = request.most_common_classes()
        shown_images, shown = _show(request, source, ids, exact)
        write_heatmap_arrays(to, "heatmaps.npz", shown.with_top_classes(TOP_CLASSES))
        if save_classifications:
            write_classifications(to, shown, request.class_names, _made_of(request, source))
        if needs_all_samples:
            means = mean_heatmaps(
                request, to, chosen_classes, resources=resources, progress=progress
            )
            on_means(means)
            write_heatmap_arrays(to, _MAPS_FILE, means.heatmaps)
            write_heatmap_arrays(to, "means.npz", means.averages, classes=means.classes)
        if noise:
            folder = Path(to).resolve()
            noise_results = noise_distances(
                request,
                folder / _MAPS_FILE,
                folder,
                noise,
                resources=resources,
                progress=progress,
            )
            tell(noise_results)
            results.append_results(noise_results, f"{to}/{_RESULTS_FILE}")
    return HeatmapResult(request, images, shown_images, shown, means, noise_results)


def _samples_to_show(
    request: HeatmapRequest, samples: range | str | Sequence[range] | None, images: str | None
) -> tuple[tuple[str, str] | None, np.ndarray]:
    """Return another source or None, and the ids of its samples, int64 [n].

    The source has the fingerprint of its generator beside it.

    Raise SampleRangeError for samples that are not there, or for more than a picture has.
    """
    wanted = _as_ranges(samples)
    if images is None:
        return None, request.require_samples(wanted)
    source, generator = open_added_source(images)
    if wanted is None:
        wanted = [range(min(_DEFAULT_ADDED, max_samples(generator)))]
    requested = [requested_samples(generator, ids) for ids in wanted]
    count = sample_ranges.count_ids(requested)
    if count > _MAX_ADDED:
        raise SampleRangeError(
            f"{count} samples of {images} are asked for; a page shows {_MAX_ADDED} at most"
        )
    return source, np.array([*dict.fromkeys(itertools.chain.from_iterable(requested))])


def _as_ranges(samples: range | str | Sequence[range] | None) -> Sequence[range] | None:
    """Return the samples as ranges, in their order. Raise SampleRangeError for another text."""
    if isinstance(samples, str):
        return sample_ranges.parse_ranges(samples)
    return [samples] if isinstance(samples, range) else samples


def _show(
    request: HeatmapRequest, source: tuple[str, str] | None, ids: np.ndarray, exact: bool
) -> tuple[np.ndarray, Heatmaps]:
    """Make images uint8 [n, 3, h, w] and heatmaps of single samples, with their Top-10 classes."""
    if source is None:
        return heatmaps(request, ids, SHOWN_CLASSES)
    return heatmaps_if_added(request, source, ids, exact, SHOWN_CLASSES)


def _made_of(request: HeatmapRequest, source: tuple[str, str] | None) -> dict[str, object]:
    """Return the source of the shown images, and the network."""
    return {"source": (source or request.source)[0], "extractor": dict(request.extractor[1])}
