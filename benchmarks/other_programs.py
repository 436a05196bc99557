"""The programs of the field that metrics.py times: each computes numbers of two arrays.

A program is loaded by `prepare`, so that its imports are not timed.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Compute = Callable[..., Sequence[float]]  # (real=, generated=): float32 [n, d] each


@dataclass(frozen=True)
class OtherProgram:
    """A program with the numbers that it computes, in the order of ours.

    holds_all_pairs: it keeps a matrix of all pairs of samples. rounding: how far its numbers may
    lie from ours, relative, as it computes in float32 or draws other samples.
    """

    name: str
    prepare: Callable[[], Compute]
    holds_all_pairs: bool = False
    rounding: float = 1e-6


def prepare_pytorch_fid() -> Compute:
    from pytorch_fid.fid_score import calculate_frechet_distance

    def compute(*, real: np.ndarray, generated: np.ndarray) -> Sequence[float]:
        moments = [(x.mean(axis=0), np.cov(x, rowvar=False)) for x in (real, generated)]
        return [float(calculate_frechet_distance(*moments[0], *moments[1]))]

    return compute


def prepare_torch_fidelity_kid() -> Compute:
    import torch
    from torch_fidelity.metric_kid import kid_features_to_metric

    def compute(*, real: np.ndarray, generated: np.ndarray) -> Sequence[float]:
        with contextlib.redirect_stderr(io.StringIO()):
            found = kid_features_to_metric(
                torch.from_numpy(generated), torch.from_numpy(real), verbose=False, rng_seed=2020
            )
        return [found["kernel_inception_distance_mean"]]

    return compute


def prepare_torch_fidelity_prc() -> Compute:
    import torch
    from torch_fidelity.metric_prc import prc_features_to_metric

    def compute(*, real: np.ndarray, generated: np.ndarray) -> Sequence[float]:
        found: dict[str, Any] = prc_features_to_metric(
            torch.from_numpy(generated), torch.from_numpy(real), verbose=False
        )
        return [found["precision"], found["recall"], found["f_score"]]

    return compute


def prepare_prdc() -> Compute:
    from prdc import compute_prdc

    def compute(*, real: np.ndarray, generated: np.ndarray) -> Sequence[float]:
        with contextlib.redirect_stdout(io.StringIO()):
            found = compute_prdc(real, generated, nearest_k=3)
        return [float(found["density"]), float(found["coverage"])]

    return compute


def prepare_torch_fidelity_isc() -> Compute:
    import torch
    from torch_fidelity.metric_isc import isc_features_to_metric

    def compute(*, real: np.ndarray, generated: np.ndarray) -> Sequence[float]:
        found = isc_features_to_metric(torch.from_numpy(generated), splits=10, shuffle=False)
        return [found["inception_score_mean"]]

    return compute


def prepare_vendi_score() -> Compute:
    from vendi_score import vendi

    def compute(*, real: np.ndarray, generated: np.ndarray) -> Sequence[float]:
        return [float(vendi.score_dual(generated.astype(np.float64), normalize=True))]

    return compute


def prepare_torchmetrics_mifid() -> Compute:
    import torch
    from torchmetrics.image import mifid

    def compute(*, real: np.ndarray, generated: np.ndarray) -> Sequence[float]:
        x, y = (torch.from_numpy(side).double() for side in (real, generated))
        moments = [(side.mean(dim=0), torch.cov(side.T)) for side in (x, y)]
        (mu_x, sigma_x), (mu_y, sigma_y) = moments
        return [float(mifid._mifid_compute(mu_x, sigma_x, x, mu_y, sigma_y, y))]

    return compute


# --- Formulas in a few lines of torch, with matrices of all pairs, as their authors' programs ---


def prepare_cmmd() -> Compute:
    """Return CMMD's formula in float32, as cmmd-pytorch has it."""
    import torch

    def compute(*, real: np.ndarray, generated: np.ndarray) -> Sequence[float]:
        x, y = (torch.nn.functional.normalize(torch.from_numpy(s)) for s in (real, generated))

        def mean(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            squared = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T
            return torch.exp(-squared / 200).mean()

        return [float(1000 * (mean(x, x) + mean(y, y) - 2 * mean(x, y)))]

    return compute


def prepare_kad() -> Compute:
    """Return KAD's formula in float32, with the median of all pairs of the real side."""
    import torch

    def compute(*, real: np.ndarray, generated: np.ndarray) -> Sequence[float]:
        x, y = torch.from_numpy(real), torch.from_numpy(generated)
        width = torch.pdist(x).median()

        def total(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            squared = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T
            return torch.exp(-squared / (2 * width**2)).sum(dtype=torch.float64)

        n, m = len(x), len(y)
        within = (total(x, x) - n) / (n * (n - 1)) + (total(y, y) - m) / (m * (m - 1))
        return [float(100 * (within - 2 * total(x, y) / (n * m)))]

    return compute


def prepare_mind() -> Compute:
    """Return MIND's formula in float32, with the draws of torch-fidelity, for equal counts."""
    import torch

    def compute(*, real: np.ndarray, generated: np.ndarray) -> Sequence[float]:
        x, y = torch.from_numpy(real), torch.from_numpy(generated)
        generator = torch.Generator().manual_seed(2020)
        for side in (y, x):
            torch.randperm(len(side), generator=generator)
        directions = torch.randn(1000, x.shape[1], generator=generator)
        directions = torch.nn.functional.normalize(directions)
        apart = (x @ directions.T).sort(dim=0).values - (y @ directions.T).sort(dim=0).values
        return [float(3 * x.shape[1] * apart.square().mean())]

    return compute


def prepare_auth_pct() -> Compute:
    """Return AuthPct's formula with both matrices of distances, as dgm-eval has it."""
    import torch

    def compute(*, real: np.ndarray, generated: np.ndarray) -> Sequence[float]:
        x, y = torch.from_numpy(real), torch.from_numpy(generated)
        within = torch.cdist(x, x).fill_diagonal_(torch.inf).min(dim=1).values
        nearest = torch.cdist(x, y).min(dim=0)
        return [float(100 * (nearest.values > within[nearest.indices]).double().mean())]

    return compute


def distances_in_pairs(real: np.ndarray, generated: np.ndarray) -> tuple[Any, Any, Any]:
    """Return the three matrices of distances that programs of manifolds hold, by scikit-learn."""
    from sklearn.metrics import pairwise_distances

    def distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        found: np.ndarray = pairwise_distances(x, y, metric="euclidean", n_jobs=8)
        return found

    return distances(real, real), distances(generated, generated), distances(real, generated)


def kth_radii(within: np.ndarray, k: int) -> np.ndarray:
    """Return the distance of each sample to its k-th other one."""
    radii: np.ndarray = np.partition(within, k, axis=1)[:, k]
    return radii


def prepare_symmetric() -> Compute:
    def compute(*, real: np.ndarray, generated: np.ndarray) -> Sequence[float]:
        of_real, of_generated, across = distances_in_pairs(real, generated)
        in_real = across <= kth_radii(of_real, 3)[:, None]
        in_generated = across <= kth_radii(of_generated, 3)[None]
        precision = min(in_real.any(axis=0).mean(), in_generated.any(axis=0).mean())
        recall = min(in_generated.any(axis=1).mean(), in_real.any(axis=1).mean())
        return [float(precision), float(recall)]

    return compute


def prepare_probabilistic() -> Compute:
    def compute(*, real: np.ndarray, generated: np.ndarray) -> Sequence[float]:
        of_real, of_generated, across = distances_in_pairs(real, generated)
        scores = []
        for within, axis in ((of_real, 0), (of_generated, 1)):
            reach = 1.2 * kth_radii(within, 4).mean()
            missed = np.where(across < reach, across / reach, 1.0)
            scores.append(float((1 - missed.prod(axis=axis)).mean()))
        return scores

    return compute


def prepare_cover() -> Compute:
    def compute(*, real: np.ndarray, generated: np.ndarray) -> Sequence[float]:
        of_real, of_generated, across = distances_in_pairs(real, generated)
        held_real = (across <= kth_radii(of_generated, 9)[None]).sum(axis=0)
        held_generated = (across <= kth_radii(of_real, 9)[:, None]).sum(axis=1)
        return [float((held >= 3).mean()) for held in (held_real, held_generated)]

    return compute


OTHER_PROGRAMS: dict[str, OtherProgram] = {
    "fid": OtherProgram("pytorch-fid", prepare_pytorch_fid, rounding=1e-3),
    # Its subsets are others: the mean of 100 differs.
    "kid": OtherProgram("torch-fidelity", prepare_torch_fidelity_kid, rounding=0.1),
    "pr": OtherProgram(
        "torch-fidelity", prepare_torch_fidelity_prc, holds_all_pairs=True, rounding=1e-3
    ),
    "dc": OtherProgram("prdc", prepare_prdc, holds_all_pairs=True, rounding=1e-3),
    "is": OtherProgram("torch-fidelity", prepare_torch_fidelity_isc),
    "vendi": OtherProgram("vendi-score", prepare_vendi_score),
    "mifid": OtherProgram("torchmetrics, side real", prepare_torchmetrics_mifid, True, 1.0),
    "cmmd": OtherProgram("plain torch", prepare_cmmd, True, 1e-2),
    "kad": OtherProgram("plain torch", prepare_kad, True, 1e-2),
    # Its directions are others.
    "mind": OtherProgram("plain torch", prepare_mind, rounding=0.05),
    "auth-pct": OtherProgram("plain torch", prepare_auth_pct, True, 1e-3),
    "symmetric-pr": OtherProgram("plain scikit-learn", prepare_symmetric, True, 1e-3),
    "probabilistic-pr": OtherProgram("plain scikit-learn", prepare_probabilistic, True, 1e-3),
    "pr-cover": OtherProgram("plain scikit-learn", prepare_cover, True, 1e-3),
}
