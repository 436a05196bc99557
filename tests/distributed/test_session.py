"""The start of a local Ray on a machine that is busy."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest
from ray._private import services

from raymetrics.distributed import start_ray
from raymetrics.distributed.start_ray import extend_registration_wait


def test_a_node_is_waited_for_until_it_registers(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [RuntimeError("GCS cannot find the node")] * 3

    def get_node(gcs_address: str, node_id: str) -> dict[str, object]:
        if answers:
            raise answers.pop()
        return {"node_id": node_id}

    monkeypatch.setattr(services, "get_node", get_node)
    monkeypatch.setattr(start_ray, "_raylet_runs", lambda: True)
    said: list[str] = []
    with extend_registration_wait(time.monotonic() + 60, said.append, pause=0.0):
        assert services.get_node("here", "a") == {"node_id": "a"}
    assert services.get_node is get_node
    assert len(said) == 3
    assert said[0].startswith("this machine is busy: waiting for Ray to start, ")


@pytest.mark.parametrize(("runs", "seconds"), [(True, 0.0), (False, 60.0)])
def test_no_node_is_waited_for_that_will_not_come(
    monkeypatch: pytest.MonkeyPatch, runs: bool, seconds: float
) -> None:
    def get_node(gcs_address: str, node_id: str) -> dict[str, object]:
        raise RuntimeError("GCS cannot find the node")

    monkeypatch.setattr(services, "get_node", get_node)
    monkeypatch.setattr(start_ray, "_raylet_runs", lambda: runs)
    with (
        extend_registration_wait(time.monotonic() + seconds, lambda line: None),
        pytest.raises(RuntimeError, match="cannot find the node"),
    ):
        services.get_node("here", "a")


@pytest.mark.slow
def test_a_raylet_that_is_held_up_longer_than_ray_itself_waits() -> None:
    """A process of its own, so that a Ray of the tests is not joined."""
    program = """
        from raymetrics.distributed.session import session
        import ray
        with session(cpus=1):
            print(len(ray.nodes()))
    """
    environment = {**os.environ, "RAY_ADDRESS": "local"}
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    ) as driver:  # fmt: skip
        raylet = started_raylet(driver.pid)
        raylet.send_signal(signal.SIGSTOP)
        time.sleep(40)  # Ray's own patience is 30 s
        raylet.send_signal(signal.SIGCONT)
        out, err = driver.communicate(timeout=300)
    assert (driver.returncode, out) == (0, "1\n"), err
    assert "this machine is busy: waiting for Ray to start" in err


def started_raylet(driver: int) -> psutil.Process:
    """The raylet that this process has just started."""
    for _ in range(6000):
        for child in psutil.Process(driver).children():
            if child.name() == "raylet":
                return child
        time.sleep(0.01)
    raise AssertionError("no raylet was started within a minute")
