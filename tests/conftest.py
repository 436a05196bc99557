"""What tests share: a seeded generator of numbers, small shard sets, one Ray for all."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import ray
import torch
from hypothesis import settings
from threadpoolctl import threadpool_limits

from raymetrics.distributed import choose_executor, start_ray
from raymetrics.distributed import session as sessions
from raymetrics.distributed.session import is_local, session
from raymetrics.shards import schema
from raymetrics.shards.layout import DatasetSpec, create_or_extend_spec
from raymetrics.shards.seal import seal_set
from raymetrics.shards.shard_set import ShardSet, open_shards
from raymetrics.shards.store import Store
from raymetrics.shards.writer import commit_shard

# Workers must find the generators in tests/helpers/sources.py, as they would a user's.
HELPERS = str(Path(__file__).parent / "helpers")
os.environ["PYTHONPATH"] = os.pathsep.join([HELPERS, os.environ.get("PYTHONPATH", "")]).strip(
    os.pathsep
)


# How long an example takes says more of the machine than of the code.
settings.register_profile("patient", settings(deadline=None))
settings.load_profile("patient")

# As in every worker: the last bits of a network's floats depend on the number of threads.
torch.set_num_threads(1)
# On a busy machine two threads take many times as long as one for matrices as small as tests'.
threadpool_limits(1, user_api="blas")


NO_GPU = f"no CUDA device for torch {torch.__version__}, built for CUDA {torch.version.cuda}"


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> torch.device:
    """The CPU, and a GPU where there is one."""
    return torch.device(request.param)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that need Ray come first: the longest must not be left to the end of a parallel run.

    Tests of a GPU are skipped where there is none.
    """
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason=NO_GPU))
    with_ray = {item.path for item in items if "ray_session" in item.fixturenames}  # type: ignore[attr-defined]
    items.sort(key=lambda item: item.path not in with_ray)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the features of sources away from the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAYMETRICS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def refuse_ray() -> Iterator[None]:
    """Fail a test that starts Ray, and let none see a Ray that runs already."""

    def refuse(cpus: int | None) -> None:
        raise AssertionError("Ray is started")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(start_ray, "start", refuse)
        for module in (sessions, choose_executor):
            patch.setattr(module, "ray_is_running", lambda: False)
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One local Ray for all tests that need it; what it leaves open is not our warning."""
    assert not is_local(), "a file's tests are with Ray or without, as `no_actors` lasts for a file"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        with session(cpus=2):
            yield


@pytest.fixture(autouse=True)
def _shared_ray_runs_on() -> Iterator[None]:
    """Fail a test that stops the Ray of all: every later one would start its own, which is slow."""
    was_running = ray.is_initialized()
    yield
    assert ray.is_initialized() or not was_running, "the Ray that all tests share was stopped"


@pytest.fixture(scope="module")
def no_actors() -> Iterator[None]:
    """A file's tests in this process, without Ray: actors take ten times as long to start."""
    with session(local=True):
        yield


def write_set(
    uri: str,
    features: dict[str, np.ndarray],
    *,
    extractor: str = "made-up",
    shard_rows: int = 100,
    spec: dict[str, object] | None = None,
    labels: np.ndarray | None = None,
    files: dict[str, dict[str, object]] | None = None,
    label_names: tuple[str, ...] = (),
) -> ShardSet:
    """A sealed shard set of these features: {output: float32 [n, d]}, ids from 0."""
    count = len(next(iter(features.values())))
    columns = schema.make_columns(extractor, {name: x.shape[1] for name, x in features.items()})
    logits = features.get("logits")
    classes = 0 if logits is None else logits.shape[1]
    dataset_spec = DatasetSpec(
        source="numbers",
        generator={"name": "numbers"},
        extractors=[spec or {"name": extractor, "resize": "none"}],
        columns=columns,
        class_names={extractor: [f"class {i}" for i in range(classes)]},
        labels=labels is not None,
        shard_rows=shard_rows,
        samples=(range(count),),
        extractor_texts=(extractor,),
        files=files or {},
        label_names=label_names,
    )
    store = Store(uri)
    create_or_extend_spec(store, dataset_spec)
    for start in range(0, count, shard_rows):
        rows = slice(start, min(start + shard_rows, count))
        table = schema.to_table(
            columns,
            np.arange(rows.start, rows.stop),
            None if labels is None else labels[rows],
            {c.name: features[c.output][rows] for c in columns},
        )
        assert commit_shard(store, table, dataset_spec.fingerprint)
    return seal_set(open_shards(uri))
