"""The Frechet phase: moments and the trace of a root, on the CPU and in float64 on the device."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from gpu_acceptance.inputs import mixture_features
from gpu_acceptance.phase import PhaseRun
from gpu_acceptance.timing import seconds_per_call
from raymetrics.metrics.frechet import covariance_factor, frechet_distance
from raymetrics.statistics import Moments

_MAX_DIFFERENCE = 1e-10
_NEWTON_SCHULZ_STEPS = 30
_BUDGET = 0.2  # seconds to measure each


def measure_frechet(run: PhaseRun) -> None:
    """Compare moments and roots of the device with those of the CPU, and measure all."""
    rows, dimension = run.size((8192, 2048), (1000, 64))
    samples = [mixture_features(rows, dimension, seed, run.device) for seed in (1, 2)]
    real, generated = map(Moments.from_samples, samples)
    for threads in sorted({1, os.cpu_count() or 1}):
        with threadpool_limits(threads, user_api="blas"):
            where = f"{dimension} dimensions, CPU, threads {threads}"
            measure(run, f"moments, {where}", lambda: Moments.from_samples(samples[0]))
            measure(
                run,
                f"distance, {where}",
                lambda: frechet_distance(real=real, generated=generated),
            )
    check_moments(run, samples[0], real)
    check_roots(run, real.covariance(), generated.covariance())


def measure(run: PhaseRun, name: str, call: Callable[[], object]) -> None:
    """Write down the seconds of a call."""
    run.figure(name, seconds_per_call(call, run.device, budget=_BUDGET), "s")


def check_moments(run: PhaseRun, features: np.ndarray, expected: Moments) -> None:
    """Compare the scatter of the device with the CPU's."""
    on_device = torch.from_numpy(features).to(run.device)
    measure(run, "moments, device", lambda: scatter(on_device))
    difference = np.abs(scatter(on_device).cpu().numpy() - expected.scatter).max()
    relative = float(difference / np.abs(expected.scatter).max())
    run.check_below("moments of the device as on the CPU", relative, _MAX_DIFFERENCE)


def scatter(features: Tensor) -> Tensor:
    """Compute the sum of (x - mean)(x - mean)^T in float64."""
    x = features.double()
    x -= x.mean(0)
    return x.T @ x


def check_roots(run: PhaseRun, a: np.ndarray, b: np.ndarray) -> None:
    """Compare two ways to the trace of (a b)^1/2 on the device with the CPU's."""
    factor = covariance_factor(a)
    expected = float(np.sqrt(np.linalg.eigvalsh(factor.T @ b @ factor).clip(min=0)).sum())
    root, other = (torch.from_numpy(part).to(run.device) for part in (factor, b))
    product = root.T @ other @ root
    ways = {"eigenvalues": trace_by_eigenvalues, "Newton-Schulz": trace_by_newton_schulz}
    for name, way in ways.items():
        measure(run, f"root by {name}, device", lambda way=way: way(product))  # type: ignore[misc]
        difference = abs(float(way(product)) / expected - 1)
        if way is trace_by_eigenvalues:
            run.check_below(f"root by {name} as on the CPU", difference, _MAX_DIFFERENCE)
        else:
            run.figure(f"root by {name}, relative difference", difference, "")


def trace_by_eigenvalues(matrix: Tensor) -> Tensor:
    """Compute the trace of the root of a symmetric matrix."""
    return torch.linalg.eigvalsh(matrix).clamp(min=0).sqrt().sum()


def trace_by_newton_schulz(matrix: Tensor) -> Tensor:
    """Compute the trace of the root by products alone (Higham 2008, Eq. 6.35)."""
    scale = torch.linalg.matrix_norm(matrix)
    three = 3 * torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    root, inverse = matrix / scale, three / 3
    for _ in range(_NEWTON_SCHULZ_STEPS):
        step = (three - inverse @ root) / 2
        root, inverse = root @ step, step @ inverse
    return root.trace() * scale.sqrt()
