"""Fixed blocks: every row at its place, whatever is asked for together."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raymetrics.extractors import Extractor, make_extractor
from raymetrics.fixed_batches import run_in_fixed_batches


def row_and_place(padded: np.ndarray) -> dict[str, np.ndarray]:
    return {"row": padded * 2, "place": np.arange(len(padded))}


@given(st.lists(st.integers(0, 100), unique=True, min_size=1), st.integers(1, 17))
def test_rows_keep_their_order_and_their_places(ids: list[int], size: int) -> None:
    sample_ids = np.array(ids)
    found = run_in_fixed_batches(row_and_place, sample_ids, sample_ids * 10, size)
    np.testing.assert_array_equal(found["row"], sample_ids * 20)
    np.testing.assert_array_equal(found["place"], sample_ids % size)


IMAGES = np.random.default_rng(0).integers(0, 256, (64, 3, 28, 28), np.uint8)


def assert_same_bits(extractor: Extractor, ids: list[int]) -> None:
    """Some images alone, against the same among all 64."""
    together = run_in_fixed_batches(extractor, np.arange(64), IMAGES, extractor.block)
    chosen = np.array(ids)
    apart = run_in_fixed_batches(extractor, chosen, IMAGES[chosen], extractor.block)
    for column, values in apart.items():
        np.testing.assert_array_equal(values, together[column][chosen])


@given(st.lists(st.integers(0, 63), unique=True, min_size=1, max_size=40))
@settings(deadline=None, max_examples=25)
def test_a_network_gives_the_same_bits_in_any_company(ids: list[int]) -> None:
    assert_same_bits(make_extractor("digits", torch.device("cpu")), ids)


def test_so_does_efficientnet() -> None:
    extractor = make_extractor("efficientnet-lite0", torch.device("cpu"))
    for ids in ([17], [63, 5, 20, 21, 22]):
        assert_same_bits(extractor, ids)
