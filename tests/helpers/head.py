"""Start a real head with a dashboard on this machine, to which tests submit jobs as users do."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
CHECKOUT = Path(__file__).parents[2]
ATTEMPTS = 3
SECONDS = 240.0  # a busy machine needs most of a minute to start a job's workers
PORTS = (
    "port", "dashboard-port", "dashboard-agent-listen-port", "dashboard-agent-grpc-port",
    "ray-client-server-port", "runtime-env-agent-port", "metrics-export-port",
)  # fmt: skip


def job_commands(text: str) -> list[list[str]]:
    """Return the words of every `ray job submit` that a text shows."""
    lines = text.replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if "ray job submit " in line]


@dataclass(frozen=True)
class Head:
    """A running head. address: for jobs. environment: in which Ray's commands find the head."""

    address: str
    environment: Mapping[str, str]

    def ray(self, *words: str, folder: Path = CHECKOUT) -> subprocess.CompletedProcess[str]:
        """Run Ray's own command line."""
        return subprocess.run(
            [BIN / "ray", *words], cwd=folder, env=dict(self.environment), timeout=SECONDS,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip

    def submit(
        self, words: Sequence[str], name: str, *options: str, folder: Path = CHECKOUT
    ) -> subprocess.CompletedProcess[str]:
        """Run a `ray job submit` command at this head, under a name."""
        assert words[:3] == ["ray", "job", "submit"]
        words = [self.address if word.startswith("http") else word for word in words[3:]]
        return self.ray("job", "submit", "--submission-id", name, *options, *words, folder=folder)

    def stop(self, name: str) -> None:
        """Run `ray job stop`."""
        result = self.ray("job", "stop", "--address", self.address, name)
        assert result.returncode == 0, result.stdout

    def job_info(self, name: str) -> dict[str, Any]:
        """Return the head's record of a job: status, driver_exit_code, ..."""
        return self._get(f"jobs/{name}")

    def log(self, name: str) -> str:
        """Return the output of a job."""
        return self._get(f"jobs/{name}/logs")["logs"]

    def wait_until_ended(self, name: str) -> dict[str, Any]:
        """Wait until the job has ended; return its record."""
        over = {"SUCCEEDED", "FAILED", "STOPPED"}
        wait_until(
            lambda: self.job_info(name)["status"] in over,
            lambda: f"{name} did not end: {self.log(name)}",
        )
        return self.job_info(name)

    def _get(self, path: str) -> Any:
        token = Path(self.environment["RAY_AUTH_TOKEN_PATH"]).read_text()
        request = urllib.request.Request(
            f"{self.address}/api/{path}", headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


def wait_until(
    condition: Callable[[], bool], message: Callable[[], str], seconds: float = SECONDS
) -> None:
    """Wait for a condition; fail with the message after so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, message()
        time.sleep(0.3)


@contextmanager
def running_head() -> Iterator[Head]:
    """Run a head of one CPU, and end it after the block."""
    folder = Path(tempfile.mkdtemp(prefix="rm", dir="/tmp"))  # sockets allow only short names
    (folder / "token").write_text(secrets.token_hex(16))
    environment = {
        **{name: value for name, value in os.environ.items() if name not in ("PYTHONPATH",)},
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    environment.pop("RAY_ADDRESS", None)
    process, head = start_answering_head(folder, environment)
    try:
        yield head
    finally:
        stop_head(process)
        shutil.rmtree(folder, ignore_errors=True)


def start_answering_head(
    folder: Path, environment: dict[str, str]
) -> tuple[subprocess.Popen[bytes], Head]:
    """Start heads until one answers: on a busy machine Ray's processes may not find each other."""
    for _ in range(ATTEMPTS):
        process, head = start_head(folder, environment)
        while process.poll() is None:
            if accepts_jobs(head):
                return process, head
            time.sleep(0.3)
    raise AssertionError((folder / "log").read_text())


# `ray start`, but with the patience that a busy machine needs: Ray gives its processes 30 seconds.
START = """
import time
from ray._private import services
from ray.scripts.scripts import main

look = services.get_node

def wait(*where):
    end = time.monotonic() + 75
    while True:
        try:
            return look(*where)
        except RuntimeError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)

services.get_node = wait
main()
"""


def start_head(folder: Path, environment: dict[str, str]) -> tuple[subprocess.Popen[bytes], Head]:
    """Run `ray start --head` at free ports, in its own process group."""
    free = free_ports(len(PORTS))
    ports = [f"--{name}={port}" for name, port in zip(PORTS, free, strict=True)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                sys.executable, "-c", START, "start", "--head", "--block", "--num-cpus=1",
                "--dashboard-host=127.0.0.1", f"--temp-dir={folder}/ray",
                "--object-store-memory=200000000", *ports,
            ],
            env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    return process, Head(f"http://127.0.0.1:{free[1]}", environment)


def accepts_jobs(head: Head) -> bool:
    """Return whether the head accepts jobs."""
    log = Path(head.environment["RAY_AUTH_TOKEN_PATH"]).parent / "log"
    try:
        head._get("jobs/")
    except OSError:
        return False
    return "Ray runtime started" in log.read_text()


def free_ports(count: int) -> list[int]:
    """Return ports at which no process listens."""
    sockets = [socket.socket() for _ in range(count)]
    for sock in sockets:
        sock.bind(("127.0.0.1", 0))
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


def stop_head(process: subprocess.Popen[bytes]) -> None:
    """End a head and all processes that it has started."""
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
