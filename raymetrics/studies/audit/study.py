"""The study `audit`: how much of a Frechet distance lies in the perceptual null space.

Kynkaanniemi et al. (2023), The Role of ImageNet Classes in Frechet Inception Distance: its attacks
on one generator, and its example of two generators whose order FID and FID of CLIP disagree on
(section 4).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from raymetrics.attacks import Step
from raymetrics.distributed.choose_executor import SMALL_FEATURE_BYTES, runs_in_process
from raymetrics.distributed.session import shared_session
from raymetrics.python_arguments import as_names
from raymetrics.results import Result
from raymetrics.shards.shard_set import ShardSet
from raymetrics.shards.writable import require_writable_store
from raymetrics.studies.attack_numbers import fold_top1_classes
from raymetrics.studies.audit.draws import SCHEME, MatchedCounts, count_matched, write_matched
from raymetrics.studies.audit.numbers import (
    evaluate_attacks,
    make_audit_results,
    summarize_generator,
)
from raymetrics.studies.audit.request import MATCH, AuditRequest, make_audit_request
from raymetrics.studies.audit.verdict import verdict_sentences
from raymetrics.studies.comparison import set_uri
from raymetrics.studies.reweight.optimize import reweight_shards
from raymetrics.studies.reweight.weights_file import SampleWeights, write_drawn
from raymetrics.studies.seeds import as_seeds


@dataclass(frozen=True, eq=False)
class AuditOutcome:
    """What `audit` found: the verdict in sentences, and the numbers that it is made from."""

    verdict: tuple[str, ...]
    numbers: list[Result]


def audit(
    *,
    real: str | ShardSet,
    generated: str | ShardSet | Sequence[str | ShardSet],
    to: str,
    names: str | Sequence[str] | None = None,
    space: str | None = None,
    second: str | Sequence[str] | None = None,
    n: int | None = None,
    seeds: int | Sequence[int] = 10,
    max_evaluations: int | None = None,
    any_size: bool = False,
    local: bool | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> AuditOutcome:
    """Find how much of a Frechet distance, or of a difference of two, is in its null space.

    real: a complete shard set, or some of its samples as "SHARDS?ids=FILE".
    generated: the same of the candidates of one generator, or of two that are compared. All sets
    have the headline space with its logits, and at least one second space.
    to: a folder or a prefix, with a folder of weights and draws for each generator.
    names: of the generators; by default the last parts of their addresses.
    space: the extractor of the headline space; by default inception, or the only one.
    second: extractors of second spaces, which were not trained to tell the classes of the headline
    apart; by default all others of the sets.
    n: samples in a draw, at most half of the candidates; by default as many as there are real ones,
    or half of the candidates if those are fewer.
    seeds: of the draws of each kind, or how many, at least 2; means and deviations are over them.
    max_evaluations: of the distance with its gradient, in a reweighting; by default 100.
    any_size: also compare sets whose images have different sizes.
    local: compute in this process, without Ray. on_step: called after an evaluation.

    Run again after anything that stopped it: weights are continued and not made twice, and the
    numbers are the same for any number of workers. Raises ShardError; SpecMismatch for sets that
    cannot be compared, without a second space, and for a folder with weights of other sets;
    NotEnoughData, or InsufficientResources before any feature is read.
    """
    require_writable_store(to)
    sets = [generated] if isinstance(generated, str | ShardSet) else [*generated]
    request = make_audit_request(
        real=set_uri("real", real),
        generated=[set_uri("generated", shards) for shards in sets],
        names=None if names is None else as_names(names),
        space=space,
        second=None if second is None else as_names(second),
        n=n,
        seeds=as_seeds(seeds),
        max_evaluations=max_evaluations,
        any_size=any_size,
    )
    in_process = runs_in_process(local, small=_is_small(request), work=f"draws of {request.n}")
    with shared_session(local=in_process):
        matched = _count_matched_by_name(request)
        generators, results = [], []
        for name, counts in matched.items():
            folder = f"{to}/{name}"
            weights = _find_weights(request, name, folder, on_step)
            _write_draws(request, name, folder, weights, counts)
            numbers = evaluate_attacks(request, name, weights, counts)
            generators.append(summarize_generator(name, numbers))
            results += make_audit_results(generators[-1], numbers)
    return AuditOutcome(tuple(verdict_sentences(generators)), results)


def _is_small(request: AuditRequest) -> bool:
    """Return whether one process audits the sets sooner than Ray would have started."""
    sets = [request.real, *request.candidates.values()]
    dimensions = sum(column.dimension for column in request.real.shards.spec.columns)
    return 4 * dimensions * sum(map(len, sets)) <= SMALL_FEATURE_BYTES


def _count_matched_by_name(request: AuditRequest) -> dict[str, MatchedCounts]:
    """Return what a matched draw of every generator takes, before weights take their time.

    NotEnoughData if a generator's candidates lack most of the real classes.
    """
    logits = request.logits
    real_classes = fold_top1_classes(request.real, logits.name)
    class_names = request.real.shards.spec.class_names.get(logits.extractor, ())
    return {
        name: count_matched(
            real_classes=real_classes,
            candidate_classes=fold_top1_classes(view, logits.name),
            n=request.n,
            uri=view.shards.uri,
            names=class_names,
        )
        for name, view in request.candidates.items()
    }


def _find_weights(
    request: AuditRequest, name: str, folder: str, on_step: Callable[[Step], None] | None
) -> SampleWeights:
    """Return the weights of a generator's samples, found anew or by an earlier run."""
    return reweight_shards(
        real=request.real,
        generated=request.candidates[name],
        to=folder,
        match=MATCH,
        extractor=request.headline.extractor,
        max_evaluations=request.max_evaluations,
        any_size=request.any_size,
        on_step=on_step,
    )


def _write_draws(
    request: AuditRequest, name: str, folder: str, weights: SampleWeights, matched: MatchedCounts
) -> None:
    """Write a draw of each attack, with seed 0, as selections for other verbs."""
    view = request.candidates[name]
    write_drawn(weights, view, request.n, SCHEME)
    write_matched(folder, view, matched, {"column": request.logits.name, "n": request.n, "seed": 0})
