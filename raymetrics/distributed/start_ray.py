"""Start a Ray on this machine, however busy it is, or join the cluster that RAY_ADDRESS names."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import ray
from ray._private import services

from raymetrics.errors import ClusterFailure, RaymetricsError

_START_SECONDS = 600  # for Ray's own processes
_NEWS_SECONDS = 20


def start(cpus: int | None) -> None:
    """Start or join Ray, whose messages stay in its own log files."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    address = os.environ.get("RAY_ADDRESS", "local")
    with _preserve_sigterm():
        if address == "local":
            _start_local(cpus)
        else:
            _join_cluster(address)


def stop() -> None:
    """Stop the Ray that was started, or leave the cluster that was joined."""
    ray.shutdown()


@contextmanager
def _preserve_sigterm() -> Iterator[None]:
    """Restore the handler of SIGTERM after the block.

    Ray installs its own, which prints a stack of native code.
    """
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def _join_cluster(address: str) -> None:
    if address.startswith("http"):
        raise RaymetricsError(
            f"RAY_ADDRESS is {address}, where jobs are submitted, and not a cluster's own address; "
            "submit this as a job, or unset RAY_ADDRESS and name it RAY_API_SERVER_ADDRESS"
        )
    if address.startswith("ray://"):
        raise RaymetricsError(
            f"RAY_ADDRESS is {address}, for Ray's client, by which images and features would come "
            "here; submit this as a job: ray job submit --address http://..."
        )
    try:
        _require_answer(address)
        with _silence_stderr():
            ray.init(log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError:
        raise ClusterFailure(
            f"no Ray cluster answers at RAY_ADDRESS={address}; start it and run the same command "
            "again, or unset RAY_ADDRESS to work on this machine alone"
        ) from None


def _require_answer(address: str) -> None:
    """Raise ConnectionError if nothing listens there; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        return  # "auto"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except OSError as error:
        raise ConnectionError(str(error)) from error


def _start_local(cpus: int | None) -> None:
    """Start Ray here, again if Ray's own processes were too slow. A busy machine may need minutes.

    Raises ClusterFailure after `_START_SECONDS`.
    """
    deadline = time.monotonic() + _START_SECONDS
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", str(_START_SECONDS))
    os.environ.setdefault("RAY_worker_register_timeout_seconds", str(_START_SECONDS))
    while True:
        try:
            _start_once(cpus, deadline)
            return
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
            ray.shutdown()
            if time.monotonic() >= deadline:
                raise ClusterFailure(
                    f"Ray's own processes have not started within {_START_SECONDS} s; see what "
                    "else keeps this machine busy, and run the same command again"
                ) from None


def _start_once(cpus: int | None, deadline: float) -> None:
    # Without a dashboard, and without messages of workers on the terminal.
    with _silence_stderr() as print_line, extend_registration_wait(deadline, print_line):
        ray.init(
            address="local",
            num_cpus=cpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=_object_store_bytes(),
        )


@contextmanager
def extend_registration_wait(
    deadline: float, print_line: Callable[[str], None], pause: float = _NEWS_SECONDS
) -> Iterator[None]:
    """Let a Ray node that starts in this block register until the deadline, if its raylet runs.

    deadline: a time of `time.monotonic`. pause: seconds between two lines of `print_line` that say
    how long this may take. Ray itself gives up after 30 s, which no setting changes
    (ray-project/ray#47087). It asks for the node by one function, which waits here; the
    RuntimeError of that function says that the node has not registered yet.
    """
    get_node = services.get_node

    def wait_for_node(gcs_address: str, node_id: str) -> dict[str, object]:
        next_news = time.monotonic() + pause
        while True:
            try:
                return get_node(gcs_address, node_id)
            except RuntimeError:
                if time.monotonic() >= deadline or not _raylet_runs():
                    raise
            if time.monotonic() >= next_news:
                next_news += pause
                left = max(0.0, deadline - time.monotonic())
                print_line(
                    f"this machine is busy: waiting for Ray to start, {left:.0f} s more at most"
                )
            time.sleep(0.1)

    services.get_node = wait_for_node
    try:
        yield
    finally:
        services.get_node = get_node


def _raylet_runs() -> bool:
    """Return whether a raylet that this process has started is alive."""
    try:
        children = psutil.Process().children()
        return any(c.name() == "raylet" and c.status() != psutil.STATUS_ZOMBIE for c in children)
    except psutil.NoSuchProcess:
        return True  # a child has just ended; the next look says which


@contextmanager
def _silence_stderr() -> Iterator[Callable[[str], None]]:
    """Keep the messages of Ray's native code off the terminal.

    Yields a function that prints a line there all the same.
    """
    sys.stderr.flush()
    saved_stderr, null_device = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null_device, 2)
    try:
        yield lambda line: _write_line(saved_stderr, line)
    finally:
        os.dup2(saved_stderr, 2)
        os.close(saved_stderr)
        os.close(null_device)


def _write_line(descriptor: int, line: str) -> None:
    os.write(descriptor, f"{line}\n".encode())


def _object_store_bytes() -> int | None:
    """Return a quarter of the free space of /dev/shm, at most 4 GB; None without /dev/shm.

    Ray falls back to the disk if the store is small.
    """
    try:
        shm = os.statvfs("/dev/shm")
    except OSError:
        return None
    free = shm.f_bavail * shm.f_frsize
    return max(200_000_000, min(4_000_000_000, free // 4))
