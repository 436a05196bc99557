"""The lines for GPUs, without one: on tensors that have a device and no numbers, and on the CPU."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from threadpoolctl import ThreadpoolController, threadpool_info
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from raymetrics.neighbors import TileSearch, processors
from raymetrics.neighbors.processors import CpuProcessor, TorchProcessor, default_processor
from tests.helpers.exact_search import ExactSearch


class FakeDevice(TorchProcessor):
    """A GPU whose tensors have no numbers; torch refuses to mix its tensors with the CPU's."""

    threads = 1  # the mode that makes such tensors belongs to a thread

    def __init__(self) -> None:
        super().__init__("cuda", side=16)
        self.mode = FakeTensorMode(shape_env=ShapeEnv())
        self.downloads = 0

    def upload(self, array: np.ndarray) -> Any:
        with self.mode:
            return super().upload(array)

    def download(self, tensor: Any) -> np.ndarray:
        """Return zeros; two, where the number depends on the numbers that are not there."""
        assert tensor.device.type == "cuda"
        self.downloads += 1
        shape = [size if isinstance(size, int) else 2 for size in tensor.shape]
        return np.zeros(shape, torch.empty(0, dtype=tensor.dtype).numpy().dtype)


@pytest.mark.parametrize("screen_type", [np.float16, np.float32])
def test_everything_stays_on_the_device(rng: np.random.Generator, screen_type: type) -> None:
    processor = FakeDevice()
    processor.screen_type = screen_type
    search = TileSearch(processor)
    real, generated = search.prepare(*(rng.normal(size=(n, 8)) for n in (40, 30)))
    assert search.nearest(real, real, 3).shape == (40, 3)
    both = search.nearest_both_directions(real, generated, 3)
    assert [found.shape for found in both] == [(40, 3), (30, 3)]
    radii = np.ones((40, 2)), np.ones((30, 2))
    found = search.balls_both_directions(real, generated, *radii, realism_radii=radii[0][:, 0])
    assert [part.hits.shape for part in found] == [(30, 2), (40, 2)]
    assert processor.downloads > 50


def test_the_fake_device_refuses_what_is_not_on_it() -> None:
    with pytest.raises(Exception, match="FakeTensor"):
        FakeDevice().upload(np.zeros((2, 3))) + torch.zeros(2, 3)


def test_a_gpu_is_taken_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert isinstance(default_processor(), CpuProcessor)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (64e9, 80e9))
    processor = default_processor()
    assert isinstance(processor, TorchProcessor)
    assert processor.screen_type == np.float16


@pytest.mark.parametrize(("gigabytes", "side"), [(0.1, 1024), (4, 2**11), (140, 2**14)])
def test_tiles_fit_into_the_memory_that_is_free(
    monkeypatch: pytest.MonkeyPatch, gigabytes: float, side: int
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (gigabytes * 1e9, 2e11))
    assert TorchProcessor("cuda").side == side


def test_sums_in_less_than_float32_are_off_during_a_search_alone() -> None:
    matmul = torch.backends.cuda.matmul
    names = ("allow_tf32", "allow_fp16_reduced_precision_reduction")
    before = [getattr(matmul, name) for name in names]
    with TorchProcessor("cpu").exact_products():
        assert [getattr(matmul, name) for name in names] == [False, False]
    assert [getattr(matmul, name) for name in names] == before


@pytest.mark.parametrize("product", [processors.numpy_product, processors.torch_product])
def test_either_library_gives_the_same_answers(rng: np.random.Generator, product: Any) -> None:
    features = rng.normal(size=(300, 40)).astype(np.float32)
    search = TileSearch(CpuProcessor(product))
    (placed,) = search.prepare(features)
    expected = ExactSearch().nearest(features, features, 5)
    assert_array_equal(search.nearest(placed, placed, 5), expected)


def test_a_search_leaves_the_threads_of_libraries_as_they_were(rng: np.random.Generator) -> None:
    def threads() -> list[int]:
        return [torch.get_num_threads(), *(info["num_threads"] for info in threadpool_info())]

    before = threads()
    search = TileSearch(CpuProcessor(threads=3), adaptive=False)
    (placed,) = search.prepare(rng.normal(size=(100, 32)))
    search.nearest(placed, placed, 3)
    assert threads() == before


def test_threads_are_those_that_torch_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    assert CpuProcessor().threads == 7


def test_searches_at_once_restore_the_threads_when_the_last_has_ended() -> None:
    def blas_threads() -> set[int]:
        libraries = ThreadpoolController().select(user_api="blas").info()
        return {library["num_threads"] for library in libraries if "numpy" in library["filepath"]}

    before = blas_threads()
    with ExitStack() as second:
        with CpuProcessor().exact_products():
            second.enter_context(CpuProcessor().exact_products())
            assert blas_threads() == {1}
        assert blas_threads() == {1}
    assert blas_threads() == before
