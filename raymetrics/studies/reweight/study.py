"""The study `reweight`: find weights of samples, draw by them, and measure what that does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from raymetrics.attacks import Step
from raymetrics.attacks.matched_features import MATCH_CHOICES
from raymetrics.distributed.session import shared_session
from raymetrics.errors import RaymetricsError
from raymetrics.python_arguments import as_names
from raymetrics.results import Result
from raymetrics.shards.shard_set import ShardSet
from raymetrics.shards.writable import require_writable_store
from raymetrics.studies.attack_numbers import evaluate_reweighted
from raymetrics.studies.comparison import open_as_view, set_uri
from raymetrics.studies.reweight.optimize import make_reweight_request, reweight_shards
from raymetrics.studies.reweight.settings import ReweightSettings
from raymetrics.studies.reweight.weights_file import SampleWeights, require_draw_size, write_drawn
from raymetrics.studies.seeds import as_seeds


@dataclass(frozen=True, eq=False)
class WeightedDraw:
    """Weights of the samples, and a draw by them with seed 0."""

    weights: SampleWeights
    path: str  # of drawn.parquet, a selection for other verbs
    n: int  # samples of the draw
    scheme: str


@dataclass(frozen=True, eq=False)
class ReweightResult:
    """What `reweight` found: weights with a draw for every match, and the numbers of all draws."""

    draws: tuple[WeightedDraw, ...]
    numbers: list[Result]


def reweight(
    *,
    real: str | ShardSet,
    generated: str | ShardSet,
    to: str,
    match: str | Sequence[str] = "pre_logits",
    extractor: str | None = None,
    optimizer: str = "lbfgs",
    max_evaluations: int | None = None,
    tolerance: float = 1e-3,
    learning_rate: float | None = None,
    covariance: str = "paper",
    select: str = "last",
    evaluate_every: int | None = None,
    n: int | None = None,
    seeds: int | Sequence[int] = 10,
    scheme: str = "multinomial",
    any_size: bool = False,
    local: bool | None = None,
    on_step: Callable[[Step], None] | None = None,
    tell: Callable[[WeightedDraw], None] = lambda draw: None,
) -> ReweightResult:
    """Find weights of generated samples whose Frechet distance to real samples is least.

    Kynkaanniemi et al. 2023, Eq. 3, Tables 2 and 3: an attack on FID.

    real, generated: complete shard sets, or some of their samples as "SHARDS?ids=FILE".
    to: a folder or a prefix for weights.parquet and drawn.parquet; of several matches each has a
    folder of its own below it.
    match: the features whose distance it is, or several: "pre_logits", "logits", "probabilities",
    "top_n:N" or "middle_n:N"; see `raymetrics.attacks.matched_features`.
    extractor: whose features; by default inception, or the only one that both sets have.
    optimizer: "lbfgs", or "gd", the paper's gradient descent, which is slow.
    max_evaluations: of the distance with its gradient; by default 100, of "gd" 1000.
    tolerance: ends when ten evaluations lower the distance by less than this part of it.
    learning_rate: of "gd"; by default the paper's, 10 for pre-logits and 5 otherwise.
    covariance: "paper" divides the candidates' covariance by the sum of weights, "program" by the
    sum less 1, as the paper's program does; of "gd" alone.
    select: the "last" weights, or those whose draws had the smallest Frechet distance on the way,
    "best-of-draws", as in the paper. A minimum that was selected is optimistic; the numbers that
    are reported are of other draws.
    evaluate_every: evaluations between two of draws on the way, whose metrics go to trace.jsonl; by
    default none, of "best-of-draws" 10 of "lbfgs" and 500 of "gd".
    n: samples in a draw; by default as many as there are real ones.
    seeds: how many draws' mean is reported, or their seeds, beside random draws, in every feature
    space of both sets.
    scheme: "multinomial", with replacement as in the paper, or "systematic", which has less noise,
    so that the attack looks stronger.
    any_size: also compare sets whose images have different sizes.
    local: compute in this process, without Ray.
    on_step: called after an evaluation. tell: called with every draw before numbers are computed.

    Run again after anything that stopped it: it goes on from its last state, with the same bits;
    so it does with more max_evaluations until the weights have converged. Raises ShardError,
    SpecMismatch for sets that cannot be compared and for a folder with weights of another request,
    NotEnoughData, or InsufficientResources before any feature is read. Of arrays:
    `raymetrics.in_memory.reweight`.
    """
    matches = as_names(match)
    if not matches:
        raise RaymetricsError(f"--match names no features; choose from {MATCH_CHOICES}")
    real_view = open_as_view(set_uri("real", real))
    generated_view = open_as_view(set_uri("generated", generated))
    seeds = as_seeds(seeds)
    settings = ReweightSettings(
        max_evaluations=max_evaluations,
        optimizer=optimizer,
        tolerance=tolerance,
        learning_rate=learning_rate,
        covariance=covariance,
        select=select,
        evaluate_every=evaluate_every,
        n=n,
        scheme=scheme,
    )
    for name in matches:  # before the first of them takes its time
        make_reweight_request(
            real_view, generated_view, name, extractor, settings, any_size=any_size
        )
    count, draws = require_draw_size(real=real_view, generated=generated_view, n=n), []
    require_writable_store(to)
    with shared_session(local=local):
        for name in matches:
            weights = reweight_shards(
                real=real_view,
                generated=generated_view,
                to=to if len(matches) == 1 else f"{to}/{name}",
                match=name,
                extractor=extractor,
                **asdict(settings),
                any_size=any_size,
                on_step=on_step,
            )
            path = write_drawn(weights, generated_view, count, scheme)
            draws.append(WeightedDraw(weights, path, count, scheme))
            tell(draws[-1])
        numbers = evaluate_reweighted(
            real=real_view,
            generated=generated_view,
            weights=[draw.weights.path for draw in draws],
            n=count,
            seeds=seeds,
            scheme=scheme,
        )
    return ReweightResult(tuple(draws), numbers)
