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
from raymetrics.errors import NotEnoughData, PlanTooLarge, RaymetricsError
from raymetrics.generators import permission_for
from raymetrics.generators.latents.interpolated_paths import source_of
from raymetrics.metrics import Convention, Survey, registry, require
from raymetrics.metrics.registry import Value
from raymetrics.permissions import Permission
from raymetrics.results import Result
from raymetrics.shards.schema import Column
from raymetrics.shards.view import View
from raymetrics.shards.writable import require_writable
from raymetrics.studies.comparison import opened
from raymetrics.studies.evaluate import write_scores
from raymetrics.studies.make_result import side_of
from raymetrics.studies.match.request import is_shard_set
from raymetrics.studies.path_ends import (
    SHARDS,
    Ends,
    ends_of,
    interpolated,
    require_latent,
    write_ends,
)
from raymetrics.studies.realism import (
    SCORES,
    finite,
    only_item,
    survey_realism,
    with_provenance,
)

CANDIDATES = "candidates"
CANDIDATES_PER_PATH = 4  # of a source; two of them are ends where half are realistic
BYTES_PER_IMAGE = 32  # R, and three arrays more while a survey is merged
CONFIDENCE = 0.95
SHOWN = 8  # paths, from the best to the worst


@dataclass(frozen=True)
class Rule:
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
        below: np.ndarray = (realism < self.below).mean(axis=1) > self.more_than
        return below


def judge_paths(
    *,
    real: str,
    generated: str,
    to: str,
    paths: int = 1000,
    rule: Rule | None = None,
    column: str | None = None,
    k: int = 3,
    candidates: int | None = None,
    shard_rows: int = 2048,
    run_code: bool = False,
    any_size: bool = False,
    resources: Resources | None = None,
    progress: Callable[[Progress], None] | None = None,
    told: Callable[[str], None] = lambda line: None,
    tell: Callable[[list[Result]], None] = lambda found: None,
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
    rule, asked, start = rule or Rule(), Convention(k=k), time.monotonic()
    permission = permission_for(run_code, generated)
    if paths < 1:
        raise NotEnoughData(f"paths is {paths}, expected at least 1")
    require_writable(to)
    make = partial(extract, shard_rows=shard_rows, resources=resources, progress=progress)
    of_real = opened(real)
    require(len(of_real), k, "real")
    count = CANDIDATES_PER_PATH * paths if candidates is None else candidates
    samples = len(opened(generated)) if _is_set(generated) else count
    require_room(min(paths, samples // 2) * rule.steps, shard_rows)
    there = candidates_of(of_real, generated, f"{to}/{CANDIDATES}", column, count, make, permission)
    permission.require_source(there.shards.spec.source, there.shards.uri)
    item, source = only_item(of_real, there, column, any_size=any_size), interpolated(there)
    name = item.column.name
    told(f"looking for ends among {len(there)} samples of {source}")
    realism = survey_realism(of_real, there, name, asked).of_generated.realism
    ends = ends_of(there.sample_ids, realism, paths, rule.ends, told)
    images = source_of(source, write_ends(to, ends), rule.steps)
    told(f"{len(ends.ids)} paths of {rule.steps} images")
    make(images, texts_of(there, item.column, permission), f"{to}/{SHARDS}")
    between = opened(f"{to}/{SHARDS}")
    only_item(of_real, between, name, any_size=any_size)  # made alike
    survey = survey_realism(of_real, between, name, asked)
    values = straying(survey, asked, rule, ends, there)
    seconds = time.monotonic() - start
    found = [with_provenance(value, item, of_real, between, asked, seconds) for value in values]
    tell(found)
    write_scores(f"{to}/{SCORES}", between.sample_ids, {name: survey.of_generated.realism})
    return found


def _is_set(generated: str) -> bool:
    return is_shard_set(option_strings.split(generated)[0])


def require_room(images: int, shard_rows: int) -> None:
    """RangeError for more images than a set has, PlanTooLarge where R of each does not fit."""
    require_shard_rows(shard_rows)
    require_few_shards(images, shard_rows)
    need, free = BYTES_PER_IMAGE * images, psutil.virtual_memory().available
    if need > free:
        raise PlanTooLarge(
            f"R of {images} images between ends needs {need / 1e9:.1f} GB, {free / 1e9:.1f} GB are "
            "free; ask for fewer --paths or --steps"
        )


def candidates_of(
    real: View, generated: str, to: str, column: str | None, count: int,
    make: Callable[..., object], permission: Permission,
) -> View:  # fmt: skip
    """The samples among which ends are looked for; of a source so many, extracted first."""
    if _is_set(generated):
        return opened(generated)
    require_latent(generated)
    texts = texts_of(real, only_item(real, real, column).column, permission)
    make(generated, texts, to, range(count))
    return opened(to)


def texts_of(view: View, column: Column, permission: Permission) -> list[str]:
    """The extractor of a column, as it was asked for. ProgramRefused for a program that is not
    allowed."""
    spec = view.shards.spec
    names = [extractor["name"] for extractor in spec.extractors]
    text = spec.asked[names.index(column.extractor)]
    permission.require_extractor(text, view.shards.uri)
    return [text]


def straying(survey: Survey, asked: Convention, rule: Rule, ends: Ends, there: View) -> list[Value]:
    """The share of straying paths, with R of some; where samples have labels, also the share among
    the paths between two of the same label."""
    realism = survey.of_generated.realism.reshape(len(ends.ids), rule.steps)
    kept = {
        **registry.ball(asked, survey, asked.ks[0]),
        "balls": "radius <= median",
        "score": "R, not R^2",
        "steps": rule.steps,
        "ends": f"R >= {rule.ends:g}, in pairs by id",
        "below": rule.below,
        "more_than": rule.more_than,
    }
    strays = rule.strays(realism)
    details = {
        "shown": [shown(path, realism, ends, strays) for path in some(realism)],
        "ends": asdict(side_of(there, len(there))),
    }
    values = [share_of("straying paths", strays, realism, kept, details)]
    if there.shards.spec.labels:
        one, other = there.labels()[np.searchsorted(there.sample_ids, ends.ids)].T
        same = np.flatnonzero(one == other)
        if len(same):
            kept = {**kept, "within": "label"}
            name = "straying paths within a class"
            values.append(share_of(name, strays[same], realism[same], kept, {}))
    return values


def share_of(
    name: str, strays: np.ndarray, realism: np.ndarray, kept: Mapping[str, Any],
    details: Mapping[str, Any],
) -> Value:  # fmt: skip
    """The share of paths that stray. strays: bool [paths]; realism: float64 [paths, steps]."""
    count, total = int(strays.sum()), len(strays)
    found = {
        "paths": total,
        "straying": count,
        "interval": interval(count, total),
        "confidence": CONFIDENCE,
        "realistic": float((realism >= 1).mean()),
        **details,
    }
    share = count / total
    spread = float(np.sqrt(share * (1 - share) / total))
    return Value("straying_paths", name, share, "lower", kept, spread, found)


def interval(count: int, total: int) -> list[float]:
    """The share's confidence interval after Clopper & Pearson (1934), [low, high]."""
    from scipy.stats import binomtest

    found = binomtest(count, total).proportion_ci(CONFIDENCE, method="exact")
    return [float(found.low), float(found.high)]


def some(realism: np.ndarray) -> list[int]:
    """Paths by their lowest R: the best, the worst, and some evenly between. realism: float64
    [paths, steps]; of equal ones the first path is the better."""
    order = np.argsort(-realism.min(axis=1), kind="stable")
    places = np.linspace(0, len(order) - 1, min(SHOWN, len(order))).astype(int)
    return [int(path) for path in order[places]]


def shown(path: int, realism: np.ndarray, ends: Ends, strays: np.ndarray) -> Mapping[str, Any]:
    """A path for a figure: R from start to end, None where it is infinite."""
    start, end = ends.realism[path]
    start_id, end_id = ends.ids[path].tolist()
    along = [start, *realism[path], end]
    return {
        "path": path,
        "start": start_id,
        "end": end_id,
        "strays": bool(strays[path]),
        "realism": [finite(r) for r in along],
    }
