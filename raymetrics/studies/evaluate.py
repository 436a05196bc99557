"""The metrics of two sides: open them, extract those that are sources, compute the numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from raymetrics import metrics as formulas
from raymetrics.distributed.resources import Resources
from raymetrics.distributed.session import shared_session
from raymetrics.errors import NotEnoughData, RaymetricsError
from raymetrics.metrics import PUBLISHED, Convention, Protocol
from raymetrics.metrics.conventions import change_convention
from raymetrics.metrics.registry import DEFAULT_METRICS, find_metrics
from raymetrics.neighbors import DEFAULT_ENGINE
from raymetrics.permissions import Permission
from raymetrics.python_arguments import as_extractors, as_names
from raymetrics.results import Result
from raymetrics.sample_ranges import Ids, parse_ids_or_count
from raymetrics.shards.foreign import ReferenceStatistics
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.view import View
from raymetrics.studies.comparison import take_count
from raymetrics.studies.evaluate_shards import (
    EvaluationRequest,
    evaluate_shards,
    require_evaluable,
)
from raymetrics.studies.evaluate_statistics_file import (
    evaluate_with_statistics,
    require_moment_metrics,
)
from raymetrics.studies.extract_sides import (
    OpenSide,
    SideExtraction,
    SourceSide,
    default_extractors,
    extract_sides,
)
from raymetrics.studies.open_sides import open_side
from raymetrics.studies.random_seeds import average_over_seeds, parse_random_ids
from raymetrics.studies.sensitivity_to_protocol import (
    add_other_resizes,
    evaluate_under,
    parse_axes,
)
from raymetrics.studies.subsets import SIDES
from raymetrics.studies.validation_norms import VALIDATION, open_validation, require_validation

if TYPE_CHECKING:
    from raymetrics.distributed.extraction.progress import Progress


def evaluate(
    *,
    real: Any,
    generated: Any,
    validation: Any = None,
    metrics: str | Sequence[str] | None = None,
    extractors: str | Sequence[str] | None = None,
    columns: str | Sequence[str] | None = None,
    convention: Convention | str | None = None,
    protocol: str | None = None,
    changes: Mapping[str, object] | None = None,
    samples: int | str | range | None = None,
    real_samples: int | str | range | None = None,
    random_ids: int | str | Sequence[int] | None = None,
    equal_counts: bool = False,
    under: str | None = None,
    intervals: bool = False,
    by: str | None = None,
    scores: str | None = None,
    tell: Callable[[list[Result]], None] | None = None,
    any_size: bool = False,
    same_machines: bool = False,
    local: bool | None = None,
    engine: str = DEFAULT_ENGINE,
    keep: str | None = None,
    resources: Resources | None = None,
    progress: Callable[[Progress], None] | None = None,
    run_code: bool = False,
) -> list[Result]:
    """Compute the metrics of two sides, in every feature space that both have.

    real, generated: each a shard set, or some of its samples as "SHARDS?ids=FILE"; or a source, as
    `extract` takes it, whose features are extracted first; or features of another program, as
    "FILE.npz?column=NAME&space=NAME", .npy, or a folder of .npy; or images in memory, an array or
    tensor uint8 [n, 3, h, w] or [n, h, w, 3] or a Dataset of such images. One of the two may be a
    file of statistics of another program (.npz, .pkl, .pt, see
    `raymetrics.shards.foreign.statistics_files`), for "fid", "sfid" and "fdr" alone.
    validation: for "fdr", real samples that the real side does not have: a shard set or a source,
    extracted in the same stream; or "published", for the published norms of ImageNet 256x256.
    metrics: names of METRICS, each in all spaces or, as "pr:vgg16", in one, by the name of an
    extractor or a column or by its beginning; or "module:callable" for a metric of your own (see
    `raymetrics.metrics.user_metric`); by default "fid", "kid", "pr" and "top1", or those of the
    protocol. "fid" is the Frechet distance in any feature space, and is labelled by that space.
    extractors: of sources, as `extract` takes them; by default those of the other side, or the
    protocol's, or "inception". Of two shard sets only these spaces, by name. "fdr6" names the six
    of FDr6.
    columns: only these columns. A column of logits that is named here is taken as features.
    convention: a `Convention`, or the name of a program whose choices are repeated.
    protocol: a name of the literature, which sets metrics, convention, sample counts, and the
    extractor of sources.
    changes: choices of the convention, or of the protocol's, that differ: {"kid_subsets": 20}; the
    results name them.
    samples: a number, for so many first samples of each side by sample id; or the ids of the
    generated side, as "0-49999". By default all; of a generator as many as there are real ones.
    real_samples: the same of the real side alone.
    random_ids: a seed; so many samples, or those of the protocol, are then chosen at random among
    all of a set or data set, and not the first ones. Several seeds, as "0,1,2": every number once
    for each, and their mean with the standard deviation (ddof 1).
    equal_counts: cut the larger side, or with `by` that of each label, to the count of the smaller
    one, at random by that seed or else by the convention's.
    under: also compute the numbers under every "conventions", at several "counts", or with every
    one of the "resizes" that the network knows (of sources; of shard sets those that are there); or
    "all" of these. See `raymetrics.studies.sensitivity_to_protocol`.
    intervals: give numbers intervals, where they have some (`Metric.interval`), at a level of 95 %:
    of their mean over other samples of the same counts. It takes at least 40 samples of each side.
    by: "label" computes every metric once for each label.
    scores: with "realism", a Parquet file for the score of every generated sample.
    tell: called with the results, before the scores are written.
    any_size: compare sets whose images have different sizes too, which are refused otherwise.
    same_machines: refuse sets whose shards several kinds of machine made, which only give a
    warning otherwise.
    local: compute in this process, without Ray; False: on Ray; by default in this process if the
    work is small.
    engine: how neighbors are searched, a name of `raymetrics.neighbors.ENGINES`, for time alone.
    keep: the folder of the shard sets of sources; by default the cache, see
    `raymetrics.shards.set_cache`.
    resources, progress: of the extraction of sources, as in `extract`.
    run_code: run an extractor that a shard set names also if it is a program.

    Reads each set in as few passes as memory allows; the search for neighbors reads it again. What
    can be known before features are extracted is checked before. ShardError for an incomplete set,
    SpecMismatch for sets that cannot be compared, SourceError and ExtractorError for what cannot be
    opened, NotEnoughData, or InsufficientResources before any feature is read.
    """
    resolved_protocol = None if protocol is None else formulas.get_protocol(protocol)
    if resolved_protocol and (convention, metrics, samples, real_samples) != (None,) * 4:
        raise RaymetricsError(
            f"protocol {resolved_protocol.name} says metrics, convention and samples; leave those "
            "out"
        )
    names = resolved_protocol.metrics if resolved_protocol else metrics
    is_published = isinstance(validation, str) and validation == PUBLISHED
    request = EvaluationRequest(
        find_metrics(DEFAULT_METRICS if names is None else as_names(names)),
        bool(names),
        _resolve_convention(convention, resolved_protocol, changes),
        resolved_protocol,
        None if columns is None else as_names(columns),
        None,
        by,
        scores,
        any_size,
        local,
        None,
        engine,
        same_machines,
        equal_counts,
        PUBLISHED if is_published else None,
        intervals,
    )
    require_validation(request.metrics, validation, by=by, under=under)
    seeds = parse_random_ids(random_ids)
    wanted = _wanted_ids(samples, real_samples)
    counts = {side: ids for side, ids in wanted.items() if isinstance(ids, int)}
    chosen = counts if seeds else {}
    requests = _requests_by_seed(request, seeds, bool(chosen))
    axes = parse_axes(under) if under else ()
    sides = {
        side: open_side(side, value, None if side in chosen else wanted[side])
        for side, value in (("real", real), ("generated", generated))
    }
    sides |= open_validation(validation)
    if axes:
        _require_variable(requests, sides)
    with shared_session(local=local):
        announce = not any(isinstance(value, SourceSide) for value in sides.values())
        if announce:
            opened = {s: v for s, v in sides.items() if not isinstance(v, SourceSide)}
            spaces = None if extractors is None else _expand_groups(as_names(extractors))
            requests = [replace(r, space_names=spaces) for r in requests]
        else:
            requests = [_require_statistics_suffice(sides, r) for r in requests]
            opened_sets = {s: value.shards for s, value in sides.items() if isinstance(value, View)}

            texts = None if extractors is None else _expand_groups(as_extractors(extractors))
            vary_resize = "resizes" in axes and not opened_sets
            texts, added = _extractors_of_sources(texts, requests[0], vary_resize=vary_resize)

            def check(made_of: DatasetSpec, counts: Mapping[str, int]) -> None:
                asked = _without_extractors(requests[0], made_of, added)
                side_counts = {side: counts[side] for side in SIDES}
                require_evaluable(asked, made_of, opened_sets, side_counts)

            resources = resources or Resources()
            extraction = SideExtraction(
                texts,
                resolved_protocol,
                keep,
                resources if local is None else replace(resources, local=local),
                progress,
                check,
                Permission(run_code),
                bool(seeds) or _chooses_at_random(resolved_protocol),
                any_size,
            )
            opened = extract_sides(sides, extraction)
            specs = [value.shards.spec for value in opened.values() if isinstance(value, View)]
            requests = [_without_extractors(r, specs[0], added) for r in requests]
        norms = opened.pop(VALIDATION, None)
        if isinstance(norms, View):
            requests = [replace(r, validation=norms) for r in requests]
        if axes:
            views = _choose_samples(opened, chosen, requests[0].random_ids)
            results = evaluate_under(views, requests[0], axes, changes or {}, announce=announce)
            if tell:
                tell(results)
            return results
        return _evaluate_by_seed(opened, chosen, requests, tell, announce=announce)


def _require_variable(
    requests: Sequence[EvaluationRequest], sides: Mapping[str, OpenSide | SourceSide]
) -> None:
    """Raise RaymetricsError for a request whose protocol cannot be varied."""
    if any(isinstance(value, ReferenceStatistics) for value in sides.values()):
        raise RaymetricsError(
            "a file of statistics has one convention, count and resize; give shards or sources on "
            "both sides"
        )
    if requests[0].by or requests[0].scores or requests[0].intervals or len(requests) > 1:
        raise RaymetricsError(
            "numbers under several protocols are those of all samples and one choice of them; "
            "leave out by, scores, intervals, and all seeds but one"
        )


def _without_extractors(
    request: EvaluationRequest, spec: DatasetSpec, added: Mapping[str, str]
) -> EvaluationRequest:
    """Return the request for the extractors of a set that were not added; named columns stay."""
    if not added or request.columns:
        return request
    names = [str(fields["name"]) for fields in spec.extractors]
    return replace(request, space_names=[name for name in names if name not in added])


def _requests_by_seed(
    request: EvaluationRequest, seeds: Sequence[int], is_count: bool
) -> list[EvaluationRequest]:
    """Return the request with every seed; once without any.

    RaymetricsError for several seeds where they choose nothing, or where one file of scores is
    asked for.
    """
    if len(seeds) > 1:
        if not (is_count or request.protocol or request.equal_counts):
            raise RaymetricsError(
                "several seeds choose samples of larger sets; say how many: --samples N, a "
                "protocol, or --equal-counts"
            )
        if request.scores:
            raise RaymetricsError("scores of samples are those of one choice; give one seed")
    return [replace(request, random_ids=seed) for seed in seeds] or [request]


def _chooses_at_random(protocol: Protocol | None) -> bool:
    """Return whether a protocol takes random samples of a larger set."""
    return protocol is not None and protocol.seed is not None


def _extractors_of_sources(
    texts: list[str] | None, request: EvaluationRequest, *, vary_resize: bool
) -> tuple[list[str] | None, dict[str, str]]:
    """Return the extractors of sources, and those among them that are there for their resize.

    texts: those that the user names. None for those of the other side, or the default one.
    """
    texts = _bound_extractors(request) if texts is None else texts
    if not vary_resize:
        return texts, {}
    texts = texts or default_extractors(request.protocol)
    added = add_other_resizes(texts)
    return [*texts, *added.values()], added


def _expand_groups(texts: list[str]) -> list[str]:
    """Return the extractors with the members of every group in its place."""
    from raymetrics.extractors import expand_groups  # loads torch

    return expand_groups(texts)


def _bound_extractors(request: EvaluationRequest) -> list[str] | None:
    """Return the networks that all metrics are bound to; None if one is not bound to a network."""
    from raymetrics.extractors import PUBLISHED_NETWORKS  # loads torch

    spaces = [metric.space for metric in request.metrics]
    names = [space for space in spaces if space in PUBLISHED_NETWORKS]
    return list(dict.fromkeys(names)) if names and len(names) == len(spaces) else None


def _evaluate_by_seed(
    opened: Mapping[str, OpenSide],
    counts: Mapping[str, int],
    requests: Sequence[EvaluationRequest],
    tell: Callable[[list[Result]], None] | None,
    *,
    announce: bool,
) -> list[Result]:
    """Compute the numbers of the samples that every seed chooses, and their means."""
    chosen = [_choose_samples(opened, counts, request.random_ids) for request in requests]
    if len(requests) == 1:
        return _evaluate_opened(chosen[0], requests[0], tell, announce=announce)
    _require_different_samples(chosen[:2], requests[:2])
    results_by_seed = {
        seed: _evaluate_opened(sides, request, None, announce=announce and i == 0)
        for i, (sides, request) in enumerate(zip(chosen, requests, strict=True))
        if (seed := request.random_ids) is not None
    }
    results = average_over_seeds(results_by_seed)
    if tell:
        tell(results)
    return results


def _require_different_samples(
    chosen: Sequence[Mapping[str, OpenSide]], requests: Sequence[EvaluationRequest]
) -> None:
    """Raise NotEnoughData if two seeds choose the same samples of whole sides."""
    if requests[0].by and requests[0].equal_counts:
        return
    selections = []
    for sides, request in zip(chosen, requests, strict=True):
        views = {side: value for side, value in sides.items() if isinstance(value, View)}
        views = dict(request.select_samples(views)) if len(views) == len(sides) else views
        selections.append([view.samples for view in views.values()])
    if selections[0] == selections[1]:
        raise NotEnoughData(
            "all seeds choose the same samples, as no set has more than are asked for; extract "
            "more, or ask for fewer"
        )


def _resolve_convention(
    convention: Convention | str | None,
    protocol: Protocol | None,
    changes: Mapping[str, object] | None,
) -> Convention:
    """Return the convention of the protocol, of the name, or the default one, with changes."""
    if protocol is not None:
        resolved = protocol.convention
    elif isinstance(convention, str):
        resolved = formulas.get_convention(convention)
    else:
        resolved = convention or Convention()
    return change_convention(resolved, **(changes or {}))


def _choose_samples(
    sides: Mapping[str, OpenSide], counts: Mapping[str, int], seed: int | None
) -> dict[str, OpenSide]:
    """Return the sides with so many samples of each view chosen at random, if there is a seed."""
    return {
        side: take_count(value, counts[side], seed)
        if isinstance(value, View) and side in counts and seed is not None
        else value
        for side, value in sides.items()
    }


def _wanted_ids(
    samples: int | str | range | None, real_samples: int | str | range | None
) -> dict[str, Ids | int | None]:
    """Return the ids, or the number of first samples, to take of each side; None for all."""
    generated_ids = parse_ids_or_count(samples)
    real_ids = parse_ids_or_count(real_samples)
    if real_samples is None and isinstance(generated_ids, int):
        real_ids = generated_ids
    return {"real": real_ids, "generated": generated_ids}


def _require_statistics_suffice(
    sides: Mapping[str, OpenSide | SourceSide], request: EvaluationRequest
) -> EvaluationRequest:
    """Return the request with the metrics that it has where one side is statistics.

    RaymetricsError for a metric that takes more than a mean and a covariance.
    """
    for value in sides.values():
        if isinstance(value, ReferenceStatistics):
            return replace(request, metrics=require_moment_metrics(request, value))
    return request


def _evaluate_opened(
    sides: Mapping[str, OpenSide],
    request: EvaluationRequest,
    tell: Callable[[list[Result]], None] | None,
    *,
    announce: bool = True,
) -> list[Result]:
    """Compute the numbers of two sides that are open; one may be statistics."""
    views = {side: value for side, value in sides.items() if isinstance(value, View)}
    if len(views) == len(sides):
        return evaluate_shards(views, request, tell, announce=announce)
    if request.by or request.scores or request.equal_counts:
        raise RaymetricsError(
            "a file of statistics knows neither labels nor samples; leave out by, scores and "
            "equal_counts"
        )
    results = evaluate_with_statistics(sides, request, announce=announce)
    if tell:
        tell(results)
    return results
