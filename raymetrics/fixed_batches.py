"""Run networks in batches of one fixed shape, so that a sample's bits depend on the sample alone.

Matrix libraries choose their instructions by the shape of a batch, and the last bits of a float
follow that choice. If sample k is always in row k % size of a batch of exactly `size` rows, neither
the user's batch size nor the number of workers can change these bits. This holds for one kind of
processor and one set of library versions, because libraries choose their instructions by both; in
another row of the batch, a sample may have other last bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar("Array", np.ndarray, "Tensor")


def run_in_fixed_batches(
    function: Callable[[Array], Mapping[str, Array]],
    sample_ids: np.ndarray,
    inputs: Array,
    size: int,
) -> dict[str, Array]:
    """Compute `function(inputs)` on batches of exactly `size` rows; unused rows hold zeros.

    sample_ids: int64 [n], in any order. inputs: [n, ...], an array or a tensor on any device, row i
    belongs to sample_ids[i]. function: maps [size, ...] to named arrays of `size` rows. Returns
    named arrays of n rows; of tensors, on their device and without waiting for it.
    """
    results: dict[str, Array] = {}
    batches = sample_ids // size
    for batch in np.unique(batches):
        rows = np.flatnonzero(batches == batch)
        source, places = _as_index(rows), _as_index(sample_ids[rows] % size)
        for name, output in function(_place(inputs, source, places, size)).items():
            if name not in results:
                results[name] = _empty(len(sample_ids), output)
            results[name][source] = output[places]
    return results


def _as_index(positions: np.ndarray) -> slice | np.ndarray:
    """Return ascending positions without a gap as a slice, which is no copy to a device."""
    first, last = int(positions[0]), int(positions[-1])
    ascending = last - first + 1 == len(positions) and bool((np.diff(positions) == 1).all())
    return slice(first, last + 1) if ascending else positions


def _place(inputs: Array, rows: slice | np.ndarray, places: slice | np.ndarray, size: int) -> Array:
    """Return a batch of `size` rows of zeros with these rows of the inputs at these places."""
    if isinstance(places, slice) and places == slice(0, size):
        return inputs[rows]
    shape = (size, *inputs.shape[1:])
    padded = (
        np.zeros(shape, inputs.dtype) if isinstance(inputs, np.ndarray) else inputs.new_zeros(shape)
    )
    padded[places] = inputs[rows]
    return padded


def _empty(count: int, row: Array) -> Array:
    """Return an array of `count` rows that are not set, of the kind of another array."""
    shape = (count, *row.shape[1:])
    return np.empty(shape, row.dtype) if isinstance(row, np.ndarray) else row.new_empty(shape)
