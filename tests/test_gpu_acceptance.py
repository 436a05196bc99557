"""benchmarks/gpu.py: every phase runs on a CPU too, and a failed check gives exit code 1.

Its functions that compute the truth are held against numpy.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.head import CHECKOUT

BENCHMARKS = CHECKOUT / "benchmarks"
sys.path.append(str(BENCHMARKS))

import gpu  # noqa: E402
from gpu_acceptance import device_tests, frechet_root, inputs, neighbors, stages  # noqa: E402
from gpu_acceptance.phase import NOT_ON_CPU, Phase, PhaseRun  # noqa: E402
from gpu_acceptance.timing import seconds_per_call, union_length  # noqa: E402

# What only a GPU can tell; all else is computed.
LEFT_OUT_REASONS = (NOT_ON_CPU, "too few samples", "no CUDA device")


def results_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "gpu.json").read_text())


def run_main(folder: Path, phases: list[Phase], *arguments: str) -> int:
    return gpu.main(["--device", "cpu", "--tiny", "--out", str(folder), *arguments], phases)


@pytest.mark.slow  # minutes, most of them imports of a second run of the tests
def test_every_phase_runs_on_a_cpu(tmp_path: Path) -> None:
    # Far more time than it takes, as the machine may be busy.
    command = [sys.executable, BENCHMARKS / "gpu.py", "--device", "cpu", "--tiny", "--minutes=60"]
    done = subprocess.run(
        [*command, "--out", tmp_path], cwd=tmp_path, capture_output=True, text=True
    )
    found = results_of(tmp_path)
    assert (found["device"], found["tiny"], found["torch"]) == ("cpu", True, torch.__version__)
    assert [phase["name"] for phase in found["phases"]] == [phase.name for phase in gpu.PHASES]
    failed = [
        (phase["name"], check)
        for phase in found["phases"]
        for check in phase["checks"]
        if not check["passed"]
    ]
    assert (failed, done.returncode) == ([], 0), done.stderr
    for phase in found["phases"]:
        assert phase["status"] == "passed"
        assert phase["checks"] or phase["figures"]
        assert all(figure["value"] > 0 for figure in phase["figures"])
        for left_out in phase["left_out"]:
            assert left_out["reason"].startswith(LEFT_OUT_REASONS), left_out
    table = (tmp_path / "gpu.txt").read_text()
    assert table in done.stdout
    assert table.splitlines()[-1].endswith("0 failed; 0 targets missed")


# --- Phases that fail, crash, hang, or have no time ---


def pass_one_check(run: PhaseRun) -> None:
    run.check("one is one", True, "1")
    run.figure("speed", 3.0, "m/s", at_least=2)


def fail_one_check(run: PhaseRun) -> None:
    run.check("one is two", False, "1")
    run.check_below("zero", float("nan"), 0.0)


def crash(run: PhaseRun) -> None:
    raise RuntimeError("first line\nsecond line")


def end_by_signal(run: PhaseRun) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hang(run: PhaseRun) -> None:
    run.check("one is one", True)
    process = subprocess.Popen(["sleep", "1000"])
    (run.folder.parent / "sleeper").write_text(str(process.pid))
    process.wait()


def test_a_failed_check_is_the_exit_code_and_the_others_go_on(tmp_path: Path) -> None:
    functions = [fail_one_check, crash, end_by_signal, pass_one_check]
    assert run_main(tmp_path, [Phase(f.__name__, 60, f) for f in functions]) == 1
    failing, crashed, killed, passing = results_of(tmp_path)["phases"]
    assert [p["status"] for p in (failing, crashed, killed, passing)] == ["failed"] * 3 + ["passed"]
    assert [check["passed"] for check in failing["checks"]] == [False, False]
    assert crashed["checks"][0]["detail"] == "RuntimeError: first line"
    assert killed["checks"][0]["detail"] == "its process ended with -9"
    table = (tmp_path / "gpu.txt").read_text()
    assert "1 checks passed, 4 failed" in table
    assert "FAILED  RuntimeError: first line\n" in table


def test_checks_that_pass_are_exit_code_0(tmp_path: Path) -> None:
    assert run_main(tmp_path, [Phase("good", 60, pass_one_check)]) == 0
    [phase] = results_of(tmp_path)["phases"]
    assert phase["checks"] == [{"name": "one is one", "passed": True, "detail": "1"}]
    assert phase["figures"][0]["value"] == 3.0


def test_a_phase_ends_at_its_limit_with_all_that_it_began(tmp_path: Path) -> None:
    phases = [Phase("hang", 2, hang), Phase("last", 2, pass_one_check)]
    assert run_main(tmp_path, phases, "--minutes", "0.05") == 0
    hanging, last = results_of(tmp_path)["phases"]
    assert hanging["status"] == "stopped"
    assert hanging["checks"][0]["passed"]
    assert last["status"] in ("passed", "not run")
    assert "no time for hang (stopped)" in (tmp_path / "gpu.txt").read_text()


def test_a_phase_without_time_is_not_run(tmp_path: Path) -> None:
    assert run_main(tmp_path, [Phase("late", 60, fail_one_check)], "--minutes", "0") == 0
    [phase] = results_of(tmp_path)["phases"]
    assert (phase["status"], phase["checks"]) == ("not run", [])
    assert "late" in (tmp_path / "gpu.txt").read_text()


def test_results_are_written_after_each_phase(tmp_path: Path) -> None:
    def read_results(run: PhaseRun) -> None:
        first, second = results_of(tmp_path)["phases"]
        run.check("the first is there", first["status"] == "passed")
        run.check("the second is not", second["status"] == "not run")

    phases = [Phase("first", 60, pass_one_check), Phase("second", 60, read_results)]
    assert run_main(tmp_path, phases) == 0


def test_only_the_phases_that_are_asked_for(tmp_path: Path) -> None:
    phases = [Phase("bad", 60, fail_one_check), Phase("good", 60, pass_one_check)]
    assert run_main(tmp_path, phases, "--only", "good") == 0
    assert [phase["name"] for phase in results_of(tmp_path)["phases"]] == ["good"]
    with pytest.raises(SystemExit, match="2"):
        run_main(tmp_path, phases, "--only", "nothing")


# --- What phases write down ---


def recording_run(folder: Path, entries: list[Any], **changes: Any) -> PhaseRun:
    values = {"tiny": False, "ceilings": {"float32": 100.0}, "deadline": time.monotonic() + 60}
    return PhaseRun(torch.device("cpu"), folder=folder, send=entries.append, **values | changes)


def test_a_figure_has_its_share_of_the_ceiling_and_its_target(tmp_path: Path) -> None:
    entries: list[Any] = []
    run = recording_run(tmp_path, entries)
    run.figure("rate", 2.0, "images/s", ceiling="float32", work=10, least_share=0.3)
    run.figure("seconds", 2.0, "s", at_most=2)
    run.figure("unknown", 2.0, "images/s", ceiling="tf32", work=10, least_share=0.3)
    recording_run(tmp_path, entries, tiny=True).figure("tiny", 2.0, "s", at_most=1)
    assert [(entry.share, entry.target, entry.met) for entry in entries] == [
        (0.2, ">= 30% of float32", False),
        (None, "<= 2 s", True),
        (None, "", None),
        (None, "", None),
    ]


def test_what_has_no_time_is_left_out(tmp_path: Path) -> None:
    entries: list[Any] = []
    run = recording_run(tmp_path, entries)
    assert run.has_seconds(10, "short")
    assert not run.has_seconds(100, "long")
    assert not run.needs_gpu("kernels", "there is none")
    assert [entry.name for entry in entries] == ["long", "kernels"]
    assert entries[1].reason == "not on a CPU: there is none"


# --- Truths ---


@pytest.mark.parametrize(
    ("intervals", "length"),
    [([], 0), ([(0, 2), (1, 3)], 3), ([(5, 6), (0, 1)], 2), ([(0, 10), (2, 3), (9, 11)], 11)],
)
def test_the_length_of_a_union(intervals: list[tuple[float, float]], length: float) -> None:
    assert union_length(intervals) == length


def test_a_call_is_measured_until_the_device_is_done(device: torch.device) -> None:
    matrix = torch.ones(64, 64, device=device)
    calls: list[torch.Tensor] = []
    assert seconds_per_call(lambda: calls.append(matrix @ matrix), device, at_most=3) > 0
    assert 2 <= len(calls) <= 4
    assert all(bool((product == 64).all()) for product in calls)


def test_float64_finds_a_wrong_radius_and_a_wrong_flag(
    rng: np.random.Generator, tmp_path: Path, device: torch.device
) -> None:
    real, generated = rng.normal(size=(2, 60, 4)).astype(np.float32)
    distances = np.linalg.norm(real.astype(float)[:, None] - real, axis=2)
    radii = np.sort(distances, axis=1)[:, neighbors._K]
    across = np.linalg.norm(generated.astype(float)[:, None] - real, axis=2)
    flags = (across <= radii).any(axis=1)
    assert 0 < flags.sum() < 60
    sides = dict(
        zip(("real", "generated"), neighbors.centered(device, real, generated), strict=True)
    )
    rows, entries = np.arange(60), list[Any]()
    run = recording_run(tmp_path, entries)
    for wrong in (0, 1):
        radii_then, flags_then = radii.copy(), flags.copy()
        radii_then[7] *= 1 + 1e-6 * wrong
        flags_then[5] ^= bool(wrong)
        neighbors.check_radii(run, "real", sides["real"], radii_then, rows)
        neighbors.check_flags(run, "generated", sides, torch.from_numpy(radii), flags_then, rows)
    assert [entry.passed for entry in entries] == [True, True, False, False]


@pytest.mark.parametrize(
    "trace", [frechet_root.trace_by_eigenvalues, frechet_root.trace_by_newton_schulz]
)
def test_the_trace_of_a_root(rng: np.random.Generator, device: torch.device, trace: Any) -> None:
    factor = rng.normal(size=(8, 8))
    symmetric = factor @ factor.T + np.eye(8)
    square = torch.from_numpy(symmetric @ symmetric).to(device)
    assert float(trace(square)) == pytest.approx(np.trace(symmetric), rel=1e-12)


def test_inputs_come_from_seeds(device: torch.device) -> None:
    first, again, other = (inputs.mixture_features(50, 32, seed, device) for seed in (1, 1, 2))
    assert first.dtype == np.float32
    assert (first >= 0).all()
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    images = inputs.random_images(3, 10)
    np.testing.assert_array_equal(images, inputs.random_images(3, 10))
    assert (images.shape, images.dtype) == ((3, 3, 10, 10), np.uint8)


def test_files_with_tests_of_a_device_are_found(tmp_path: Path) -> None:
    texts = {
        "fixture": "def test_x(\n    rng: Generator, device: torch.device\n) -> None: ...",
        "mark": "@pytest.mark.gpu\ndef test_x(): ...",
        "neither": "def test_a_full_device() -> None:\n    open('/dev/full')",
    }
    found = []
    for name, text in texts.items():
        file = tmp_path / f"{name}.py"
        file.write_text(text)
        found += [name] * device_tests.has_device_tests(file)
    assert found == ["fixture", "mark"]
    assert device_tests.has_device_tests(Path(__file__))


def test_nothing_is_killed_that_is_no_worker(tmp_path: Path) -> None:
    with stages.WorkerKiller(tmp_path) as killer:
        assert killer.seen == "no shard was made"
        (tmp_path / "first.parquet").touch()
        while killer.seen == "no shard was made":
            time.sleep(0.01)
    assert killer.killed is None
    assert killer.seen.startswith("no process of ShardWorker")
