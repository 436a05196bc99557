"""How a command ends: its exit code, its one line, and at once if it is told to."""

from __future__ import annotations

import signal
import subprocess
import sys
import weakref

import click
import psutil
import pytest
import ray
from click.testing import CliRunner
from ray import exceptions
from ray.data.exceptions import ExecutionTimeoutError

from raymetrics.cli.options_and_errors import exit_with_code
from raymetrics.distributed.ray_errors import translate_ray_error
from raymetrics.distributed.session import session
from raymetrics.errors import (
    ClusterFailure,
    RaymetricsError,
    SampleRangeError,
    StorageError,
    StorageUnavailable,
)
from tests.helpers.head import wait_until

STOPPED = "stopped; what is there is whole, the same command goes on\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SampleRangeError("no such samples"), 2),
        (StorageError("access denied"), 2),
        (StorageUnavailable("the store does not answer"), 75),
        (ClusterFailure("a machine was lost"), 75),
    ],
)
def test_the_exit_code_says_whether_the_same_command_would_help(
    error: Exception, code: int
) -> None:
    @click.command()
    @exit_with_code
    def verb() -> None:
        raise error

    done = CliRunner().invoke(verb)
    assert (done.exit_code, done.output) == (code, f"error: {error}\n")


# One that is in native code for hours, as in a search, and one that waits.
BUSY = "hashlib.pbkdf2_hmac('sha512', b'', b'', 2**31 - 1)"
WAITS = "time.sleep(600)"
VERB = """
import hashlib, time
from raymetrics.cli.options_and_errors import exit_with_code

@exit_with_code
def verb():
    print("begun", flush=True)
    {doing}

verb()
"""


@pytest.mark.parametrize("doing", [BUSY, WAITS], ids=["busy", "waits"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_verb_at_once_with_one_line(
    doing: str, number: signal.Signals, code: int
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", VERB.format(doing=doing)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        _, told = process.communicate(timeout=60)
    assert (process.returncode, told) == (code, STOPPED)


def test_signals_are_given_back() -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]

    @exit_with_code
    def verb() -> None:
        assert signal.getsignal(signal.SIGTERM) != handlers[0]

    verb()
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == handlers
    wakes = signal.set_wakeup_fd(-1)
    assert wakes == -1


SESSION = """
from raymetrics.cli.options_and_errors import exit_with_code
from raymetrics.distributed.session import session

@exit_with_code
def verb():
    with session(cpus=1):
        import ray, time

        @ray.remote
        def wait():
            time.sleep(600)

        waiting = wait.remote()
        print("begun", flush=True)
        ray.get(waiting)

verb()
"""


@pytest.mark.slow
def test_a_local_ray_ends_with_its_driver() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SESSION], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "begun\n"
        processes = psutil.Process(process.pid).children(recursive=True)
        assert [one for one in processes if "raylet" in one.name()]
        process.terminate()
        _, told = process.communicate(timeout=60)
    assert (process.returncode, told) == (143, STOPPED)
    # Two of Ray's agents look whether the others are there once a minute.
    wait_until(lambda: not [one for one in processes if one.is_running()], lambda: "Ray is left")


OUT_OF_MEMORY = (
    "Task was killed due to the node running low on memory. Memory on the node (IP: 10.0.0.7, ID: "
    "ab12) where the lease was running was 30.5GB / 32GB (0.953), which exceeds the threshold."
)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (exceptions.OutOfMemoryError(OUT_OF_MEMORY), "a machine ran out of memory at 10.0.0.7"),
        (exceptions.NodeDiedError("gone"), "a machine was lost"),
        (exceptions.ActorDiedError(), "a worker was lost"),
        (exceptions.ActorUnavailableError("no answer", None), "a worker was lost"),
        (exceptions.WorkerCrashedError(), "a worker was lost"),
        (exceptions.OwnerDiedError("ab12", None, ""), "what a worker had made was lost"),
        (ExecutionTimeoutError("No progress for 1200 s. Operators: ..."), "nothing went on"),
    ],
)
def test_what_ray_loses_is_no_fault_of_the_request(
    error: Exception, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    with pytest.raises(ClusterFailure, match=f"^{told}.*run the same command again"), session():
        raise error


def test_an_error_that_is_kept_keeps_nothing_of_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    class Worker:
        pass

    def read() -> None:
        worker = Worker()
        workers.append(weakref.ref(worker))
        raise StopIteration

    def fetched() -> None:
        worker = Worker()
        workers.append(weakref.ref(worker))
        try:
            read()
        except StopIteration:
            told = exceptions.RayTaskError(
                "extract", "a traceback", SampleRangeError("no such samples")
            )
            raise told.as_instanceof_cause() from None

    workers: list[weakref.ref[Worker]] = []
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    with pytest.raises(SampleRangeError) as kept, session():
        fetched()
    assert kept.value.__cause__ is not None
    assert [worker() for worker in workers] == [None, None]


def test_other_errors_stay_what_they_are() -> None:
    ours = SampleRangeError("no such samples")
    wrapped = exceptions.RayTaskError("extract", "a traceback", ours)
    assert translate_ray_error(wrapped) is ours
    bug = exceptions.RayTaskError("extract", "a traceback", ValueError("a bug"))
    assert translate_ray_error(bug) is bug
    of_constructor = exceptions.ActorDiedError(bug)
    assert translate_ray_error(of_constructor) is of_constructor


def test_a_cluster_that_is_not_there_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(ClusterFailure, match="answers at RAY_ADDRESS=127.0.0.1:9;"), session():
        raise AssertionError
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")
    with pytest.raises(RaymetricsError, match="submit this as a job"), session():
        raise AssertionError
