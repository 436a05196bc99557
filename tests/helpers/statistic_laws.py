"""Check the laws that every statistic obeys."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np

from raymetrics.statistics import from_arrays, to_arrays


def assert_same(a: Any, b: Any, tolerance: float = 0.0) -> None:
    """Require equal fields, to the bit or to a tolerance relative to the largest entry."""
    left, right = to_arrays(a), to_arrays(b)
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert value.dtype == right[name].dtype, name
        assert value.shape == right[name].shape, name
        if tolerance:
            scale = np.abs(value).max(initial=1e-300)
            assert np.abs(value - right[name]).max(initial=0) <= tolerance * scale, name
        else:
            np.testing.assert_array_equal(value, right[name], err_msg=name)


def assert_laws(
    empty: Any,
    make_statistic: Callable[[Sequence[int]], Any],
    count: int,
    cuts: Sequence[int],
    order: Sequence[int],
    tolerance: float = 0.0,
) -> None:
    """Hold a statistic to its laws.

    of: the statistic of the samples with these numbers, out of `count`. cuts: where the samples
    are cut into parts. order: a permutation in which the parts are merged.
    """
    borders = [0, *sorted(cuts), count]
    parts = [make_statistic(range(a, b)) for a, b in itertools.pairwise(borders)]
    whole = make_statistic(range(count))
    before = [to_arrays(part) for part in parts]

    assert_same(whole.merge(empty), whole)
    assert_same(empty.merge(whole), whole)
    assert_same(make_statistic(range(0)), empty)
    assert_same(reduce(lambda a, b: a.merge(b), parts), whole, tolerance)
    assert_same(reduce(lambda a, b: b.merge(a), parts), whole, tolerance)
    shuffled = [parts[i] for i in order]
    assert_same(reduce(lambda a, b: a.merge(b), shuffled), whole, tolerance)
    for part, arrays in zip(parts, before, strict=True):
        for name, value in to_arrays(part).items():
            np.testing.assert_array_equal(value, arrays[name])
    assert_same(from_arrays(type(whole), to_arrays(whole)), whole)
