"""FAISS: how it is loaded, where its indexes live, and what happens when memory is short."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from raymetrics.errors import RaymetricsError
from raymetrics.neighbors import FlatSearch, faiss_indexes, faiss_search
from raymetrics.neighbors.faiss_indexes import FlatIndex, count_gpus, load_faiss
from tests.helpers.neighbor_cases import cases, find_balls

FULL = "Error: 'err == cudaSuccess' failed: failed to cudaMalloc 4831838208 bytes (out of memory)"


class Short:
    """An index with memory for so many queries at a time."""

    def __init__(self, index: Any, most: int, message: str = FULL) -> None:
        self.index, self.most, self.message = index, most, message
        self.asked: list[int] = []

    def search(self, queries: np.ndarray, fetch: int) -> Any:
        self.asked.append(len(queries))
        if len(queries) > self.most:
            raise RuntimeError(self.message)
        return self.index.search(queries, fetch)


def short(rng: np.random.Generator, most: int, message: str = FULL) -> tuple[FlatIndex, Short]:
    index = FlatIndex("l2", rng.normal(size=(50, 4)).astype(np.float32), block=256)
    index.index = Short(index.index, most, message)
    return index, index.index


def test_blocks_are_halved_until_they_fit(rng: np.random.Generator) -> None:
    queries = rng.normal(size=(300, 4)).astype(np.float32)
    index, memory = short(rng, 70)
    scores, ids = index.search(queries, 3)
    expected = memory.index.search(queries, 3)
    assert_array_equal(ids, expected[1])
    assert_allclose(scores, expected[0], atol=1e-5)
    assert memory.asked == [256, 128, 64, 64, 64, 64, 44]


def test_a_block_that_was_halved_stays_so(rng: np.random.Generator) -> None:
    index, memory = short(rng, 70)
    index.search(np.zeros((256, 4), np.float32), 3)
    memory.asked.clear()
    index.search(np.zeros((128, 4), np.float32), 3)
    assert memory.asked == [64, 64]


def test_blocks_are_not_halved_for_ever(rng: np.random.Generator) -> None:
    index, memory = short(rng, 0)
    with pytest.raises(RuntimeError, match="out of memory"):
        index.search(np.zeros((300, 4), np.float32), 3)
    assert memory.asked == [256, 128, 64, 32, 16]


def test_other_errors_pass_through_at_once(rng: np.random.Generator) -> None:
    index, memory = short(rng, 0, "Error: 'err == CUBLAS_STATUS_SUCCESS' failed")
    with pytest.raises(RuntimeError, match="CUBLAS"):
        index.search(np.zeros((300, 4), np.float32), 3)
    assert memory.asked == [256]


def test_indexes_answer_as_numpy_does(rng: np.random.Generator) -> None:
    rows, queries = (rng.normal(size=(n, 4)).astype(np.float32) for n in (50, 30))
    products = queries @ rows.T
    apart = np.square(queries[:, None] - rows).sum(axis=2)
    for kind, best, ordered in (
        ("l2", np.argsort(apart, axis=1), np.sort(apart, axis=1)),
        ("ip", np.argsort(-products, axis=1), -np.sort(-products, axis=1)),
    ):
        index = FlatIndex(kind, rows, block=7)
        scores, ids = index.search(queries, 6)
        assert_array_equal(ids, best[:, :6])
        assert_allclose(scores, ordered[:, :6], atol=1e-5)


class FaissWithGpu:
    """The module as its package for GPUs has it; what the GPU does, the CPU does in its place."""

    def __init__(self, gpus: int = 1) -> None:
        self.gpus = gpus
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(load_faiss(), name)

    def get_num_gpus(self) -> int:
        return self.gpus

    def StandardGpuResources(self) -> str:
        self.calls.append(("resources",))
        return "resources"

    def GpuIndexFlatL2(self, resources: str, dimension: int) -> Any:
        return Recorded(self.calls, resources, load_faiss().IndexFlatL2(dimension))

    def GpuIndexFlatIP(self, resources: str, dimension: int) -> Any:
        return Recorded(self.calls, resources, load_faiss().IndexFlatIP(dimension))


class Recorded:
    def __init__(self, calls: list[tuple[Any, ...]], resources: str, index: Any) -> None:
        assert resources == "resources"
        self.calls, self.index = calls, index
        calls.append(("index", type(index).__name__))

    def add(self, rows: np.ndarray) -> None:
        assert rows.dtype == np.float32
        self.calls.append(("add", len(rows)))
        self.index.add(rows)

    def search(self, queries: np.ndarray, fetch: int) -> Any:
        assert queries.dtype == np.float32
        assert fetch <= 2048
        self.calls.append(("search", len(queries)))
        return self.index.search(queries, fetch)

    @property
    def ntotal(self) -> int:
        return self.index.ntotal


@pytest.fixture
def faiss_with_gpu(monkeypatch: pytest.MonkeyPatch) -> FaissWithGpu:
    fake = FaissWithGpu()
    for module in (faiss_indexes, faiss_search):
        monkeypatch.setattr(module, "load_faiss", lambda: fake)
    return fake


@pytest.mark.parametrize(("kind", "name"), [("l2", "IndexFlatL2"), ("ip", "IndexFlatIP")])
def test_an_index_on_a_gpu_is_filled_by_one_add(
    faiss_with_gpu: FaissWithGpu, rng: np.random.Generator, kind: str, name: str
) -> None:
    rows = rng.normal(size=(5000, 4)).astype(np.float32)
    index = FlatIndex(kind, rows)
    assert faiss_with_gpu.calls == [("resources",), ("index", name), ("add", 5000)]
    _, ids = index.search(rows[:20], 1)
    if kind == "l2":
        assert_array_equal(ids[:, 0], np.arange(20))


@pytest.mark.parametrize("name", ["gaussian 8 30 float32", "gaussian 64 0 float64", "lattice"])
def test_the_engine_on_a_gpu(faiss_with_gpu: FaissWithGpu, name: str) -> None:
    engine = FlatSearch()
    for case in cases(name):
        queries, base = engine.prepare(case.queries, case.base)
        assert_array_equal(engine.nearest(base, base, 5), case.base_neighbors)
        assert_array_equal(engine.nearest(queries, base, 5), case.query_neighbors)
        found = find_balls(engine, queries, base, case.radii, realism_radii=case.realism_radii)
        assert_array_equal(found.hits, case.balls.hits)
        assert_array_equal(found.occupancy, case.balls.occupancy)
        assert_array_equal(found.realism, case.balls.realism)
        flags = find_balls(engine, queries, base, case.radii, count=False).hits > 0
        assert_array_equal(flags, case.balls.hits > 0)
    kinds = [call[0] for call in faiss_with_gpu.calls]
    assert kinds.count("index") == kinds.count("add") == kinds.count("resources") > 0


def test_a_base_is_indexed_once_for_all_that_is_searched_in_it(
    faiss_with_gpu: FaissWithGpu, rng: np.random.Generator
) -> None:
    engine = FlatSearch()
    (base,) = engine.prepare(rng.normal(size=(200, 8)).astype(np.float32))
    radii = engine.nearest(base, base, 3)[:, -1:]
    for count in (30, 50):
        queries = engine.prepare_like(base, rng.normal(size=(count, 8)).astype(np.float32))
        engine.nearest(queries, base, 3)
        nothing = np.full((count, 1), -1.0)
        engine.balls_both_directions(base, queries, radii, nothing, count=False)
    added = [call[1] for call in faiss_with_gpu.calls if call[0] == "add"]
    assert added.count(200) == 2  # by distance, and by depth in balls


def test_no_gpu_leaves_the_index_where_it_is(
    faiss_with_gpu: FaissWithGpu, rng: np.random.Generator
) -> None:
    faiss_with_gpu.gpus = 0
    FlatIndex("l2", rng.normal(size=(5, 4)).astype(np.float32))
    assert not faiss_with_gpu.calls


def test_a_gpu_that_fails_is_not_left_aside(
    faiss_with_gpu: FaissWithGpu, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("CUDA error 46")

    monkeypatch.setattr(faiss_with_gpu, "GpuIndexFlatL2", fail)
    with pytest.raises(RuntimeError, match="CUDA error 46"):
        FlatIndex("l2", rng.normal(size=(5, 4)).astype(np.float32))


def test_the_package_for_cpus_is_never_asked_for_gpus() -> None:
    class OfCpus:
        def get_num_gpus(self) -> int:
            raise AssertionError("ends the process")

    class Broken(OfCpus):
        StandardGpuResources = object

    assert count_gpus(OfCpus()) == 0
    assert count_gpus(FaissWithGpu(3)) == 3
    with pytest.raises(AssertionError):  # and what it says is not swallowed
        count_gpus(Broken())


def test_without_faiss_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    before = dict(os.environ)
    with pytest.raises(RaymetricsError, match=r"raymetrics\[cpu\].*raymetrics\[gpu\]"):
        load_faiss.__wrapped__()
    assert dict(os.environ) == before


LOAD = """
import json, os
import numpy
from threadpoolctl import threadpool_info
from raymetrics.neighbors.faiss_indexes import load_faiss, numpy_blas_core
before = dict(os.environ)
core = numpy_blas_core()
load_faiss()
libraries = [i for i in threadpool_info() if i["internal_api"] == "openblas"]
found = [i["architecture"] for i in libraries if "faiss" in i["filepath"]]
same = dict(os.environ) == before
print(json.dumps([core, found, same, os.environ.get("OPENBLAS_CORETYPE")]))
"""


def loaded(**environment: str) -> tuple[str | None, list[str], bool, str | None]:
    """In a new process: numpy's processor, those of FAISS, and what is left in the environment."""
    without = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        env=without | environment,
        capture_output=True,
        check=True,
        text=True,
    )
    core, found, same, told = json.loads(done.stdout)
    return core, found, same, told


def test_faiss_knows_the_processor_that_numpy_knows() -> None:
    core, found, same, told = loaded()
    assert all(core in (None, architecture) for architecture in found)
    assert same
    assert told is None


def test_a_user_s_own_processor_is_respected() -> None:
    _, found, same, told = loaded(OPENBLAS_CORETYPE="Nehalem")
    assert set(found) <= {"Nehalem"}
    assert same
    assert told == "Nehalem"


@pytest.mark.parametrize(
    ("libraries", "expected"),
    [
        ([], None),
        ([{"internal_api": "mkl"}], None),
        ([{"internal_api": "openblas", "architecture": "Haswell"}], "Haswell"),
        ([{"internal_api": "openblas", "architecture": "SapphireRapids"}], "SkylakeX"),
        ([{"internal_api": "openblas", "architecture": "Cooperlake"}], "SkylakeX"),
    ],
)
def test_processors_in_the_names_of_an_old_openblas(
    monkeypatch: pytest.MonkeyPatch, libraries: list[dict[str, str]], expected: str | None
) -> None:
    monkeypatch.setattr(faiss_indexes, "threadpool_info", lambda: libraries)
    assert faiss_indexes.numpy_blas_core() == expected
