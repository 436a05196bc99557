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


OTHER_PROGRAMS: dict[str, OtherProgram] = {
    "fid": OtherProgram("pytorch-fid", prepare_pytorch_fid, rounding=1e-3),
    # Its subsets are others: the mean of 100 differs.
    "kid": OtherProgram("torch-fidelity", prepare_torch_fidelity_kid, rounding=0.05),
    "pr": OtherProgram(
        "torch-fidelity", prepare_torch_fidelity_prc, holds_all_pairs=True, rounding=1e-3
    ),
    "dc": OtherProgram("prdc", prepare_prdc, holds_all_pairs=True, rounding=1e-3),
    "is": OtherProgram("torch-fidelity", prepare_torch_fidelity_isc),
    "vendi": OtherProgram("vendi-score", prepare_vendi_score),
}
