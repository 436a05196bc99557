"""Sampling weights that minimise the Frechet distance, for candidates that lie in shards.

Kynkaanniemi et al. (2023), The Role of ImageNet Classes in Frechet Inception Distance, Eq. 3.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from raymetrics.attacks import Evaluator, Goal, Optimised, State, Step, minimise
from raymetrics.attacks.gradient_descent import DescentState, by_the_paper, descend
from raymetrics.attacks.matched_features import Match, Occurring, kept
from raymetrics.attacks.weights_optimizer import with_exact_distance
from raymetrics.distributed.checkpoint import Arrays, Kept, require_same
from raymetrics.distributed.fold import fold_shards
from raymetrics.distributed.partition_workers import held, planned
from raymetrics.distributed.partitioned_features import Candidates, Matching, OverParts
from raymetrics.distributed.session import session
from raymetrics.errors import NotEnoughData, RaymetricsError, SpecMismatch
from raymetrics.provenance import environment
from raymetrics.shards.comparability import require_alike, require_some_shared
from raymetrics.shards.open_view import open_view
from raymetrics.shards.schema import SAMPLE_ID, Column
from raymetrics.shards.selection_files import WEIGHT, made_of, read_weights, write_choice
from raymetrics.shards.shard_set import ShardSet
from raymetrics.shards.store import Store
from raymetrics.shards.view import View
from raymetrics.statistics import Measure, Moments, from_arrays, to_arrays
from raymetrics.studies.reweight.weights_file import DRAWN, FILE, Weighted

VERSION = 1  # of what a request means
FIRST_CHOICE = "inception"  # of the extractors, where both sets have it
BUDGET = {"lbfgs": 100, "gd": 1000}  # evaluations, by optimizer


@dataclass(frozen=True, eq=False)
class Request:
    """What is asked, checked and opened."""

    real: View
    generated: View
    column: Column
    match: Match
    optimizer: str
    tolerance: float
    budget: int  # evaluations

    @property
    def identity(self) -> dict[str, object]:
        """All that the way to the weights depends on; how far to go on it is not in here."""
        return {
            "version": VERSION,
            "real": self.real.digest(),
            "generated": self.generated.digest(),
            "column": self.column.name,
            "match": str(self.match),
            "optimizer": self.optimizer,
            "tolerance": self.tolerance,
        }


def reweight_shards(
    *,
    real: str,
    generated: str,
    to: str,
    match: str = "pre_logits",
    extractor: str | None = None,
    max_evaluations: int | None = None,
    optimizer: str = "lbfgs",
    tolerance: float = 1e-3,
    in_memory: bool | None = None,
    any_size: bool = False,
    told: Callable[[Step], None] | None = None,
) -> Weighted:
    """Weights of the generated samples for which their Frechet distance to the real ones is least.

    real, generated: complete shard sets, or some of their samples as "SHARDS?ids=FILE".
    to: a folder or a prefix, for weights.parquet. Until they have converged state.npz lies there
    too: the same command goes on from it after anything that stopped it, with the same bits
    for any number of cores and actors, and so does one with more evaluations.
    match: the features whose distance it is, see `raymetrics.attacks.matched_features`.
    extractor: whose; by default inception, or the only one that both sets have such features of.
    max_evaluations: of the objective; by default 100, or 1000 steps of gradient descent.
    in_memory: hold the candidates' features in this process, or with actors; by default as it fits.
    any_size: also for candidates whose images have another size than the real ones.

    Raises ShardError, SpecMismatch for sets that cannot be compared and for a folder with weights
    of another request, NotEnoughData, or PlanTooLarge before any feature is read.
    """
    asked = requested(
        real, generated, match, extractor, optimizer, tolerance, max_evaluations, any_size=any_size
    )
    store, states = Store(to), Kept(Store(to), asked.identity)
    found = finished(store, asked)
    if found is None:
        # The last bits of a product and of eigenvalues depend on how many threads compute them.
        with session(), states, threadpool_limits(1, user_api="blas"):
            optimised = optimise(asked, in_memory, states, told)
        write(store, asked, optimised)
        found = finished(store, asked)
        assert found is not None
    if found.converged:
        states.remove()
    return found


def requested(
    real: str, generated: str, match: str, extractor: str | None, optimizer: str,
    tolerance: float, max_evaluations: int | None = None, *, any_size: bool = False,
) -> Request:  # fmt: skip
    """The request, if it makes sense."""
    if optimizer not in BUDGET:
        raise RaymetricsError(f"no optimizer {optimizer!r}; there are {', '.join(BUDGET)}")
    if not 0 <= tolerance < 1:
        raise RaymetricsError(f"the tolerance is {tolerance}; expected at least 0 and below 1")
    budget = BUDGET[optimizer] if max_evaluations is None else max_evaluations
    if budget < 1:
        raise RaymetricsError(f"{budget} evaluations are asked for; it takes at least 1")
    how = Match.parse(match)
    views = {"real": open_view(real), "generated": open_view(generated)}
    for side, least in (("real", 2), ("generated", 1)):
        if len(views[side]) < least:
            raise NotEnoughData(
                f"{views[side].shards.uri} has {len(views[side])} {side} samples; weights take at "
                f"least {least}"
            )
    if views["generated"].repeats:
        raise RaymetricsError(f"{generated} names candidates repeatedly; expected each once")
    sets = {side: view.shards for side, view in views.items()}
    column = column_of(**sets, output=how.output, extractor=extractor, any_size=any_size)
    if how.marks:
        how.places(column.dimension)
    return Request(
        **views, column=column, match=how, optimizer=optimizer, tolerance=tolerance, budget=budget
    )


def column_of(
    *, real: ShardSet, generated: ShardSet, output: str, extractor: str | None,
    any_size: bool = False,
) -> Column:  # fmt: skip
    """The column of this output. SpecMismatch unless both sets have it, made alike."""
    require_some_shared(real, generated)
    if extractor is not None:
        require_alike(real, generated, extractor, any_size=any_size)
    both = [column for column in real.spec.columns if column in generated.spec.columns]
    there = {column.extractor: column for column in both if column.output == output}
    asked = extractor or (FIRST_CHOICE if FIRST_CHOICE in there else None)
    if asked is None and len(there) == 1:
        (asked,) = there
    if asked not in there:
        of = f" of {extractor}" if extractor else ""
        choose = f"; choose an extractor: {', '.join(there)}" if asked is None and there else ""
        raise SpecMismatch(
            f"{'several columns' if choose else 'no column'} {output}{of} in both {real.uri} and "
            f"{generated.uri}, which both have {', '.join(column.name for column in both)}{choose}"
        )
    require_alike(real, generated, asked, any_size=any_size)
    return there[asked]


def optimise(
    asked: Request,
    in_memory: bool | None,
    states: Kept,
    told: Callable[[Step], None] | None,
) -> Optimised:
    """The weights, from equal ones or from what was kept."""
    name = asked.column.name
    plan = planned(asked.generated, asked.column.dimension, in_memory)
    states.load()
    matching = matching_of(asked)
    moments = {"moments": Measure(name, partial(moments_of, matching))}
    goal = Goal.of(fold_shards(asked.real, moments)["moments"])
    candidates = Candidates.of(asked.generated, name, matching, goal)

    def tell(state: State | DescentState) -> None:
        states.keep(to_arrays(state))
        if told:
            told(Step(*state.trace[-1]))

    with closing(held(candidates, plan)) as pool:
        evaluate = OverParts(goal, candidates.slices, pool)
        return with_exact_distance(weighed(evaluate, asked, states.found, tell), evaluate)


def weighed(
    evaluate: Evaluator,
    asked: Request,
    before: Arrays,
    tell: Callable[[State | DescentState], None],
) -> Optimised:
    """The weights that the optimizer finds, on from an earlier state if there is one."""
    if asked.optimizer == "lbfgs":
        return minimise(
            evaluate,
            max_evaluations=asked.budget,
            tolerance=asked.tolerance,
            state=from_arrays(State, before) if before else None,
            told=tell,
        )
    found = descend(
        by_the_paper(evaluate),
        len(asked.generated),
        max_evaluations=asked.budget,
        learning_rate=asked.match.learning_rate,
        state=from_arrays(DescentState, before) if before else None,
        told=tell,
        told_every=10,
    )
    return replace(found, finished=False)  # it has no end of its own, and can always go on


def matching_of(asked: Request) -> Matching:
    """What makes the matched features of a column's values; after a look at both sides, where
    it takes one to know which columns stay."""
    match = asked.match
    if not match.marks:
        return match.of
    measures = {"occurring": Measure(asked.column.name, partial(occurring_in, match))}
    real, generated = (
        fold_shards(view, measures)["occurring"] for view in (asked.real, asked.generated)
    )
    return partial(match.of, kept=kept(match, real=real, generated=generated))


def occurring_in(match: Match, sample_ids: np.ndarray, values: np.ndarray) -> Occurring:
    """A measure: the columns that occur in a block."""
    return Occurring.of(match.of(values))


def moments_of(matching: Matching, sample_ids: np.ndarray, values: np.ndarray) -> Moments:
    """A measure: the moments of matched features."""
    return Moments.of(matching(values))


def finished(store: Store, asked: Request) -> Weighted | None:
    """The weights that are there already, unless more evaluations could better them.
    SpecMismatch if they are of another request."""
    if FILE not in store.names():
        return None
    path = f"{store.uri}/{FILE}"
    choice = read_weights(path)
    require_same(choice.metadata.get("request", {}), asked.identity, path)
    found = Weighted.of(choice)
    enough = found.converged or choice.metadata["max_evaluations"] >= asked.budget
    return found if enough else None


def write(store: Store, asked: Request, found: Optimised) -> None:
    """Weights and all that is known of them, at once; a draw by earlier ones goes before."""
    real = asked.real
    store.remove(DRAWN)
    about = made_of(
        "weights",
        asked.generated,
        request=asked.identity,
        real={"uri": real.shards.store.absolute_uri, "digest": real.digest()},
        match=str(asked.match),
        column=asked.column.name,
        extractor=asked.column.extractor,
        optimizer=asked.optimizer,
        tolerance=asked.tolerance,
        max_evaluations=max(asked.budget, found.evaluations),
        converged=found.finished,
        distance=found.distance,
        effective_sample_size=found.effective_sample_size,
        gap=found.gap,
        trace=[list(step) for step in found.trace],
        **environment(),
    )
    columns = {SAMPLE_ID: asked.generated.sample_ids, WEIGHT: found.weights}
    write_choice(f"{store.uri}/{FILE}", columns, about)
