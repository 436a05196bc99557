"""Run networks in batches of one fixed shape, so that a sample's bits depend on the sample alone.

Matrix libraries choose their instructions by the shape of a batch, and the last bits of a float
follow that choice. If sample k is always in row k % size of a batch of exactly `size` rows, neither
the user's batch size nor the number of workers can change these bits. This holds for one kind of
processor and one set of library versions, because libraries choose their instructions by both; in
another row of the batch, a sample may have other last bits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def run_in_fixed_batches(
    function: Callable[[np.ndarray], dict[str, np.ndarray]],
    sample_ids: np.ndarray,
    inputs: np.ndarray,
    size: int,
) -> dict[str, np.ndarray]:
    """Compute `function(inputs)` on batches of exactly `size` rows; unused rows hold zeros.

    sample_ids: int64 [n], in any order. inputs: [n, ...], row i belongs to sample_ids[i]. function:
    maps [size, ...] to named arrays of `size` rows. Returns named arrays of n rows.
    """
    results: dict[str, np.ndarray] = {}
    for batch in np.unique(sample_ids // size):
        rows = np.flatnonzero(sample_ids // size == batch)
        positions = sample_ids[rows] % size
        padded = np.zeros((size, *inputs.shape[1:]), inputs.dtype)
        padded[positions] = inputs[rows]
        for name, output in function(padded).items():
            if name not in results:
                results[name] = np.empty((len(sample_ids), *output.shape[1:]), output.dtype)
            results[name][rows] = output[positions]
    return results
