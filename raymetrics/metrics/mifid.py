"""MiFID (Bai et al. 2021, arXiv 2106.03062): a Frechet distance that copies make larger.

The distance is divided by the memorization distance: how far a sample is, in cosines, from its
nearest neighbor on the other side.
"""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from raymetrics.errors import ShardError

THRESHOLD = 0.1  # of the competition's program: a larger memorization distance counts as 1
_SMALLEST_DISTANCE = 1e-8  # below which MiFID is 0
_GUARD = 1e-14  # added to the memorization distance, which is 0 for copies
_BLOCK_COSINES = 2**24  # in memory at a time: 64 MB in float32
_PAIR_VALUES = 2**22  # of pairs of rows in float64 at a time


def mifid(distance: float, memorization: float, threshold: float = THRESHOLD) -> float:
    """Divide a Frechet distance by the memorization distance, or by 1 if that is no small one."""
    if distance <= _SMALLEST_DISTANCE:
        return 0.0
    return distance / ((memorization if memorization < threshold else 1.0) + _GUARD)


def memorization_distance(samples: np.ndarray, references: np.ndarray) -> float:
    """Compute the mean over samples of the smallest 1 - |cos| to a reference (Eq. 3).

    samples, references: float32 [n, d], [m, d]. Rows that sum to 0 are left out, as in the programs
    of the competition and of torchmetrics. ShardError if a side has no other rows.
    """
    return float(1 - largest_cosines(_nonzero(samples), _nonzero(references)).mean())


def _nonzero(features: np.ndarray) -> np.ndarray:
    """Return the rows that do not sum to 0. ShardError if there are none."""
    nonzero = features.sum(axis=1, dtype=np.float64) != 0
    if not nonzero.any():
        raise ShardError(
            f"all {len(features)} rows of features sum to 0, so that they have no cosine; extract "
            "them again"
        )
    return features if nonzero.all() else features[nonzero]


def largest_cosines(samples: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Find the largest |cos| of each sample with any reference, float64 [n], at most 1.

    samples, references: float32 [n, d], [m, d], no row of zeros. Exact: products in float32 leave
    only those references that may be the nearest one, which are multiplied in float64.
    """
    largest = np.empty(len(samples))
    unit_references = _unit_rows(references)
    block_rows = max(1, _BLOCK_COSINES // len(references))
    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(samples), block_rows):
            block = samples[start : start + block_rows]
            cosines = _unit_rows(block) @ unit_references.T  # on all cores
            bounds = np.linspace(0, len(block), threads + 1).astype(int)
            parts = [slice(first, last) for first, last in itertools.pairwise(bounds)]
            found = pool.map(
                _exact_largest,
                [cosines[part] for part in parts],
                [block[part] for part in parts],
                itertools.repeat(references),
            )
            largest[start : start + block_rows] = np.concatenate(list(found))
    return largest


def _unit_rows(features: np.ndarray) -> np.ndarray:
    """Divide each row by its length, float32 [n, d]."""
    lengths = np.sqrt(np.einsum("nd,nd->n", features, features, dtype=np.float64))
    unit: np.ndarray = (features / lengths[:, None]).astype(np.float32)
    return unit


def _exact_largest(cosines: np.ndarray, samples: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Find the largest |cos| of each sample, float64 [n], from products in float32 [n, m].

    Their error is at most (d + 3) u for unit rows of d numbers, u being half the precision
    (Higham 2002, section 3.1), so that the true largest one is within twice that of the found one.
    """
    np.abs(cosines, out=cosines)
    slack = np.float32((references.shape[1] + 3) * np.finfo(np.float32).eps)
    near = cosines >= cosines.max(axis=1, initial=0, keepdims=True) - slack
    i, j = np.nonzero(near)
    largest = np.zeros(len(samples))
    pairs = max(1, _PAIR_VALUES // references.shape[1])
    for start in range(0, len(i), pairs):
        rows, others = i[start : start + pairs], j[start : start + pairs]
        np.maximum.at(largest, rows, _pair_cosines(samples[rows], references[others]))
    return largest.clip(max=1)


def _pair_cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Compute |cos| of each row of one array with the same row of another, float64 [n]."""
    x, y = left.astype(np.float64), right.astype(np.float64)
    products, lengths, others = (np.einsum("nd,nd->n", *p) for p in ((x, y), (x, x), (y, y)))
    cosines: np.ndarray = np.abs(products) / np.sqrt(lengths * others)
    return cosines
