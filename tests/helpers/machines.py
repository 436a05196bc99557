"""Start a cluster of several nodes on this machine and a driver, for tests that break both.

Each lives in a child process of its own: pytest's own process may be using another Ray, and a
node can only be added from the main thread of the process that has the others.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

# Node losses are noticed after seconds instead of half a minute.
SHORT_HEALTH_CHECKS = {
    "RAY_health_check_initial_delay_ms": "500",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "4",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAYMETRICS_DEVICE": "cpu",  # GPUs of these nodes are numbers
}
# A deadlock ends a test; long enough for a node that is added to import torch.
NO_PROGRESS_SECONDS = 150
# An actor that Ray Data keeps as long as a driver is connected; its others begin with "_".
RAY_INTERNAL_ACTOR = "ActorLocationTracker"

_nodes: dict[str, Any] = {}  # of the process that holds the cluster
_cluster: Any = None


class Machines:
    """A head without CPUs, and the nodes that are added to it.

    environment: of all nodes, beside that of this process.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self.temp_dir = tempfile.mkdtemp(prefix="rc", dir="/tmp")  # sockets need short paths
        variables = SHORT_HEALTH_CHECKS | {"PYTHONPATH": python_path()} | dict(environment or {})
        self._process = start_child(_set_variables, variables)
        self.address: str = self._call(_start, self.temp_dir)

    def add(self, name: str, environment: Mapping[str, str] | None = None, **node: Any) -> None:
        """Add a node, with the options of `ray.cluster_utils.Cluster.add_node` (default: 1 CPU)."""
        self._call(_add, name, dict(environment or {}), node)

    def remove(self, name: str) -> None:
        """Kill all processes of a node at once."""
        self._call(_remove, name)

    def node_id(self, name: str) -> str:
        """Return the id of a node, the one that `get_node_id()` gives the node's workers."""
        return self._call(_node_id, name)

    def stop(self) -> None:
        """Kill all processes of this cluster, and no other Ray's."""
        try:
            self._call(_stop)
        finally:
            self._process.shutdown()
            shutil.rmtree(self.temp_dir, ignore_errors=True)

    def _call(self, function: Any, *arguments: Any) -> Any:
        return self._process.submit(function, *arguments).result(timeout=200)


class Driver:
    """A process that is connected to a cluster and calls functions of the tests."""

    def __init__(self, address: str) -> None:
        self._process = start_child(_connect, address)
        self.pid: int = self._process.submit(os.getpid).result(timeout=200)

    def begin(self, function: Any, *arguments: Any, **named: Any) -> Future[Any]:
        """Call a function that can be pickled, while the test goes on."""
        return self._process.submit(function, *arguments, **named)

    def actors_left(self, patience: float = 20.0) -> list[str]:
        """Return the classes of actors that are still alive after so many seconds."""
        return self._process.submit(_actors_left, patience).result(timeout=patience + 60)

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)

    def stop(self) -> None:
        """Disconnect from the cluster."""
        self._process.shutdown()


def start_child(begin: Any, *arguments: Any) -> ProcessPoolExecutor:
    """Start a new process that runs calls one after another in its main thread."""
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, spawn, initializer=_begin, initargs=(begin, *arguments))


def _begin(begin: Any, *arguments: Any) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    begin(*arguments)


def _end_with_parent() -> None:
    """End this process when its parent ends, so that a killed test run leaves no cluster behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def python_path() -> str:
    """Return the PYTHONPATH with which workers find the generators of this folder."""
    return os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])


def _set_variables(variables: dict[str, str]) -> None:
    os.environ.update(variables)


def _start(temp_dir: str) -> str:
    from ray.cluster_utils import Cluster

    global _cluster
    head = {
        "num_cpus": 0,
        "object_store_memory": 150_000_000,
        "include_dashboard": False,
        "temp_dir": temp_dir,
    }
    _cluster = _start_patiently(lambda: Cluster(initialize_head=True, head_node_args=head))
    return str(_cluster.address)


def _start_patiently(start: Callable[[], Any]) -> Any:
    from raymetrics.distributed.start_ray import extend_registration_wait

    with extend_registration_wait(time.monotonic() + 300, lambda line: None):
        return start()


def _add(name: str, environment: dict[str, str], node: dict[str, Any]) -> None:
    previous = {key: os.environ.get(key) for key in environment}
    os.environ.update(environment)
    try:
        _nodes[name] = _start_patiently(lambda: _cluster.add_node(**{"num_cpus": 1, **node}))
    finally:
        for key, value in previous.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


def _remove(name: str) -> None:
    node = _nodes.pop(name)
    with _kill_descendants(node.all_processes["raylet"][0].process.pid):
        _cluster.remove_node(node, allow_graceful=False)


@contextmanager
def _kill_descendants(pid: int) -> Iterator[None]:
    """Kill the processes below `pid` that the block has not ended, as the end of a machine would.

    A worker whose node is gone does not always end.
    """
    workers = psutil.Process(pid).children(recursive=True)
    yield
    for worker in workers:
        with suppress(psutil.NoSuchProcess):
            worker.kill()


def _node_id(name: str) -> str:
    return str(_nodes[name].node_id)


def _stop() -> None:
    with _kill_descendants(os.getpid()):
        _cluster.shutdown()


def _connect(address: str) -> None:
    import ray

    from raymetrics.distributed.extraction import pipeline

    ray.init(address, log_to_driver=False, logging_level="ERROR")
    assert pipeline.NO_PROGRESS_SECONDS > NO_PROGRESS_SECONDS
    pipeline.NO_PROGRESS_SECONDS = NO_PROGRESS_SECONDS


def _actors_left(patience: float) -> list[str]:
    from ray._private.state import actors

    end = time.monotonic() + patience
    while True:
        alive = {a["ActorClassName"] for a in actors().values() if a["State"] != "DEAD"}
        left = sorted(name for name in alive if name != RAY_INTERNAL_ACTOR and name[0] != "_")
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.2)
