"""Sampling weights that minimize the Frechet distance, for candidates that lie in shards.

Kynkaanniemi et al. (2023), The Role of ImageNet Classes in Frechet Inception Distance, Eq. 3.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from math import gcd, isnan

import numpy as np
from threadpoolctl import threadpool_limits

from raymetrics.attacks import (
    LbfgsState,
    ObjectiveEvaluator,
    OptimizedWeights,
    Step,
    TargetGaussian,
    minimize_distance,
)
from raymetrics.attacks.gradient_descent import (
    COVARIANCES,
    DescentState,
    descend,
    normalize_log_weights,
    paper_loss,
    program_loss,
)
from raymetrics.attacks.matched_features import MatchTarget, NonzeroColumns, shared_columns
from raymetrics.attacks.weights_objective import effective_sample_size
from raymetrics.attacks.weights_optimizer import weights_of_state, with_exact_distance
from raymetrics.distributed.checkpoint import Checkpoint, require_same_request
from raymetrics.distributed.choose_executor import SMALL_FEATURE_BYTES, runs_in_process
from raymetrics.distributed.fold import fold_shards
from raymetrics.distributed.memory_limits import plan_partitions
from raymetrics.distributed.partition_workers import start_workers
from raymetrics.distributed.partitioned_features import (
    FeatureTransform,
    PartitionedEvaluator,
    PartitionedFeatures,
)
from raymetrics.distributed.session import session
from raymetrics.errors import NotEnoughData, RaymetricsError, SpecMismatch
from raymetrics.npz_files import Arrays
from raymetrics.provenance import software_environment
from raymetrics.shards.comparability import require_same_extractor, require_shared_extractors
from raymetrics.shards.schema import SAMPLE_ID, Column
from raymetrics.shards.selection_files import (
    WEIGHT,
    read_weights,
    selection_metadata,
    write_selection,
)
from raymetrics.shards.shard_set import ShardSet
from raymetrics.shards.store import Store
from raymetrics.shards.view import View
from raymetrics.statistics import ColumnStatistic, Moments, from_arrays, to_arrays
from raymetrics.studies.comparison import open_as_view
from raymetrics.studies.reweight.drawn_metrics import (
    TRACE_FILE,
    DrawnMetrics,
    deciding_column,
)
from raymetrics.studies.reweight.settings import ReweightSettings
from raymetrics.studies.reweight.weights_file import (
    DRAWN_FILE,
    WEIGHTS_FILE,
    SampleWeights,
    require_draw_size,
)

_REQUEST_VERSION = 1  # of what a request means
_PREFERRED_EXTRACTOR = "inception"  # of the extractors, where both sets have it


@dataclass(frozen=True, eq=False)
class ReweightRequest:
    """What is asked, checked and opened."""

    real: View
    generated: View
    column: Column
    match: MatchTarget
    settings: ReweightSettings

    @property
    def identity(self) -> dict[str, object]:
        """All that the way to the weights depends on; how far to go on it is not in here."""
        return {
            "version": _REQUEST_VERSION,
            "real": self.real.digest(),
            "generated": self.generated.digest(),
            "column": self.column.name,
            "match": str(self.match),
            **self.settings.identity(self.match),
        }


@dataclass(frozen=True, eq=False)
class FoundWeights:
    """The weights that were selected, with all that was computed on the way."""

    weights: np.ndarray  # float64 [candidates]
    distance: float
    optimized: OptimizedWeights  # to the last ones
    drawn: DrawnMetrics | None


def reweight_shards(
    *,
    real: str | View,
    generated: str | View,
    to: str,
    match: str = "pre_logits",
    extractor: str | None = None,
    max_evaluations: int | None = None,
    optimizer: str = "lbfgs",
    tolerance: float = 1e-3,
    learning_rate: float | None = None,
    covariance: str = "paper",
    select: str = "last",
    evaluate_every: int | None = None,
    n: int | None = None,
    scheme: str = "multinomial",
    in_memory: bool | None = None,
    any_size: bool = False,
    local: bool | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> SampleWeights:
    """Find the weights of generated samples whose Frechet distance to the real ones is least.

    real, generated: complete shard sets, or some of their samples as "SHARDS?ids=FILE".
    to: a folder or a prefix, for weights.parquet. Until they have converged state.npz lies there
    too: the same command goes on from it after anything that stopped it, with the same bits
    for any number of cores and actors, and so does one with more evaluations.
    match: the features whose distance it is, see `raymetrics.attacks.matched_features`.
    extractor: whose; by default inception, or the only one that both sets have such features of.
    max_evaluations: of the objective; by default 100, or 1000 steps of gradient descent.
    learning_rate, covariance, select, evaluate_every: see `raymetrics.reweight`. n, scheme: of the
    draws on the way.
    in_memory: hold the candidates' features in this process, or with actors; by default as it fits.
    any_size: also for candidates whose images have another size than the real ones.
    local: compute in this process, without Ray.

    Raises ShardError, SpecMismatch for sets that cannot be compared and for a folder with weights
    of another request, NotEnoughData, or InsufficientResources before any feature is read.
    """
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
    request = make_reweight_request(real, generated, match, extractor, settings, any_size=any_size)
    store, states = Store(to), Checkpoint(Store(to), request.identity)
    sample_weights = _load_if_done(store, request)
    if sample_weights is None:
        # The last bits of a product and of eigenvalues depend on how many threads compute them:
        # from 256 dimensions on, `optimal_map` has other bits in two threads than in one.
        size = 4 * request.column.dimension * len(request.generated)
        small = size <= SMALL_FEATURE_BYTES
        work = f"weights of {len(request.generated)} samples"
        local = runs_in_process(local, small=small, work=work)
        with session(local=local), states, threadpool_limits(1, user_api="blas"):
            found = optimize_weights(request, in_memory, states, on_step)
        _write_weights(store, request, found)
        sample_weights = _load_if_done(store, request)
        assert sample_weights is not None
    if sample_weights.converged:
        states.remove()
    return sample_weights


def make_reweight_request(
    real: str | View,
    generated: str | View,
    match: str,
    extractor: str | None,
    settings: ReweightSettings,
    *,
    any_size: bool = False,
) -> ReweightRequest:
    """Check a request and open its sides."""
    match_target = MatchTarget.parse(match)
    views = {"real": open_as_view(real), "generated": open_as_view(generated)}
    least_candidates = 1 + COVARIANCES[settings.covariance]
    for side, minimum in (("real", 2), ("generated", least_candidates)):
        if len(views[side]) < minimum:
            raise NotEnoughData(
                f"{views[side].shards.uri} has {len(views[side])} {side} samples; weights take at "
                f"least {minimum}"
            )
    if views["generated"].repeats:
        raise RaymetricsError(
            f"the selection of {views['generated'].shards.uri} names candidates repeatedly; "
            "expected each once"
        )
    sets = {side: view.shards for side, view in views.items()}
    column = choose_output_column(
        **sets, output=match_target.output, extractor=extractor, any_size=any_size
    )
    if match_target.is_indicator:
        match_target.marked_ranks(column.dimension)
    if settings.every is not None:
        settings = replace(settings, n=require_draw_size(**views, n=settings.n))
        deciding_column(**views, extractor=column.extractor)
    return ReweightRequest(**views, column=column, match=match_target, settings=settings)


def choose_output_column(
    *, real: ShardSet, generated: ShardSet, output: str, extractor: str | None,
    any_size: bool = False,
) -> Column:  # fmt: skip
    """Return the column of this output. Raise SpecMismatch unless both sets have it, made alike."""
    require_shared_extractors(real, generated)
    if extractor is not None:
        require_same_extractor(real, generated, extractor, any_size=any_size)
    common_columns = [column for column in real.spec.columns if column in generated.spec.columns]
    columns_by_extractor = {
        column.extractor: column for column in common_columns if column.output == output
    }
    chosen_extractor = extractor or (
        _PREFERRED_EXTRACTOR if _PREFERRED_EXTRACTOR in columns_by_extractor else None
    )
    if chosen_extractor is None and len(columns_by_extractor) == 1:
        (chosen_extractor,) = columns_by_extractor
    if chosen_extractor not in columns_by_extractor:
        extractor_suffix = f" of {extractor}" if extractor else ""
        hint = (
            f"; choose an extractor: {', '.join(columns_by_extractor)}"
            if chosen_extractor is None and columns_by_extractor
            else ""
        )
        common_names = ", ".join(column.name for column in common_columns)
        raise SpecMismatch(
            f"{'several columns' if hint else 'no column'} {output}{extractor_suffix} in both "
            f"{real.uri} and {generated.uri}, which both have {common_names}{hint}"
        )
    require_same_extractor(real, generated, chosen_extractor, any_size=any_size)
    return columns_by_extractor[chosen_extractor]


def optimize_weights(
    request: ReweightRequest,
    in_memory: bool | None,
    states: Checkpoint,
    on_step: Callable[[Step], None] | None,
) -> FoundWeights:
    """Optimize the weights, from equal ones or from a saved state."""
    name, settings = request.column.name, request.settings
    plan = plan_partitions(request.generated, request.column.dimension, in_memory)
    states.resume()
    matching = _feature_transform(request)
    moments = {"moments": ColumnStatistic(name, partial(matched_moments, matching))}
    goal = TargetGaussian.from_moments(
        fold_shards(request.real, moments)["moments"],
        candidate_ddof=COVARIANCES[settings.covariance],
    )
    candidates = PartitionedFeatures.from_view(
        request.generated, name, matching, goal, on_device=plan.on_device
    )

    drawn = _make_drawn_metrics(request)
    saved_state = states.saved_state if drawn is None else drawn.restore(states.saved_state)
    with closing(start_workers(candidates, plan)) as pool:
        evaluate = PartitionedEvaluator(candidates.slices, pool)

        def save_and_report(state: LbfgsState | DescentState) -> None:
            step = Step(*state.trace[-1])
            if drawn is not None and drawn.is_due(state.evaluations):
                drawn.evaluate(
                    step._replace(evaluations=state.evaluations), _state_weights(evaluate, state)
                )
            drawn_arrays = {} if drawn is None else drawn.to_arrays()
            states.save_if_due({**to_arrays(state), **drawn_arrays})
            if on_step:
                on_step(step)

        optimized = _run_optimizer(evaluate, request, saved_state, save_and_report)
        if settings.covariance == "paper":  # the program's depends on the sum of e^w too
            optimized = with_exact_distance(optimized, evaluate)
        return _select_weights(request, optimized, drawn, evaluate)


def _make_drawn_metrics(request: ReweightRequest) -> DrawnMetrics | None:
    """Return the metrics of draws on the way, still without any; None if none are asked for."""
    settings = request.settings
    if settings.every is None or settings.n is None:
        return None
    real, generated = request.real, request.generated
    deciding = deciding_column(real=real, generated=generated, extractor=request.column.extractor)
    return DrawnMetrics(real, generated, deciding, settings.n, settings.scheme, settings.every)


def _state_weights(evaluate: ObjectiveEvaluator, state: LbfgsState | DescentState) -> np.ndarray:
    """Return the weights of a state, float64 [candidates], that sum to 1."""
    if isinstance(state, LbfgsState):
        return weights_of_state(evaluate, state)
    return normalize_log_weights(state.log_weights)


def _select_weights(
    request: ReweightRequest,
    optimized: OptimizedWeights,
    drawn: DrawnMetrics | None,
    evaluate: PartitionedEvaluator,
) -> FoundWeights:
    """Select the last weights, or those of the smallest distance of a draw.

    The last weights are drawn from too, but that is no part of a saved state: a run with more
    evaluations does not stop at them.
    """
    last = FoundWeights(optimized.weights, optimized.distance, optimized, drawn)
    if drawn is None:
        return last
    # The last evaluation of gradient descent is of the weights that its last step led to.
    reached = optimized.evaluations - (request.settings.optimizer == "gd")
    if not drawn.rows or drawn.rows[-1].evaluations < reached:
        drawn.evaluate(optimized.trace[-1], optimized.weights)
    weights = drawn.best_weights
    if request.settings.select == "last" or weights is None:
        return last
    if drawn.best is drawn.rows[-1] and np.array_equal(weights, optimized.weights):
        return last
    is_paper = request.settings.covariance == "paper"
    distance = evaluate.exact_distance(weights) if is_paper else drawn.best.distance
    return FoundWeights(weights, distance, optimized, drawn)


def _run_optimizer(
    evaluate: PartitionedEvaluator,
    request: ReweightRequest,
    saved_state: Arrays,
    on_state: Callable[[LbfgsState | DescentState], None],
) -> OptimizedWeights:
    """Run the optimizer, from a saved state if there is one, and return its weights."""
    settings = request.settings
    if settings.optimizer == "lbfgs":
        return minimize_distance(
            evaluate,
            max_evaluations=settings.budget,
            tolerance=settings.tolerance,
            state=from_arrays(LbfgsState, saved_state) if saved_state else None,
            on_step=on_state,
        )
    optimized = descend(
        paper_loss(evaluate) if settings.covariance == "paper" else program_loss(evaluate),
        len(request.generated),
        max_evaluations=settings.budget,
        learning_rate=settings.rate(request.match),
        state=from_arrays(DescentState, saved_state) if saved_state else None,
        on_step=on_state,
        report_every=gcd(10, settings.every or 10),
    )
    return replace(optimized, converged=False)  # it has no end of its own, and can always go on


def _feature_transform(request: ReweightRequest) -> FeatureTransform:
    """Return the transform of a column's values to matched features; after a look at both sides
    where it takes one to know which columns stay."""
    match = request.match
    if not match.is_indicator:
        return match.transform
    measures = {"occurring": ColumnStatistic(request.column.name, partial(_nonzero_columns, match))}
    real, generated = (
        fold_shards(view, measures)["occurring"] for view in (request.real, request.generated)
    )
    return partial(match.transform, columns=shared_columns(match, real=real, generated=generated))


def _nonzero_columns(
    match: MatchTarget, sample_ids: np.ndarray, values: np.ndarray
) -> NonzeroColumns:
    """Find the columns that occur in a block; a measure."""
    return NonzeroColumns.from_samples(match.transform(values))


def matched_moments(
    matching: FeatureTransform, sample_ids: np.ndarray, values: np.ndarray
) -> Moments:
    """Compute the moments of matched features; a measure."""
    return Moments.from_samples(matching(values))


def _load_if_done(store: Store, request: ReweightRequest) -> SampleWeights | None:
    """Return the weights of an earlier run, unless more evaluations could improve them.
    SpecMismatch if they are of another request."""
    if WEIGHTS_FILE not in store.names():
        return None
    path = f"{store.uri}/{WEIGHTS_FILE}"
    choice = read_weights(path)
    require_same_request(choice.metadata.get("request", {}), request.identity, path)
    sample_weights = SampleWeights.from_file(choice)
    budget = request.settings.budget
    enough = sample_weights.converged or choice.metadata["max_evaluations"] >= budget
    return sample_weights if enough else None


def _write_weights(store: Store, request: ReweightRequest, found: FoundWeights) -> None:
    """Write the weights and all facts about them, after removing a draw by earlier ones.

    The metrics of draws on the way are also written as lines of JSON.
    """
    store.remove(DRAWN_FILE)
    if found.drawn is not None:
        lines = "".join(row.to_json() for row in found.drawn.rows)
        store.replace(TRACE_FILE, lines.encode())
    metadata = selection_metadata("weights", request.generated, **_describe(request, found))
    columns = {SAMPLE_ID: request.generated.sample_ids, WEIGHT: found.weights}
    write_selection(f"{store.uri}/{WEIGHTS_FILE}", columns, metadata)


def _describe(request: ReweightRequest, found: FoundWeights) -> dict[str, object]:
    """Return all that the file says of how the weights were found."""
    real, settings, optimized = request.real, request.settings, found.optimized
    facts: dict[str, object] = {
        "request": request.identity,
        "real": {"uri": real.shards.store.absolute_uri, "digest": real.digest()},
        "match": str(request.match),
        "column": request.column.name,
        "extractor": request.column.extractor,
        "optimizer": settings.optimizer,
        "tolerance": settings.tolerance,
        "covariance": settings.covariance,
        "select": settings.select,
        "max_evaluations": max(settings.budget, optimized.evaluations),
        "converged": optimized.converged,
        "distance": found.distance,
        "effective_sample_size": effective_sample_size(found.weights),
        "gap": _none_for_nan(optimized.gap),
        "trace": [[*map(_none_for_nan, step)] for step in optimized.trace],
        **software_environment(),
    }
    if settings.optimizer == "gd":
        facts["learning_rate"] = settings.rate(request.match)
    if found.drawn is not None:
        facts["drawn"] = [asdict(row) for row in found.drawn.rows]
        facts["deciding"] = found.drawn.deciding.name
        if settings.select == "best-of-draws":
            best = found.drawn.best
            facts["selected"] = {"evaluations": best.evaluations, "smallest": best.smallest}
    return facts


def _none_for_nan(value: float) -> float | None:
    """Return the number; None for NaN, which JSON does not have."""
    return None if isnan(value) else value
