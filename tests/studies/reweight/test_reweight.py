"""Weights of candidates in shards: those of arrays, the same bits whoever holds the parts, and
only whole files."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
from contextlib import closing
from functools import partial
from pathlib import Path

import dying_worker
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from raymetrics.attacks import Evaluation, InMemoryEvaluator, Step, TargetGaussian
from raymetrics.attacks.matched_features import MatchTarget
from raymetrics.attacks.reweight_arrays import reweight
from raymetrics.distributed import (
    checkpoint,
    memory_limits,
    partition_workers,
    partitioned_features,
)
from raymetrics.distributed.fold import fold_shards
from raymetrics.distributed.memory_limits import PartitionPlan, plan_partitions
from raymetrics.distributed.partition_workers import ActorWorkers, PartitionWorker, ThreadWorkers
from raymetrics.distributed.partitioned_features import (
    PartitionedEvaluator,
    PartitionedFeatures,
    partition_shards,
)
from raymetrics.errors import (
    InsufficientResources,
    NotEnoughData,
    RaymetricsError,
    ShardError,
    SpecMismatch,
    StorageError,
)
from raymetrics.shards.open_view import open_view
from raymetrics.shards.selection_files import read_selection
from raymetrics.shards.shard_set import open_shards
from raymetrics.shards.view import View
from raymetrics.statistics import ColumnStatistic, Moments
from raymetrics.studies.reweight import optimize as module
from raymetrics.studies.reweight.optimize import reweight_shards
from raymetrics.studies.reweight.weights_file import SampleWeights, require_draw_size, write_drawn
from tests.conftest import write_set
from tests.helpers.fake_cuda import CUDA, fake_cuda
from tests.helpers.oracles import weighted_frechet_distance

COLUMN = "made_up_pre_logits"


@pytest.fixture(scope="module")
def features() -> dict[str, dict[str, np.ndarray]]:
    """Both sides' pre-logits and logits: a mixture whose proportions and first column differ."""
    rng = np.random.default_rng(3)
    centres, to_logits = rng.normal(0, 2, (6, 8)), rng.normal(0, 1, (8, 12))
    found = {}
    for side, count, share in (("real", 150, np.ones(6)), ("generated", 300, np.arange(1, 7))):
        which = rng.choice(6, count, p=share / share.sum())
        made = np.maximum(centres[which] + rng.normal(0, 1, (count, 8)), 0)
        made[:, 0] += 4 * (side == "real")
        found[side] = {
            "pre_logits": made.astype(np.float32),
            "logits": (made @ to_logits).astype(np.float32),
        }
    return found


@pytest.fixture(scope="module")
def sides(features, tmp_path_factory) -> dict[str, str]:
    """The same as shard sets; the names of the arguments, and where they are."""
    folder = tmp_path_factory.mktemp("sides")
    for side, made in features.items():
        write_set(str(folder / side), made, shard_rows=25)
    return {side: str(folder / side) for side in features}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch) -> None:
    """Six parts of two shards."""
    monkeypatch.setattr(partitioned_features, "MIN_PARTITION_ROWS", 50)


@pytest.fixture(scope="module")
def undisturbed(sides, tmp_path_factory, ray_session) -> SampleWeights:
    """What a run gives that nothing stops, with every part in this process."""
    least, partitioned_features.MIN_PARTITION_ROWS = partitioned_features.MIN_PARTITION_ROWS, 50
    to = tmp_path_factory.mktemp("undisturbed")
    try:
        found = reweight_shards(**sides, to=str(to), in_memory=True)
    finally:
        partitioned_features.MIN_PARTITION_ROWS = least
    assert found.converged
    assert [path.name for path in to.iterdir()] == ["weights.parquet"]
    return found


def assert_same_bits(found: SampleWeights, expected: SampleWeights) -> None:
    np.testing.assert_array_equal(found.weights, expected.weights)
    np.testing.assert_array_equal(found.sample_ids, expected.sample_ids)
    assert found.trace == expected.trace
    assert found.converged == expected.converged


def test_equals_arrays(undisturbed, features, sides) -> None:
    pre_logits = {side: made["pre_logits"] for side, made in features.items()}
    expected = reweight(**pre_logits)
    assert undisturbed.distance == pytest.approx(expected.distance, rel=1e-3)
    np.testing.assert_allclose(undisturbed.trace[:4], expected.trace[:4], rtol=1e-5)
    assert undisturbed.distance < 0.2 * undisturbed.trace[0].distance
    # And the weights are those of the rows that the file says.
    goal = TargetGaussian.from_moments(Moments.from_samples(pre_logits["real"]))
    evaluate = InMemoryEvaluator(goal, goal.center_features(pre_logits["generated"]))
    assert evaluate(undisturbed.weights).distance == pytest.approx(undisturbed.distance, rel=1e-5)
    about = undisturbed.metadata
    assert (about["kind"], about["match"], about["extractor"]) == (
        "weights",
        "pre_logits",
        "made-up",
    )
    assert about["digest"] == open_view(sides["generated"]).digest()
    assert about["real"]["digest"] == open_view(sides["real"]).digest()


@pytest.fixture
def parts(sides, features) -> PartitionedFeatures:
    """The candidates, with the real pre-logits as their goal."""
    view = View.from_shards(open_shards(sides["generated"]))
    goal = TargetGaussian.from_moments(Moments.from_samples(features["real"]["pre_logits"]))
    return PartitionedFeatures.from_view(view, COLUMN, identity, goal)


def identity(values: np.ndarray) -> np.ndarray:
    return values


WEIGHTS = np.random.default_rng(0).dirichlet(np.ones(300))


def evaluator(parts: PartitionedFeatures, worker: PartitionWorker) -> PartitionedEvaluator:
    """Of the parts that this worker holds."""
    pool = ThreadWorkers(parts)
    pool.worker = worker
    return PartitionedEvaluator(parts.slices, pool)


def test_parts_that_are_read_again_give_the_same_bits(parts) -> None:
    reading, holding = (PartitionWorker(parts, keep) for keep in (False, True))
    again, once = (evaluator(parts, worker)(WEIGHTS) for worker in (reading, holding))
    assert (len(reading.cache), len(holding.cache)) == (0, 6)
    np.testing.assert_array_equal(again.weight_gradient, once.weight_gradient)
    assert again.distance == once.distance


def assert_near(found: Evaluation, expected: Evaluation) -> None:
    """To what sums in float32 allow."""
    assert found.distance == pytest.approx(expected.distance, rel=1e-6)
    slopes = expected.weight_gradient
    np.testing.assert_allclose(
        found.weight_gradient, slopes, rtol=1e-5, atol=1e-6 * abs(slopes).max()
    )


def test_a_device_gives_what_arrays_give(parts, features, device) -> None:
    arrays = evaluator(parts, PartitionWorker(parts, keep=True))
    worker = PartitionWorker(parts, keep=True, device=device)
    tensors = evaluator(parts, worker)
    assert (len(worker.cache), worker.features(0).device.type) == (6, device.type)
    np.testing.assert_allclose(tensors.norms, arrays.norms, rtol=1e-6)
    assert_near(tensors(WEIGHTS), arrays(WEIGHTS))
    sides_of = {side: made["pre_logits"] for side, made in features.items()}
    expected = weighted_frechet_distance(**sides_of, weights=WEIGHTS)
    for evaluate in (arrays, tensors):
        assert evaluate.exact_distance(WEIGHTS) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("free", [0, 10**9])
def test_a_gpu_without_numbers_holds_what_it_has_memory_for(parts, monkeypatch, free) -> None:
    """Every line of a worker on a GPU. The values and the memory of one are not reached."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 10**9))
    worker = PartitionWorker(parts, keep=True, device=CUDA)
    with fake_cuda():
        for index, rows in enumerate(parts.slices):
            moments = worker.moments(index, WEIGHTS[rows])
            assert isinstance(moments.products, np.ndarray)
        transport = worker.transport([moments] * len(parts.slices))
        assert worker.goal.factor.device.type == "cuda"
        assert worker.gradient(0, transport).shape == WEIGHTS[parts.slices[0]].shape
        assert worker.norms(0, None).shape == WEIGHTS[parts.slices[0]].shape
    assert len(worker.cache) == (6 if free else 0)


@pytest.mark.usefixtures("ray_session")
def test_actors_with_devices_compute_the_map_themselves(parts, monkeypatch) -> None:
    expected = evaluator(parts, PartitionWorker(parts, keep=True))(WEIGHTS)
    with closing(ActorWorkers(parts, keep=True, on_device=True)) as pool:
        monkeypatch.setattr(pool.driver, "transport", None)
        found = PartitionedEvaluator(parts.slices, pool)
        assert_near(found(WEIGHTS), expected)
        assert found.exact_distance(WEIGHTS) == pytest.approx(expected.distance, rel=1e-5)


def test_gpus_get_fewer_and_larger_parts() -> None:
    view = FakeView(rows=[1000] * 256)
    assert len(partition_shards(view, 2048)) == 32
    assert len(partition_shards(view, 2048, on_device=True)) == 8


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("match", ["logits", "probabilities", "top_n:2", "middle_n:3"])
def test_matched_features_equal_arrays(sides, features, tmp_path, match) -> None:
    logits = {side: made["logits"] for side, made in features.items()}
    expected = reweight(**logits, match=match, max_evaluations=5)
    found = reweight_shards(**sides, to=str(tmp_path), match=match, max_evaluations=5)
    np.testing.assert_allclose(found.trace, expected.trace, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(found.weights, expected.weights, rtol=1e-2, atol=1e-6)
    assert found.metadata["match"] == match


@pytest.mark.usefixtures("ray_session")
def test_some_samples_of_either_set(sides, features, tmp_path) -> None:
    ids = {"real": np.arange(0, 150, 2), "generated": np.r_[3:40, 90:250]}
    uris = {}
    for side, some in ids.items():
        pq.write_table(pa.table({"sample_id": some}), tmp_path / f"{side}.parquet")
        uris[side] = f"{sides[side]}?ids={tmp_path}/{side}.parquet"
    found = reweight_shards(**uris, to=str(tmp_path / "to"), max_evaluations=5)
    np.testing.assert_array_equal(found.sample_ids, ids["generated"])
    arrays = {side: features[side]["pre_logits"][some] for side, some in ids.items()}
    expected = reweight(**arrays, max_evaluations=5)
    np.testing.assert_allclose(found.trace, expected.trace, rtol=1e-4)
    np.testing.assert_allclose(found.weights, expected.weights, rtol=1e-2, atol=1e-6)


@pytest.mark.usefixtures("ray_session")
def test_gradient_descent_equals_arrays_and_goes_on(sides, features, tmp_path) -> None:
    logits = {side: made["logits"] for side, made in features.items()}
    asked = {"match": "top_n:2", "optimizer": "gd"}
    expected = reweight(**logits, **asked, max_evaluations=35)
    once = reweight_shards(**sides, **asked, to=str(tmp_path / "once"), max_evaluations=35)
    np.testing.assert_allclose(once.trace, expected.trace, rtol=1e-4)
    assert once.distance < once.trace[0].distance
    for budget in (15, 35):
        twice = reweight_shards(
            **sides, **asked, to=str(tmp_path / "twice"), max_evaluations=budget
        )
        assert len(twice.trace) == budget
    assert_same_bits(twice, once)


def test_a_larger_budget_goes_on_and_what_is_there_is_not_made_again(
    sides, undisturbed, tmp_path, monkeypatch
) -> None:
    to = str(tmp_path)
    few = reweight_shards(**sides, to=to, max_evaluations=6, in_memory=True)
    assert not few.converged
    *way, last = few.trace
    assert way == list(undisturbed.trace[: len(way)])
    assert last == pytest.approx(undisturbed.trace[len(way)], rel=1e-6)  # the end is of float64
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state.npz", "weights.parquet"]
    write_drawn(few, open_view(sides["generated"]), 150, "systematic")
    told: list[Step] = []
    more = reweight_shards(**sides, to=to, in_memory=True, on_step=told.append)
    assert_same_bits(more, undisturbed)
    assert told[0].evaluations > few.trace[-1].evaluations
    assert more.digest != few.digest
    # Nothing to go on with is left, and no draw by the weights of before.
    assert [path.name for path in tmp_path.iterdir()] == ["weights.parquet"]

    monkeypatch.setattr(module, "optimize_weights", None)
    for budget in (6, 1000):
        assert_same_bits(reweight_shards(**sides, to=to, max_evaluations=budget), undisturbed)


DRIVER = """
import contextlib, pickle, sys, time
from raymetrics.distributed import checkpoint, partitioned_features
from raymetrics.distributed.memory_limits import PartitionPlan
from raymetrics.studies.reweight import optimize as reweight

# No cluster: one more driver of Ray has workers of its own, that all import what they need.
moments = pickle.load(sys.stdin.buffer)
reweight.session = lambda **_: contextlib.nullcontext()
reweight.fold_shards = lambda view, measures: {{"moments": moments}}
reweight.plan_partitions = lambda *_: PartitionPlan(in_driver=True, keep=True)

def wait(step):
    if step.evaluations >= 7:
        print("there", flush=True)
        time.sleep(1000)

partitioned_features.MIN_PARTITION_ROWS, checkpoint.SAVE_SECONDS = 50, 0
reweight.reweight_shards(real={real!r}, generated={generated!r}, to={to!r}, on_step=wait)
"""


def test_killed_in_the_middle_and_run_again(sides, undisturbed, tmp_path) -> None:
    to = str(tmp_path / "killed")
    measures = {
        "moments": ColumnStatistic(
            COLUMN, partial(module.matched_moments, MatchTarget.parse("pre_logits").transform)
        )
    }
    moments = fold_shards(open_view(sides["real"]), measures)["moments"]
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER.format(**sides, to=to)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(pickle.dumps(moments))
        process.stdin.flush()
        said = b""
        assert any((said := said + line).endswith(b"there\n") for line in process.stdout), said
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert [path.name for path in Path(to).iterdir()] == ["state.npz"]
    told: list[Step] = []
    found = reweight_shards(**sides, to=to, in_memory=True, on_step=told.append)
    assert told[0].evaluations > 7
    assert_same_bits(found, undisturbed)


@pytest.mark.usefixtures("ray_session")
def test_an_interrupted_run_leaves_no_weights_and_keeps_what_it_reached(
    sides, undisturbed, tmp_path
) -> None:
    threads = set()

    def interrupt(step: Step) -> None:
        blas = [library for library in threadpool_info() if library["user_api"] == "blas"]
        threads.update(library["num_threads"] for library in blas)
        if step.evaluations >= 5:
            raise KeyboardInterrupt

    asked = {**sides, "to": str(tmp_path), "in_memory": True}
    with pytest.raises(KeyboardInterrupt), threadpool_limits(2, user_api="blas"):
        reweight_shards(**asked, on_step=interrupt)
    assert threads == {1}  # or the last bits were those of a machine with as many
    assert [path.name for path in tmp_path.iterdir()] == ["state.npz"]
    with pytest.raises(SpecMismatch, match=r"state.npz is of another.*match: there \"pre_logits\""):
        reweight_shards(**asked, match="logits")
    assert_same_bits(reweight_shards(**asked), undisturbed)
    with pytest.raises(SpecMismatch, match=r"weights.parquet is of another.*tolerance: there 0.00"):
        reweight_shards(**asked, tolerance=0.5)
    (tmp_path / "weights.parquet").unlink()
    (tmp_path / "state.npz").write_bytes(b"damaged")
    with pytest.raises(ShardError, match=r"cannot read .*state.npz.*remove it to begin again"):
        reweight_shards(**asked)


@pytest.mark.usefixtures("ray_session")
def test_bad_features_and_places_leave_nothing(sides, features, tmp_path) -> None:
    broken = tmp_path / "broken"
    write_set(str(broken), {"pre_logits": features["generated"]["pre_logits"]}, shard_rows=100)
    shard = sorted(broken.glob("samples-*"))[1]
    table = pq.read_table(shard)
    values = table[COLUMN].combine_chunks().to_numpy_ndarray().copy()
    values[3, 0] = np.nan
    tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(values)
    pq.write_table(table.set_column(1, table.schema.field(1), tensor), shard)
    to = tmp_path / "to"
    with pytest.raises(ShardError, match=r"made_up_pre_logits in .* is NaN or infinite .*\(103\)"):
        reweight_shards(real=sides["real"], generated=str(broken), to=str(to))
    assert not list(to.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot"):
        reweight_shards(**sides, to=str(tmp_path / "file" / "weights"))


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"match": "pixels"}, RaymetricsError, "cannot match 'pixels'; choose from pre_logits"),
        ({"match": "top_n:7"}, RaymetricsError, "marks more than half of 12 classes"),
        ({"optimizer": "adam"}, RaymetricsError, "no optimizer 'adam'; there are lbfgs, gd"),
        ({"tolerance": -1.0}, RaymetricsError, "the tolerance is -1.0"),
        ({"max_evaluations": 0}, RaymetricsError, "0 evaluations are asked for"),
        ({"extractor": "vgg16"}, SpecMismatch, "'vgg16' is not in both sets; both have made-up"),
    ],
)
def test_requests_that_make_no_sense(sides, tmp_path, changes, kind, message) -> None:
    with pytest.raises(kind, match=message):
        reweight_shards(**{**sides, "to": str(tmp_path / "to"), **changes})
    assert not (tmp_path / "to").exists()


def test_sets_that_cannot_be_weighed(sides, features, tmp_path) -> None:
    def refused(kind: type[Exception], message: str, **changes: str) -> None:
        with pytest.raises(kind, match=message):
            reweight_shards(**{**sides, "to": str(tmp_path / "to"), **changes})
        assert not (tmp_path / "to").exists()

    def made(name: str, rows: int = 30, **how) -> str:
        write_set(
            str(tmp_path / name), {"pre_logits": features["real"]["pre_logits"][:rows]}, **how
        )
        return str(tmp_path / name)

    refused(NotEnoughData, "has 1 real samples; weights take at least 2", real=made("one", 1))
    refused(SpecMismatch, "no column logits in both", generated=made("few"), match="logits")
    other = made("other", extractor="other")
    refused(SpecMismatch, "extract both with the same extractor", generated=other)
    spec = {"name": "made-up", "resize": "clean"}
    refused(SpecMismatch, "used made-up differently.*resize", generated=made("clean", spec=spec))
    pq.write_table(pa.table({"sample_id": [3, 3]}), tmp_path / "ids.parquet")
    twice = f"{sides['generated']}?ids={tmp_path}/ids.parquet"
    refused(RaymetricsError, "names candidates repeatedly", generated=twice)


def test_the_extractor_is_inception_or_the_only_one() -> None:
    from raymetrics.shards.schema import Column

    def chosen(*extractors: str, asked: str | None = None) -> str:
        columns = tuple(Column(name, "pre_logits", 4) for name in extractors)
        specs = [{"name": name} for name in extractors]
        side = FakeSet(FakeSpec(columns, specs))
        found = module.choose_output_column(
            real=side, generated=side, output="pre_logits", extractor=asked
        )
        return found.extractor

    assert chosen("digits") == "digits"
    assert chosen("digits", "inception") == "inception"
    assert chosen("digits", "inception", asked="digits") == "digits"
    with pytest.raises(SpecMismatch, match="choose an extractor: digits, efficientnet"):
        chosen("digits", "efficientnet-lite0")


class FakeSpec:
    image_size = None

    def __init__(self, columns, extractors) -> None:
        self.columns, self.extractors = columns, extractors


class FakeSet:
    uri = "set"

    def __init__(self, spec: FakeSpec) -> None:
        self.spec = spec


@pytest.mark.parametrize(
    ("free", "workers", "in_memory", "plan"),
    [
        (24e9, (2, 1.0, 0.0), None, PartitionPlan(in_driver=True, keep=True)),
        (24e9, (2, 1.0, 0.0), False, PartitionPlan(in_driver=False, keep=True)),
        (24e9, (2, 1.0, 1.0), None, PartitionPlan(in_driver=False, keep=True, on_device=True)),
        (24e9, (2, 1.0, 1.0), True, PartitionPlan(in_driver=True, keep=True)),
        (12e6, (2, 1.0, 0.0), None, PartitionPlan(in_driver=False, keep=False)),
    ],
)
def test_who_holds_the_parts(monkeypatch, free, workers, in_memory, plan) -> None:
    view = FakeView(rows=[1000] * 64)
    memory(monkeypatch, free, workers)
    assert plan_partitions(view, 64, in_memory, vectors=0) == plan


def test_plans_that_do_not_fit(monkeypatch) -> None:
    memory(monkeypatch, 1e6, (2, 1.0, 0.0))
    for in_memory in (None, True, False):
        with pytest.raises(
            InsufficientResources, match="64000 candidates of 64 dimensions need .* are free"
        ):
            plan_partitions(FakeView(rows=[1000] * 64), 64, in_memory)


def memory(monkeypatch, free: float, workers: tuple[int, float, float]) -> None:
    found = psutil.virtual_memory()._replace(available=int(free))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: found)
    monkeypatch.setattr(memory_limits, "actor_resources", lambda: workers)
    monkeypatch.setattr(memory_limits, "uses_ray", lambda: True)


class FakeView:
    """Shards of so many rows."""

    group_shards = View.group_shards

    def __init__(self, rows: list[int]) -> None:
        self.present = [range(i * 1000, i * 1000 + n) for i, n in enumerate(rows)]

    def __len__(self) -> int:
        return sum(map(len, self.present))

    def count(self, shard: range) -> int:
        return len(shard)


def test_draws(undisturbed, sides) -> None:
    view = open_view(sides["generated"])
    path = write_drawn(undisturbed, view, 150, "systematic")
    choice = read_selection(path).require_made_from(view.shards)
    np.testing.assert_array_equal(choice.sample_ids, undisturbed.draw_ids(150, 0, "systematic"))
    assert (choice.kind, choice.metadata["seed"], len(choice)) == ("drawn", 0, 150)
    assert choice.metadata["weights"] == undisturbed.digest
    assert len(open_view(f"{sides['generated']}?ids={path}")) == 150
    Path(path).unlink()
    views = {side: open_view(uri) for side, uri in sides.items()}
    assert require_draw_size(**views) == 150
    for n in (0, 1, 301):
        with pytest.raises(NotEnoughData, match=f"draws of {n} samples from 300 candidates"):
            require_draw_size(**views, n=n)


def test_states_are_written_at_most_every_so_often(tmp_path, monkeypatch) -> None:
    from raymetrics.shards.store import Store

    times = [0.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: times[0])
    states = checkpoint.Checkpoint(Store(str(tmp_path)), {"match": "pre_logits"})
    with states:
        states.resume()
        for times[0] in (10.0, 20.0, 31.0, 40.0):
            states.save_if_due({"at": np.array(times[0])})
            again = checkpoint.Checkpoint(Store(str(tmp_path)), {"match": "pre_logits"})
            again.resume()
            assert again.saved_state == ({} if times[0] < 30 else {"at": 31.0})
    again.resume()
    assert again.saved_state == {"at": 40.0}


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_draws_on_the_way_beside_actors(sides, tmp_path) -> None:
    """Actors have all CPUs: metrics of draws are computed in this process, and do not wait."""
    asked = {"max_evaluations": 4, "evaluate_every": 3, "select": "best-of-draws"}
    runs = [
        reweight_shards(**sides, **asked, to=str(tmp_path / str(held)), in_memory=held)
        for held in (False, True)
    ]
    assert_same_bits(*runs)
    assert runs[0].metadata["drawn"] == runs[1].metadata["drawn"]


# Last, since the processes of actors that end are missed by whatever Ray runs next.
@pytest.mark.slow
def test_same_bits_with_actors_of_which_one_dies(sides, undisturbed, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(partition_workers, "SingleThreadWorker", dying_worker.DyingWorker)
    found = reweight_shards(**sides, to=str(tmp_path), in_memory=False)
    assert (Path(sides["generated"]) / "died").exists()
    assert_same_bits(found, undisturbed)


@pytest.mark.usefixtures("ray_session")
def test_actors_that_do_not_start_are_not_waited_for(monkeypatch) -> None:
    class Idle:
        pass

    monkeypatch.setattr(partition_workers, "START_SECONDS", 0.1)
    one, never = (ray.remote(num_cpus=cpus)(Idle).remote() for cpus in (0.1, 1000))
    assert partition_workers.wait_for_actors([one, never]) == [one]
    monkeypatch.setattr(partition_workers, "NO_PROGRESS_SECONDS", 0.1)
    with pytest.raises(RaymetricsError, match=r"no actor has started for 0.1 s; .* run the same"):
        partition_workers.wait_for_actors([ray.remote(num_cpus=1000)(Idle).remote()])
    ray.kill(one)
