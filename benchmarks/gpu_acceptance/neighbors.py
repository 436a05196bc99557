"""The neighbors phase: precision and recall on the device, against float64, and their seconds."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import psutil
import torch
from torch import Tensor

from gpu_acceptance.inputs import mixture_features
from gpu_acceptance.phase import PhaseRun
from raymetrics.metrics.manifold_survey import ManifoldSurvey, survey_manifolds
from raymetrics.neighbors import TileSearch
from raymetrics.neighbors.processors import CpuProcessor, TorchProcessor

_K = 3
_PAPER_SECONDS = 480  # 50k x 4096 on a V100, with VGG-16 (Kynkaanniemi et al. 2019)
_TOLERANCE = 1e-9  # of float64's own distances, which are computed by products
_MAX_UNDECIDED = 10  # rows that float64 cannot decide either
_ORACLE_SECONDS = 20.0
_SOME_ROWS = 2000  # that are compared where float64 is slow
_TILE = 4096
_LARGE_SECONDS = 60.0
_LARGE_HOST_BYTES = 40e9


def measure_neighbors(run: PhaseRun) -> None:
    """Check flags and radii of all rows, and of hard sets; measure two sizes."""
    check_hard_sets(run)
    count, dimension = run.size((50_000, 4096), (600, 64))
    real, generated = make_sides(run, count, dimension)
    survey = measure_survey(run, real, generated, at_most=1.0, times_faster=True)
    check_by_float64(run, real, generated, survey)
    del real, generated, survey
    count, dimension = run.size((1_000_000, 2048), (1500, 64))
    name = f"{count} x {dimension}"
    if not run.tiny and psutil.virtual_memory().available < _LARGE_HOST_BYTES:
        run.leave_out(name, f"this machine has not {_LARGE_HOST_BYTES / 1e9:.0f} GB of memory left")
    elif run.tiny or run.has_seconds(_LARGE_SECONDS, name):
        measure_survey(run, *make_sides(run, count, dimension), at_most=_LARGE_SECONDS)


def make_sides(run: PhaseRun, count: int, dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the features of a real and a generated side."""
    real = mixture_features(count, dimension, 1, run.device)
    return real, mixture_features(count, dimension, 2, run.device, shift=0.3)


def device_search(run: PhaseRun) -> TileSearch:
    """Make the engine that a worker with this device has."""
    return TileSearch(TorchProcessor(run.device.type))


def measure_survey(
    run: PhaseRun,
    real: np.ndarray,
    generated: np.ndarray,
    *,
    at_most: float,
    times_faster: bool = False,
) -> ManifoldSurvey:
    """Measure the seconds of precision and recall, with all copies to the device."""
    name = f"{len(real)} x {real.shape[1]}"
    if run.on_gpu:
        torch.cuda.reset_peak_memory_stats(run.device)
    start = time.perf_counter()
    survey = survey_manifolds(
        real=real, generated=generated, ks=[_K], search=device_search(run), count=False
    )
    seconds = time.perf_counter() - start
    # of the products alone, as few as can be
    operations = 4 * len(real) ** 2 * real.shape[1]
    run.figure(f"precision and recall, {name}", seconds, "s", at_most=at_most)
    run.figure(
        f"its products, {name}",
        operations / seconds / 1e12,
        "TFLOP/s",
        ceiling="float16" if run.on_gpu else "float32",
        work=1e12,
    )
    if times_faster and not run.tiny:
        run.figure("times as fast as the paper's 8 min", _PAPER_SECONDS / seconds, "")
    if run.on_gpu:
        peak = torch.cuda.max_memory_allocated(run.device)
        run.figure(f"memory of the GPU, {name}", peak / 1e9, "GB")
    return survey


# --- Against float64 ---


def check_by_float64(
    run: PhaseRun, real: np.ndarray, generated: np.ndarray, survey: ManifoldSurvey
) -> None:
    """Compare radii and flags with float64 on the device: all rows, or some where it is slow."""
    count, dimension = real.shape
    work = 4 * 2 * count**2 * dimension
    rate = run.ceilings.get("float64", 0.0)
    rows = np.arange(count)
    if not run.tiny and work > rate * _ORACLE_SECONDS:
        rows = rows[:: max(1, count // _SOME_ROWS)]
    sides = dict(zip(("real", "generated"), centered(run.device, real, generated), strict=True))
    radii = {"real": survey.real_radii[:, 0], "generated": survey.generated_radii[:, 0]}
    hits = {"real": survey.real_in_generated.hits, "generated": survey.generated_in_real.hits}
    for side, other in (("real", "generated"), ("generated", "real")):
        check_radii(run, side, sides[side], radii[side], rows)
        check_flags(run, side, sides, torch.from_numpy(radii[other]), hits[side][:, 0] > 0, rows)


def centered(device: torch.device, *sides: np.ndarray) -> list[Tensor]:
    """Return sides in float64 on the device, less their common mean."""
    tensors = [torch.from_numpy(side).to(device, torch.float64) for side in sides]
    mean = torch.cat([tensor.mean(0, keepdim=True) for tensor in tensors]).mean(0)
    return [tensor - mean for tensor in tensors]


def check_radii(
    run: PhaseRun, side: str, features: Tensor, radii: np.ndarray, rows: np.ndarray
) -> None:
    """Compare the distance of rows to their k-th nearest other row."""
    largest = 0.0
    for part in tiles(rows):
        squared = squared_distances(features[part], features)
        squared[torch.arange(len(part)), torch.from_numpy(part)] = torch.inf
        expected = squared.topk(_K, largest=False).values[:, -1].clamp(min=0).sqrt().cpu().numpy()
        difference = np.abs(radii[part] - expected) / expected
        largest = max(largest, float(difference.max()))
    run.check_below(f"radii of {len(rows)} {side} rows as in float64", largest, _TOLERANCE)


def check_flags(
    run: PhaseRun,
    side: str,
    sides: Mapping[str, Tensor],
    radii: Tensor,
    flags: np.ndarray,
    rows: np.ndarray,
) -> None:
    """Compare which rows of a side lie in a ball of the other; radii: of the other side."""
    other = sides["generated" if side == "real" else "real"]
    squared_radii = radii.to(other.device).square()
    wrong = undecided = 0
    for part in tiles(rows):
        margin = squared_distances(sides[side][part], other) - squared_radii
        nearest = margin.amin(dim=1).cpu().numpy()
        close = np.abs(nearest) <= _TOLERANCE * float(squared_radii.max())
        wrong += int(((flags[part] != (nearest <= 0)) & ~close).sum())
        undecided += int(close.sum())
    found = f"{wrong} differ, {undecided} of {len(rows)} undecided"
    passed = wrong == 0 and undecided <= _MAX_UNDECIDED
    run.check(f"flags of {len(rows)} {side} rows as in float64", passed, found)


def squared_distances(rows: Tensor, columns: Tensor) -> Tensor:
    """Compute squared distances from products, float64 [n, m]."""
    norms = rows.square().sum(1)[:, None] + columns.square().sum(1)
    return torch.addmm(norms, rows, columns.T, alpha=-2)


def tiles(rows: np.ndarray) -> list[np.ndarray]:
    """Cut rows into parts."""
    return [rows[start : start + _TILE] for start in range(0, len(rows), _TILE)]


# --- Hard sets ---


def check_hard_sets(run: PhaseRun) -> None:
    """Compare with the engine of CPUs, which must give the same bits, on sets that are hard."""
    count, dimension = run.size((3000, 512), (300, 32))
    for name, (real, generated) in hard_sets(count, dimension).items():
        surveys = [
            survey_manifolds(real=real, generated=generated, ks=[1, _K], search=search)
            for search in (device_search(run), TileSearch(CpuProcessor()))
        ]
        passed = all(map(np.array_equal, *(survey_arrays(survey) for survey in surveys)))
        run.check(f"{name}: radii and counts as on the CPU", passed)


def hard_sets(count: int, dimension: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return sets with many equal distances, and with large norms against small distances."""
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(2, count, dimension)).astype(np.float32)
    copies = real.copy()
    copies[1::2] = copies[::2]
    generated[::3] = real[::3]
    whole = rng.integers(0, 2, (2, count, dimension)).astype(np.float32)
    return {
        "isotropic": (real, generated),
        "copies": (copies, generated),
        "offset of 1000": (real + 1000, generated + 1000),
        "whole numbers": (whole[0], whole[1]),
    }


def survey_arrays(survey: ManifoldSurvey) -> list[np.ndarray]:
    """Return all that a survey found."""
    return [
        survey.real_radii,
        survey.generated_radii,
        survey.generated_in_real.hits,
        survey.real_in_generated.hits,
    ]
