"""The width that costs least is taken, also if costs change or a first tile was slow."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from raymetrics.neighbors import TileSearch
from raymetrics.neighbors.choose_width import FULL, WidthChooser
from raymetrics.neighbors.processors import CpuProcessor
from raymetrics.neighbors.screen import Floors, Screen
from tests.helpers.exact_search import ExactSearch


def choices(costs: dict[int, list[float]], tiles: int) -> Counter[int]:
    """How often each width is chosen, if its tiles cost these seconds, and then the last."""
    chooser, taken = WidthChooser(list(costs)), Counter[int]()
    for _ in range(tiles):
        width = chooser.choose()
        seconds = costs[width][min(taken[width], len(costs[width]) - 1)]
        chooser.record(width, seconds, 1)
        taken[width] += 1
    return taken


@pytest.mark.parametrize("best", [FULL, 64])
def test_every_width_is_tried_once_and_the_cheapest_kept(best: int) -> None:
    costs = {FULL: [3.0], 64: [3.0]} | {best: [1.0]}
    taken = choices(costs, 100)
    assert taken[best] == 99


def test_a_width_that_becomes_expensive_is_left() -> None:
    taken = choices({FULL: [2.0], 64: [1.0, 1.0, 9.0]}, 100)
    assert taken[FULL] > 90


def test_a_width_whose_first_tile_was_a_little_slow_is_tried_again() -> None:
    taken = choices({FULL: [1.0], 64: [1.4, 0.1]}, 200)
    assert taken[64] > 90


def test_a_width_that_nobody_has_finished_is_not_awaited() -> None:
    chooser = WidthChooser([FULL, 64])
    assert [chooser.choose() for _ in range(4)] == [FULL, 64, FULL, FULL]
    chooser.record(64, 1.0, 1)
    assert chooser.choose() == 64


def test_a_width_whose_cost_is_known_is_not_tried() -> None:
    chooser = WidthChooser([FULL, 64])
    chooser.record(FULL, 2.0, 1)
    assert chooser.choose() == 64
    chooser.record(64, 1.0, 1)
    assert {chooser.choose() for _ in range(20)} == {64}


def test_one_width_is_always_chosen() -> None:
    chooser = WidthChooser([64])
    chooser.record(FULL, 0.1, 1)
    assert chooser.choose() == 64
    assert choices({FULL: [1.0]}, 50) == {FULL: 50}


class Clocked(CpuProcessor):
    """A processor on which the seconds of a tile are those that the test wants."""

    side = 256

    def __init__(self, seconds: dict[int, float]) -> None:
        super().__init__(threads=1)
        self.seconds, self.now, self.widths = seconds, 0.0, Counter[int]()

    def product(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        self.widths[left.shape[1]] += 1
        self.now += self.seconds[left.shape[1]]
        return super().product(left, right)

    def clock(self) -> float:
        return self.now


@pytest.mark.parametrize("seconds", [{320: 9.0, 21: 1.0}, {320: 1.0, 21: 9.0}])
def test_the_choice_is_made_from_what_tiles_cost_here(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, seconds: dict[int, float]
) -> None:
    monkeypatch.setattr("raymetrics.neighbors.tiles._MIN_SKETCHED_PAIRS", 0)
    mixing = rng.normal(size=(8, 320))
    features = rng.normal(size=(2000, 8)) @ mixing + 0.01 * rng.normal(size=(2000, 320))
    processor = Clocked(seconds)
    search = TileSearch(processor)
    (placed,) = search.prepare(features)
    found = search.nearest(placed, placed, 3)
    assert_array_equal(found, ExactSearch().nearest(features, features, 3))
    cheap, dear = sorted(seconds, key=seconds.__getitem__)
    started = 8 if dear == 320 else 0  # tiles on the diagonal are always whole
    assert processor.widths[dear] - started <= 2 + processor.widths[cheap] / 10


def test_a_tile_that_a_sketch_leaves_open_is_multiplied_whole(rng: np.random.Generator) -> None:
    """And one that float32 leaves open in float64, so that few pairs are computed one by one."""
    isotropic = rng.normal(size=(128, 320))
    far = np.concatenate([isotropic[:64], isotropic[64:] + 1e6])
    for features, sketched in ((isotropic, True), (far, False)):
        search = TileSearch(CpuProcessor(threads=1), adaptive=False)
        (placed,) = search.prepare(features)
        width = placed.frame.sketch_width if sketched else FULL
        screen = Screen(placed, placed, [width], among_others=True)
        rows = slice(0, 128)
        with screen.processor.exact_products():
            radius = ExactSearch().nearest(features, features, 3)[:, -1]
            floors = Floors(-np.square(radius * screen.scale) / 2)
            pairs = screen.open_pairs(screen.tile(rows, rows, width), floors)
        assert len(pairs.i) < 128 * 8
