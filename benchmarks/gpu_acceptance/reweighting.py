"""The reweighting phase: the gradient against float64, the descent, and its seconds."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from gpu_acceptance.extractors import largest_difference, same
from gpu_acceptance.inputs import mixture_features
from gpu_acceptance.phase import PhaseRun
from gpu_acceptance.timing import seconds_per_call
from raymetrics.attacks.weights_objective import (
    InMemoryEvaluator,
    TargetGaussian,
    compute_transport,
    objective_gradient,
)
from raymetrics.attacks.weights_optimizer import LbfgsState, minimize_distance
from raymetrics.statistics import Moments

_PAPER_SECONDS = 36 * 3600  # 250k candidates on a V100 (Kynkaanniemi et al. 2023, appendix C)
_MAX_SECONDS = 60.0
_EVALUATIONS = 60
_RESUMED_AT, _COMPARED_AT = 8, 16  # evaluations
_FAST_FLOAT64 = 0.4  # of the rate of float32, from which on products are in float64
_MAX_DIFFERENCE64, _MAX_DIFFERENCE32 = 1e-6, 1e-4


def measure_reweighting(run: PhaseRun) -> None:
    """Check the gradient, and that the distance falls and a resumed run has the same bits."""
    count, dimension = run.size((250_000, 2048), (3000, 64))
    real = mixture_features(run.size(20_000, 2000), dimension, 1, run.device)
    target = TargetGaussian.from_moments(Moments.from_samples(real))
    candidates = mixture_features(count, dimension, 2, run.device, shift=0.3)
    features = target.center_features(candidates)
    check_gradient(run, target, features[: run.size(20_000, 1000)])
    evaluate = InMemoryEvaluator(target, torch.from_numpy(features).to(run.device))
    measure_parts(run, evaluate)
    check_descent(run, evaluate)


def check_gradient(run: PhaseRun, target: TargetGaussian, features: np.ndarray) -> None:
    """Compare distance and gradient at uneven weights with float64 on the CPU."""
    weights = np.random.default_rng(0).exponential(size=len(features))
    weights /= weights.sum()
    found = InMemoryEvaluator(target, torch.from_numpy(features).to(run.device))(weights)
    expected = InMemoryEvaluator(target, features.astype(np.float64))(weights)
    limit = _MAX_DIFFERENCE64 if has_fast_float64(run) else _MAX_DIFFERENCE32
    difference = largest_difference(found.weight_gradient, expected.weight_gradient)
    run.check_below("gradient as in float64 on the CPU", difference, limit)
    difference = abs(found.distance / expected.distance - 1)
    run.check_below("distance as in float64 on the CPU", difference, limit)


def has_fast_float64(run: PhaseRun) -> bool:
    """Return whether this GPU multiplies float64 about as fast as float32."""
    rates = [run.ceilings.get(name, 0.0) for name in ("float64", "float32")]
    return run.on_gpu and rates[0] > _FAST_FLOAT64 * rates[1]


def measure_parts(run: PhaseRun, evaluate: InMemoryEvaluator) -> None:
    """Measure an evaluation and its three parts."""
    features: Any = evaluate.features
    count, dimension = features.shape
    weights = np.full(count, 1 / count)
    moments = evaluate.moments(weights)
    transport = compute_transport(evaluate.target, moments)
    parts = {
        "an evaluation": lambda: evaluate(weights),
        "its moments": lambda: evaluate.moments(weights),
        "its root": lambda: compute_transport(evaluate.target, moments),
        "its gradient": lambda: objective_gradient(features, transport),
    }
    seconds = {name: seconds_per_call(part, run.device) for name, part in parts.items()}
    for name, value in seconds.items():
        run.figure(f"{name}, {count} x {dimension}", value, "s")
    rate = 4 * count * dimension**2 / seconds["an evaluation"]
    ceiling = "float64" if has_fast_float64(run) else "float32"
    run.figure("its products", rate / 1e12, "TFLOP/s", ceiling=ceiling, work=1e12)


def check_descent(run: PhaseRun, evaluate: InMemoryEvaluator) -> None:
    """Minimize the distance; check that it falls, and that a resumed run has the same bits."""
    states: dict[int, LbfgsState] = {}

    def keep(state: LbfgsState) -> None:
        if not states or state.evaluations <= _RESUMED_AT:
            states[0] = state
        states[1] = state

    whole = minimize_distance(evaluate, max_evaluations=_COMPARED_AT, tolerance=0, on_step=keep)
    resumed = minimize_distance(
        evaluate, max_evaluations=_COMPARED_AT, tolerance=0, state=states[0]
    )
    run.check("a resumed run has the same bits", same(resumed.weights, whole.weights))
    start = time.perf_counter()
    done = minimize_distance(evaluate, max_evaluations=_EVALUATIONS)
    seconds = time.perf_counter() - start
    distances = np.array([step.distance for step in done.trace])
    fell = f"{distances[0]:.4g} to {distances[-1]:.4g} in {done.evaluations} evaluations"
    run.check("the distance falls with every step", bool((np.diff(distances) <= 0).all()), fell)
    run.figure("reweighting until it falls by 0.1 % no more", seconds, "s", at_most=_MAX_SECONDS)
    if not run.tiny:
        run.figure("times as fast as the paper's 36 h", _PAPER_SECONDS / seconds, "")
