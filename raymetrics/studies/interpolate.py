"""Whether interpolations between realistic samples stay realistic: Kynkaanniemi et al. 2019,
section 5.1, Fig. 9 and 12.

The ends are the first samples of a latent generator with R >= 1, paired in the order of their ids:
the first with the second, the third with the fourth. A source is drawn on until there are enough.
The images between them are a source, linear in W, whose
sample path * steps + step is an image of a path; so they stream into shards like any other samples,
and the same survey judges them. Where W is conditional on a class, w carries it: ends are paired
across classes, as the paper pairs at random over all samples, and images between two classes count.
For labelled samples a second number is the share among the paths within one class.

500,000 paths of 9 images are 4.5 million samples. The driver holds R of each, 8 bytes, which is
36 MB, and while a survey is merged three more arrays of the same length. It holds features of one
part of a set at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from raymetrics import option_strings
from raymetrics.distributed.extraction.dataset_request import (
    max_samples,
    require_few_shards,
    require_shard_rows,
)
from raymetrics.distributed.extraction.extract import extract
from raymetrics.distributed.extraction.progress import Progress
from raymetrics.distributed.memory_limits import require_free_memory
from raymetrics.distributed.resources import Resources
from raymetrics.distributed.session import shared_session
from raymetrics.errors import NotEnoughData, RaymetricsError
from raymetrics.generators import permission_for
from raymetrics.generators.latents.interpolated_paths import paths_source
from raymetrics.metrics import Convention, ManifoldSurvey, require_neighbors
from raymetrics.metrics.metric import MetricValue
from raymetrics.metrics.registry.manifold_metrics import ball_fields
from raymetrics.permissions import Permission
from raymetrics.results import Result
from raymetrics.shards.schema import Column
from raymetrics.shards.shard_set import ShardSet
from raymetrics.shards.view import View
from raymetrics.shards.writable import require_writable_store
from raymetrics.studies.comparison import open_as_view, set_uri
from raymetrics.studies.evaluate_shards import write_scores
from raymetrics.studies.make_result import side_from_view
from raymetrics.studies.match.request import names_shard_set
from raymetrics.studies.path_candidates import EndSearch, draw_candidates
from raymetrics.studies.path_ends import (
    SHARDS_FOLDER,
    PathEnds,
    choose_ends,
    latent_source,
    open_latent_source,
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
_MAX_CANDIDATES_PER_PATH = 100  # samples of a source; enough where 2 % of them are realistic
_BYTES_PER_IMAGE = 32  # R, and three arrays more while a survey is merged
_CONFIDENCE = 0.95
_PATHS_SHOWN = 8  # paths, from the best to the worst


@dataclass(frozen=True)
class StrayRule:
    """Which paths are judged, and when one strays; the defaults are the paper's.

    steps: images between the ends. ends: the least R of both ends. A path strays if
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
        """Tell which paths stray, bool [paths].

        realism: R of the images between the ends, float64 [paths, steps]; infinite for a copy of a
        real sample.
        """
        stray: np.ndarray = (realism < self.below).mean(axis=1) > self.more_than
        return stray


@dataclass(frozen=True)
class InterpolationResult:
    """Numbers of `interpolate`, and where ends, images and scores lie.

    results: the share of straying paths, and that within a class where the samples have labels.
    """

    results: list[Result]
    ends: str  # the path of ends.parquet: start and end, one row a path
    shards: str  # the set of the images' features; image path * steps + step
    scores: str  # the path of realism.parquet: sample_id, and R in realism_COLUMN


def interpolate(
    *,
    real: str | ShardSet,
    generated: str | ShardSet,
    to: str,
    paths: int = 1000,
    rule: StrayRule | None = None,
    column: str | None = None,
    k: int = 3,
    max_candidates: int | None = None,
    on_unfilled: str = "stop",
    shard_rows: int = 2048,
    run_code: bool = False,
    any_size: bool = False,
    resources: Resources | None = None,
    progress: Callable[[Progress], None] | None = None,
    on_message: Callable[[str], None] = lambda line: None,
    tell: Callable[[list[Result]], None] = lambda results: None,
) -> InterpolationResult:
    """Interpolate between realistic samples, and count the paths that leave the real manifold.

    real: a complete shard set.
    generated: a shard set of a latent generator, whose samples may become ends; or the source,
    whose samples are extracted to `to`/candidates in the order of their ids until there are enough
    ends.
    to: a folder or a prefix, for ends.parquet, realism.parquet and the shards of the images.
    paths, rule: how many paths, and when one strays.
    column: the feature space; needed where both sets have several.
    k: the ball around a real sample reaches its k-th nearest real sample.
    max_candidates: samples that are looked at, at most; by default those of the set, or 100 of the
    source for each path.
    on_unfilled: what to do with too few ends then: "stop" makes fewer paths, and on_message says
    so; "fail" raises NotEnoughData, and the candidates stay.
    shard_rows, resources, progress: see `extract`.
    run_code: also open what a shard set names if it is a program, or on another machine.
    any_size: also compare sets whose images have different sizes.
    on_message: called with a line of text when a stage begins, and with the number of candidates
    that the share of realistic ones so far predicts.
    tell: called with the numbers before R is written.

    Run again after anything that stopped it: no shard is made twice. The ends are the same for any
    number of workers and any shard_rows. Raises NotEnoughData for no path, SourceError if the
    source cannot be interpolated, and what `extract` and `evaluate` do.
    """
    real, generated = set_uri("real", real), set_uri("generated", generated)
    rule, convention, start = rule or StrayRule(), Convention(k=k), time.monotonic()
    permission = permission_for(run_code, generated)
    if paths < 1:
        raise NotEnoughData(f"paths is {paths}, expected at least 1")
    if on_unfilled not in ("stop", "fail"):
        raise RaymetricsError(f"on_unfilled is {on_unfilled!r}, expected stop or fail")
    require_writable_store(to)
    make = partial(extract, shard_rows=shard_rows, resources=resources, progress=progress)
    real_view = open_as_view(real)
    require_neighbors(len(real_view), k, "real")
    search = _plan_search(generated, paths, rule.ends, max_candidates, shard_rows)
    _require_room(min(paths, search.limit // 2) * rule.steps, shard_rows)
    with shared_session(local=resources.local if resources else None):
        draw = _candidate_opener(
            real_view, generated, f"{to}/{_CANDIDATES_FOLDER}", column, make, permission
        )
        candidate_view = draw(search.first_count())
        permission.require_source(candidate_view.shards.spec.source, candidate_view.shards.uri)
        task = single_realism_task(real_view, candidate_view, column, any_size=any_size)
        source, name = latent_source(candidate_view), task.column.name

        def score(view: View) -> np.ndarray:
            return survey_realism(real_view, view, name, convention).generated_in_real.realism

        on_message(f"looking for ends among {len(candidate_view)} samples of {source}")
        candidate_view, realism = draw_candidates(candidate_view, draw, score, search, on_message)
        ends = choose_ends(
            candidate_view.sample_ids,
            realism,
            paths,
            rule.ends,
            on_message,
            advice=search.advice,
            on_unfilled=on_unfilled,
        )
        ends_path, shards = write_ends(to, ends), f"{to}/{SHARDS_FOLDER}"
        on_message(f"{len(ends.ids)} paths of {rule.steps} images")
        make(
            paths_source(source, ends_path, rule.steps),
            _extractor_texts(candidate_view, task.column, permission),
            shards,
        )
        images_view = open_as_view(shards)
        single_realism_task(real_view, images_view, name, any_size=any_size)  # made alike
        survey = survey_realism(real_view, images_view, name, convention)
    seconds = time.monotonic() - start
    results = [
        result_for_views(value, task, real_view, images_view, convention, seconds)
        for value in _stray_values(
            survey, convention, rule, ends, candidate_view, search.count_ends(realism)
        )
    ]
    tell(results)
    scores = f"{to}/{SCORES_FILE}"
    write_scores(scores, images_view.sample_ids, {name: survey.generated_in_real.realism})
    return InterpolationResult(results, ends_path, shards, scores)


def _is_set(generated: str) -> bool:
    return names_shard_set(option_strings.parse_options(generated)[0])


def _require_room(images: int, shard_rows: int) -> None:
    """Check that a set can hold so many images, and memory R of each.

    Raise SampleRangeError for too many images, InsufficientResources for too little memory.
    """
    require_shard_rows(shard_rows)
    require_few_shards([range(images)], shard_rows)
    require_free_memory(
        _BYTES_PER_IMAGE * images,
        f"R of {images} images between ends needs",
        "ask for fewer --paths or --steps",
    )


def _plan_search(
    generated: str, paths: int, minimum: float, max_candidates: int | None, shard_rows: int
) -> EndSearch:
    """Plan how many candidates are looked at. Raise SourceError for a source without latents."""
    is_set = _is_set(generated)
    if is_set:
        available = usual = len(open_as_view(generated))
    else:
        available = max_samples(open_latent_source(generated))
        usual = min(available, _MAX_CANDIDATES_PER_PATH * paths)
    limit = min(available, usual if max_candidates is None else max_candidates)
    advice = "look at more, --max-candidates N"
    if limit == available:
        advice = "extract more" if is_set else "ask for fewer paths"
    return EndSearch(2 * paths, minimum, limit, shard_rows, advice)


def _candidate_opener(
    real: View,
    generated: str,
    to: str,
    column: str | None,
    make: Callable[..., object],
    permission: Permission,
) -> Callable[[int], View]:
    """Return a function that opens the first so many candidates, or more that are there.

    Of a source it extracts those that are missing. A set has no more than it has.
    """
    if _is_set(generated):
        whole_set = open_as_view(generated)
        return lambda count: whole_set
    texts = _extractor_texts(real, single_realism_task(real, real, column).column, permission)

    def draw(count: int) -> View:
        make(generated, texts, to, range(count))
        return open_as_view(to)

    return draw


def _extractor_texts(view: View, column: Column, permission: Permission) -> list[str]:
    """Return the text of a column's extractor. Raise ProgramRefused for a forbidden program."""
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
    realistic_candidates: int,
) -> list[MetricValue]:
    """Compute the share of straying paths, with R of some paths in its details.

    Where samples have labels, a second value is the share among the paths between samples of the
    same label.
    """
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
        "realistic_candidates": realistic_candidates,
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
    name: str,
    strays: np.ndarray,
    realism: np.ndarray,
    convention_fields: Mapping[str, Any],
    details: Mapping[str, Any],
) -> MetricValue:
    """Compute the share of paths that stray.

    strays: bool [paths]; realism: float64 [paths, steps].
    """
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
    """Compute the share's confidence interval after Clopper & Pearson (1934), [low, high]."""
    from scipy.stats import binomtest

    bounds = binomtest(count, total).proportion_ci(_CONFIDENCE, method="exact")
    return [float(bounds.low), float(bounds.high)]


def paths_best_to_worst(realism: np.ndarray) -> list[int]:
    """Sort paths by their lowest R, and choose the best, the worst, and some evenly between.

    realism: float64 [paths, steps]. Of paths with the same lowest R the first is the better.
    """
    order = np.argsort(-realism.min(axis=1), kind="stable")
    ranks = np.linspace(0, len(order) - 1, min(_PATHS_SHOWN, len(order))).astype(int)
    return [int(path) for path in order[ranks]]


def _path_for_figure(
    path: int, realism: np.ndarray, ends: PathEnds, strays: np.ndarray
) -> Mapping[str, Any]:
    """Describe a path for a figure: R from start to end, None where R is infinite."""
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
