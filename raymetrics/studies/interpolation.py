"""Whether interpolations between realistic samples stay realistic: Kynkaanniemi et al. 2019,
section 5.1, Fig. 9 and 12.

The ends are samples of a latent generator with R >= 1, paired in the order of their ids: first
with second, third with fourth. The images between them are a source of their own, linear in W,
whose sample path * steps + step is one of them; so they stream into shards like any other samples,
and are judged by the same survey. Where W is conditional on a class, w carries it: ends are paired
across classes, as the paper pairs at random over all, and images between two classes count. Of
labelled samples a second number is the share among the paths within one class.

500,000 paths of 9 images are 4.5 million samples. The driver holds R of each, 8 bytes, which is
36 MB, and while a survey is merged three arrays more of the same length; features never but one
part of a set at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import psutil

from raymetrics import option_strings
from raymetrics.distributed.cluster_resources import Resources
from raymetrics.distributed.extraction.dataset_request import require_few_shards, require_shard_rows
from raymetrics.distributed.extraction.extract import extract
from raymetrics.distributed.extraction.progress import Progress
from raymetrics.errors import InsufficientResources, NotEnoughData, RaymetricsError
from raymetrics.generators import permission_for
from raymetrics.generators.latents.interpolated_paths import paths_source
from raymetrics.metrics import Convention, ManifoldSurvey, require_neighbors
from raymetrics.metrics.metric import MetricValue
from raymetrics.metrics.metric_values import ball_fields
from raymetrics.permissions import Permission
from raymetrics.results import Result
from raymetrics.shards.schema import Column
from raymetrics.shards.view import View
from raymetrics.shards.writable import require_writable_store
from raymetrics.studies.comparison import open_as_view
from raymetrics.studies.evaluate import write_scores
from raymetrics.studies.make_result import side_from_view
from raymetrics.studies.match.request import names_shard_set
from raymetrics.studies.path_ends import (
    SHARDS_FOLDER,
    PathEnds,
    choose_ends,
    latent_source,
    require_latent_source,
    write_ends,
)
from raymetrics.studies.realism import (
    SCORES_FILE,
    finite_or_none,
    result_for_views,
    single_realism_task,
    survey_realism,
)

_CANDIDATES_FOLDER = "candidates"
_CANDIDATES_PER_PATH = 4  # of a source; two of them are ends where half are realistic
_BYTES_PER_IMAGE = 32  # R, and three arrays more while a survey is merged
_CONFIDENCE = 0.95
_PATHS_SHOWN = 8  # paths, from the best to the worst


@dataclass(frozen=True)
class StrayRule:
    """Which paths are judged, and when one strays; the paper's numbers.

    steps: images between the ends. ends: the R that both ends have at least. A path strays if
    more than the share `more_than` of the images between its ends have R < `below`.
    """

    steps: int = 9
    ends: float = 1.0
    below: float = 0.9
    more_than: float = 0.25

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise NotEnoughData(f"steps is {self.steps}, expected at least 1")
        if not 0 <= self.more_than < 1:
            raise RaymetricsError(f"more_than is {self.more_than}, expected a share in 0..1")
        for name in ("ends", "below"):
            if not 0 <= getattr(self, name) < np.inf:
                raise RaymetricsError(f"{name} is {getattr(self, name)}, expected R of at least 0")

    def strays(self, realism: np.ndarray) -> np.ndarray:
        """Which paths do, bool [paths]. realism: R of the images between, float64 [paths, steps];
        infinite on top of a real sample."""
        stray: np.ndarray = (realism < self.below).mean(axis=1) > self.more_than
        return stray


def judge_paths(
    *,
    real: str,
    generated: str,
    to: str,
    paths: int = 1000,
    rule: StrayRule | None = None,
    column: str | None = None,
    k: int = 3,
    candidates: int | None = None,
    shard_rows: int = 2048,
    run_code: bool = False,
    any_size: bool = False,
    resources: Resources | None = None,
    progress: Callable[[Progress], None] | None = None,
    on_message: Callable[[str], None] = lambda line: None,
    tell: Callable[[list[Result]], None] = lambda results: None,
) -> list[Result]:
    """The share of interpolation paths that stray, with its exact binomial interval.

    real: a complete shard set. generated: one of a latent generator, whose samples may become
    ends; or the source itself, of which so many `candidates` are extracted to `to`/candidates
    first, by default 4 for each path.
    column: the feature space; needed where both sets have several. any_size: also of images of
    another size than the real ones.
    run_code: open what a shard set names also if it is a program, or on another machine.
    progress: called after every shard, told: with a line of what is going on; tell: with the
    numbers, before R is written.

    Writes `to`/ends.parquet, the images' features to `to`/shards, and their R to
    `to`/realism.parquet. Run again after anything that stopped it: no shard is made twice. With
    fewer realistic samples than asked for it says so and takes the paths that there are.
    NotEnoughData for none, SourceError if the source cannot be interpolated.
    """
    rule, convention, start = rule or StrayRule(), Convention(k=k), time.monotonic()
    permission = permission_for(run_code, generated)
    if paths < 1:
        raise NotEnoughData(f"paths is {paths}, expected at least 1")
    require_writable_store(to)
    make = partial(extract, shard_rows=shard_rows, resources=resources, progress=progress)
    real_view = open_as_view(real)
    require_neighbors(len(real_view), k, "real")
    count = _CANDIDATES_PER_PATH * paths if candidates is None else candidates
    samples = len(open_as_view(generated)) if _is_set(generated) else count
    _require_room(min(paths, samples // 2) * rule.steps, shard_rows)
    candidate_view = _open_candidates(
        real_view, generated, f"{to}/{_CANDIDATES_FOLDER}", column, count, make, permission
    )
    permission.require_source(candidate_view.shards.spec.source, candidate_view.shards.uri)
    task, source = (
        single_realism_task(real_view, candidate_view, column, any_size=any_size),
        latent_source(candidate_view),
    )
    name = task.column.name
    on_message(f"looking for ends among {len(candidate_view)} samples of {source}")
    realism = survey_realism(real_view, candidate_view, name, convention).generated_in_real.realism
    ends = choose_ends(candidate_view.sample_ids, realism, paths, rule.ends, on_message)
    images_source = paths_source(source, write_ends(to, ends), rule.steps)
    on_message(f"{len(ends.ids)} paths of {rule.steps} images")
    make(
        images_source,
        _extractor_texts(candidate_view, task.column, permission),
        f"{to}/{SHARDS_FOLDER}",
    )
    images_view = open_as_view(f"{to}/{SHARDS_FOLDER}")
    single_realism_task(real_view, images_view, name, any_size=any_size)  # made alike
    survey = survey_realism(real_view, images_view, name, convention)
    values = _stray_values(survey, convention, rule, ends, candidate_view)
    seconds = time.monotonic() - start
    results = [
        result_for_views(value, task, real_view, images_view, convention, seconds)
        for value in values
    ]
    tell(results)
    write_scores(
        f"{to}/{SCORES_FILE}", images_view.sample_ids, {name: survey.generated_in_real.realism}
    )
    return results


def _is_set(generated: str) -> bool:
    return names_shard_set(option_strings.parse_options(generated)[0])


def _require_room(images: int, shard_rows: int) -> None:
    """RangeError for more images than a set has, PlanTooLarge where R of each does not fit."""
    require_shard_rows(shard_rows)
    require_few_shards(images, shard_rows)
    need, free = _BYTES_PER_IMAGE * images, psutil.virtual_memory().available
    if need > free:
        raise InsufficientResources(
            f"R of {images} images between ends needs {need / 1e9:.1f} GB, {free / 1e9:.1f} GB are "
            "free; ask for fewer --paths or --steps"
        )


def _open_candidates(
    real: View, generated: str, to: str, column: str | None, count: int,
    make: Callable[..., object], permission: Permission,
) -> View:  # fmt: skip
    """The samples among which ends are looked for; of a source so many, extracted first."""
    if _is_set(generated):
        return open_as_view(generated)
    require_latent_source(generated)
    texts = _extractor_texts(real, single_realism_task(real, real, column).column, permission)
    make(generated, texts, to, range(count))
    return open_as_view(to)


def _extractor_texts(view: View, column: Column, permission: Permission) -> list[str]:
    """The extractor of a column, as it was asked for. ProgramRefused for a program that is not
    allowed."""
    spec = view.shards.spec
    names = [extractor["name"] for extractor in spec.extractors]
    text = spec.extractor_texts[names.index(column.extractor)]
    permission.require_extractor(text, view.shards.uri)
    return [text]


def _stray_values(
    survey: ManifoldSurvey,
    convention: Convention,
    rule: StrayRule,
    ends: PathEnds,
    candidate_view: View,
) -> list[MetricValue]:
    """The share of straying paths, with R of some; where samples have labels, also the share among
    the paths between two of the same label."""
    realism = survey.generated_in_real.realism.reshape(len(ends.ids), rule.steps)
    convention_fields = {
        **ball_fields(convention, survey, convention.ks[0]),
        "balls": "radius <= median",
        "score": "R, not R^2",
        "steps": rule.steps,
        "ends": f"R >= {rule.ends:g}, in pairs by id",
        "below": rule.below,
        "more_than": rule.more_than,
    }
    strays = rule.strays(realism)
    details = {
        "shown": [
            _path_for_figure(path, realism, ends, strays) for path in paths_best_to_worst(realism)
        ],
        "ends": asdict(side_from_view(candidate_view, len(candidate_view))),
    }
    values = [_stray_share("straying paths", strays, realism, convention_fields, details)]
    if candidate_view.shards.spec.labels:
        start_labels, end_labels = candidate_view.labels()[
            np.searchsorted(candidate_view.sample_ids, ends.ids)
        ].T
        same_label = np.flatnonzero(start_labels == end_labels)
        if len(same_label):
            convention_fields = {**convention_fields, "within": "label"}
            name = "straying paths within a class"
            values.append(
                _stray_share(name, strays[same_label], realism[same_label], convention_fields, {})
            )
    return values


def _stray_share(
    name: str, strays: np.ndarray, realism: np.ndarray, convention_fields: Mapping[str, Any],
    details: Mapping[str, Any],
) -> MetricValue:  # fmt: skip
    """The share of paths that stray. strays: bool [paths]; realism: float64 [paths, steps]."""
    count, total = int(strays.sum()), len(strays)
    share_details = {
        "paths": total,
        "straying": count,
        "interval": confidence_interval(count, total),
        "confidence": _CONFIDENCE,
        "realistic": float((realism >= 1).mean()),
        **details,
    }
    share = count / total
    spread = float(np.sqrt(share * (1 - share) / total))
    return MetricValue(
        "straying_paths", name, share, "lower", convention_fields, spread, share_details
    )


def confidence_interval(count: int, total: int) -> list[float]:
    """The share's confidence interval after Clopper & Pearson (1934), [low, high]."""
    from scipy.stats import binomtest

    bounds = binomtest(count, total).proportion_ci(_CONFIDENCE, method="exact")
    return [float(bounds.low), float(bounds.high)]


def paths_best_to_worst(realism: np.ndarray) -> list[int]:
    """Paths by their lowest R: the best, the worst, and some evenly between. realism: float64
    [paths, steps]; of equal ones the first path is the better."""
    order = np.argsort(-realism.min(axis=1), kind="stable")
    ranks = np.linspace(0, len(order) - 1, min(_PATHS_SHOWN, len(order))).astype(int)
    return [int(path) for path in order[ranks]]


def _path_for_figure(
    path: int, realism: np.ndarray, ends: PathEnds, strays: np.ndarray
) -> Mapping[str, Any]:
    """A path for a figure: R from start to end, None where it is infinite."""
    start, end = ends.realism[path]
    start_id, end_id = ends.ids[path].tolist()
    path_realism = [start, *realism[path], end]
    return {
        "path": path,
        "start": start_id,
        "end": end_id,
        "strays": bool(strays[path]),
        "realism": [finite_or_none(r) for r in path_realism],
    }
