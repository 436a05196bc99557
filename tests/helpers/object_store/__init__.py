"""Run an object store for tests: OpenStack Swift with S3, with servers that can be broken.

A test file that needs it says

    pytest_plugins = ["tests.helpers.object_store.fixture"]

and its tests take the fixture `swift`, or `bucket`: an empty "s3://bucket" of their own.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.helpers.object_store.servers import KEY, SECRET, STORAGE

SERVERS = ("proxy", *STORAGE)
BIN = Path(__file__).parents[3] / ".venv-swift" / "bin"
SEES_US = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}  # the proxy's filter


class Swift:
    """Four servers below `root`; `stop`, `kill` and `start` take the name of one of them."""

    def __init__(self, root: Path) -> None:
        if not BIN.exists():
            raise FileNotFoundError(f"no Swift at {BIN}; make it: make .venv-swift/installed")
        self.root, self.port = root, free_ports(len(SERVERS))
        self._run("write", str(self.root), str(self.port))
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables with which any S3 client finds the store."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def start(self, *names: str) -> None:
        """Start servers, and wait until they answer."""
        for name in names:
            command = [BIN / f"swift-{name}-server", self.root / f"etc/{name}-server.conf"]
            with self.log(name).open("ab") as log:
                self.running[name] = subprocess.Popen(command, stdout=log, stderr=log, env=SEES_US)
        for name in names:
            self.wait_for(name)

    def wait_for(self, name: str, seconds: float = 120) -> None:
        """Wait until the server listens."""
        address = ("127.0.0.1", self.port + SERVERS.index(name))
        end = time.monotonic() + seconds
        while self.running[name].poll() is None and time.monotonic() < end:
            try:
                socket.create_connection(address, 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"Swift's {name} server did not start: {self.log(name).read_text()}")

    def log(self, name: str) -> Path:
        return self.root / f"{name}.log"

    def signal(self, name: str, number: int) -> None:
        """Send a signal: after SIGSTOP a server accepts connections and answers nothing."""
        self.running[name].send_signal(number)

    def kill(self, name: str) -> None:
        """Kill a server, as a crash does, until `start`."""
        self.running[name].kill()
        self.running.pop(name).wait()

    @contextmanager
    def stopped(self, name: str) -> Iterator[None]:
        """Keep a server from answering during the block."""
        self.signal(name, signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(name, signal.SIGCONT)

    @contextmanager
    def killed(self, name: str) -> Iterator[None]:
        """Kill a server, and start it again after the block."""
        self.kill(name)
        try:
            yield
        finally:
            self.start(name)

    def update_listings(self) -> None:
        """Tell the container server of the objects that were written while it was gone."""
        self._run("update", str(self.root))

    def _run(self, *arguments: str) -> None:
        command = [BIN / "python", Path(__file__).parent / "servers.py", *arguments]
        subprocess.run(command, check=True, env=SEES_US)

    def stop(self) -> None:
        """End all processes of the store, stopped ones too."""
        for process in self.running.values():
            process.kill()
        for process in self.running.values():
            process.wait()


def free_ports(count: int) -> int:
    """Return the first of so many free ports in a row.

    Other processes of tests, and connections, take other ports.
    """
    first = 20000 + os.getpid() * 16 % 10000
    while not all(map(is_free, range(first, first + count))):
        first += 16
    return first


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex(("127.0.0.1", port)) != 0


@contextmanager
def running(root: Path) -> Iterator[Swift]:
    """Run Swift during the block, in an empty directory."""
    swift = Swift(root)
    try:
        swift.start(*SERVERS)
        yield swift
    finally:
        swift.stop()
