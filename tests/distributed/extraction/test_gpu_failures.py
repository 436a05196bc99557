"""What a worker does when its GPU fails, with errors as torch raises them and no GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from raymetrics.devices.failures import LOST_DEVICE_EXIT
from raymetrics.distributed import devices
from raymetrics.distributed.extraction.generate import (
    GeneratedSamples,
    LocalGenerator,
    generate_samples,
)
from raymetrics.distributed.extraction.planned_shards import PlannedShard
from raymetrics.distributed.extraction.shard_maker import ShardMaker
from raymetrics.distributed.extraction.stream_control import StreamControl
from raymetrics.distributed.extraction.stream_plan import StreamPlan
from raymetrics.distributed.neighbors import require_usable_gpu
from raymetrics.distributed.reserved_gpus import SHARED_GPUS, reserved_gpus
from raymetrics.errors import ClusterFailure, InsufficientResources, SourceError
from tests.helpers.stream_plans import make_maker, make_plan

pytestmark = pytest.mark.usefixtures("no_actors")

LOST = torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
SHARD = PlannedShard(0, range(20))


class FailingGenerator(LocalGenerator):
    """Noise, after so many calls that raise an error."""

    def __init__(self, plan: StreamPlan, error: Exception, times: int) -> None:
        super().__init__(plan.sources)
        self.error, self.times, self.calls = error, times, 0

    def generate(self, target: int, sample_ids: np.ndarray) -> GeneratedSamples:
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return super().generate(target, sample_ids)


@pytest.fixture
def plan(tmp_path: Path) -> StreamPlan:
    return make_plan(str(tmp_path), "sources:noise", range(20))


def test_a_lost_gpu_is_a_failure_of_the_cluster_and_not_of_samples(plan: StreamPlan) -> None:
    with pytest.raises(ClusterFailure, match="GPU .* was lost .*illegal.* at samples 0-19"):
        make_maker(plan, FailingGenerator(plan, LOST, 1))(SHARD)


def test_a_worker_whose_gpu_is_lost_ends_itself(
    plan: StreamPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray starts another one, in which the GPU can be used again."""
    statuses: list[int] = []

    def end(status: int) -> None:
        statuses.append(status)
        raise KeyboardInterrupt  # as nothing after it may run

    monkeypatch.setattr("os._exit", end)
    control = StreamControl()
    monkeypatch.setattr(ShardMaker, "_start_name", lambda maker: "start")
    for _ in range(4):
        maker = ShardMaker(plan, FailingGenerator(plan, LOST, 99), 10, control)
        if len(statuses) == 3:
            break
        with pytest.raises(KeyboardInterrupt):
            maker(SHARD)
    assert statuses == [LOST_DEVICE_EXIT] * 3
    with pytest.raises(SourceError, match="samples 0-19 ended their worker 3 times.*lost its GPU"):
        maker(SHARD).require_success()


def test_a_call_is_tried_once_more_when_memory_is_full(plan: StreamPlan) -> None:
    generator = FailingGenerator(plan, FULL, 1)
    assert make_maker(plan, generator)(SHARD).require_success().rows == 20


def test_memory_that_stays_full_is_told_with_what_to_change(plan: StreamPlan) -> None:
    outcome = make_maker(plan, FailingGenerator(plan, FULL, 99))(SHARD)
    with pytest.raises(InsufficientResources, match=r"no memory for a batch.*--actors.*--split"):
        outcome.require_success()


class UserGenerator:
    """A generator whose error a wrapper reports as one of its samples."""

    name = "user"

    def __init__(self, error: Exception) -> None:
        self.error, self.calls = error, 0

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        self.calls += 1
        raise SourceError("user failed on sample 0") from self.error

    def labels(self, sample_ids: np.ndarray) -> None:
        return None


@pytest.mark.parametrize("error", [LOST, FULL])
def test_samples_are_not_asked_for_one_by_one_of_a_gpu_that_failed(error: Exception) -> None:
    generator = UserGenerator(error)
    with pytest.raises(SourceError):
        generate_samples(generator, np.arange(5))  # type: ignore[arg-type]
    assert generator.calls == 1


def test_samples_are_asked_for_one_by_one_of_other_errors() -> None:
    generator = UserGenerator(ValueError("no such latent"))
    samples = generate_samples(generator, np.arange(5))  # type: ignore[arg-type]
    assert list(samples.left_out) == [0, 1, 2, 3, 4]
    assert generator.calls == 6


def see_gpus(monkeypatch: pytest.MonkeyPatch, ray: bool, given: list[str], usable: bool) -> None:
    monkeypatch.setattr(devices, "ray_is_running", lambda: ray)
    monkeypatch.setattr(devices, "is_local", lambda: False)
    monkeypatch.setattr(devices, "reserved_gpus", lambda: given)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: usable)


def test_a_reserved_gpu_that_torch_cannot_use_is_an_error(
    monkeypatch: pytest.MonkeyPatch, plan: StreamPlan
) -> None:
    """It is raised by a call, as an actor that raises while it starts would be started again."""
    see_gpus(monkeypatch, ray=True, given=["3"], usable=False)
    monkeypatch.setattr("raymetrics.devices.failures.driver_version", lambda: "470.57")
    make_shard = make_maker(plan)
    with pytest.raises(InsufficientResources, match=r"given GPU 3 .*torch .*driver 470\.57"):
        make_shard(SHARD)


def test_the_cpu_is_taken_where_the_environment_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    see_gpus(monkeypatch, ray=True, given=["0"], usable=False)
    monkeypatch.setenv(devices.DEVICE_VARIABLE, "cpu")
    assert devices.worker_device() == torch.device("cpu")


@pytest.mark.parametrize("engine", ["tiles", "faiss-flat"])
def test_a_search_refuses_a_gpu_that_it_cannot_use(
    monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    """FAISS's build is one for CPUs here."""
    see_gpus(monkeypatch, ray=True, given=["0"], usable=engine != "tiles")
    with pytest.raises(InsufficientResources, match="torch|FAISS cannot use the GPU"):
        require_usable_gpu(engine)


@pytest.mark.parametrize(
    ("ray", "given", "usable", "expected"),
    [
        (True, [], True, "cpu"),  # a task, or the driver, on a machine with GPUs
        (True, ["0"], True, "cuda:0"),
        (False, [], True, "cuda:0"),
        (False, [], False, "cpu"),
    ],
)
def test_a_process_takes_the_gpu_that_is_its_own(
    monkeypatch: pytest.MonkeyPatch, ray: bool, given: list[str], usable: bool, expected: str
) -> None:
    see_gpus(monkeypatch, ray, given, usable)
    assert devices.worker_device() == torch.device(expected)


def test_a_process_that_generates_takes_the_gpus_of_its_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for value, expected in (("1", ["1"]), ("", [])):
        monkeypatch.setenv(SHARED_GPUS, value)
        assert reserved_gpus() == expected
