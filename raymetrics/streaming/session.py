"""Joins the cluster of a job, or starts a local Ray and stops it again."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from raymetrics.errors import ClusterFailure, RaymetricsError
from raymetrics.streaming.failures import forget_frames, meant

# Must be longer than a model takes to load and than a lost node takes to come back.
NO_PROGRESS_SECONDS = 1200


@contextmanager
def session(cpus: int | None = None) -> Iterator[None]:
    """Ray for the time of the block.

    A running session is used and left alone; with RAY_ADDRESS set, as in a job of `ray job submit`,
    that cluster is joined; otherwise a local Ray is started, and stopped at the end; `cpus` are
    those that it believes to have, by default the machine's. Errors of raymetrics that were
    raised in a worker are raised here as what they were. ClusterFailure if Ray does not start,
    or loses what the work needs.
    """
    ours = not ray.is_initialized()
    if ours:
        _start(cpus)
    try:
        yield
    except Exception as error:
        told = meant(error)
        if told is error:
            raise
        forget_frames(error)
        raise told from error
    finally:
        if ours:
            ray.shutdown()


def _start(cpus: int | None) -> None:
    """Without Ray's news: the driver's log is for ours, and Ray keeps its own in files."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    address = os.environ.get("RAY_ADDRESS", "local")
    with _sigterm_kept():
        if address == "local":
            _start_local(cpus)
        else:
            _join(address)


@contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself, and prints a stack of native code when it comes."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def _join(address: str) -> None:
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
        with _silent():
            ray.init(log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError:
        raise ClusterFailure(
            f"no Ray cluster answers at RAY_ADDRESS={address}; start it and run the same command "
            "again, or unset RAY_ADDRESS to work on this machine alone"
        ) from None


def _require_answer(address: str) -> None:
    """ConnectionError if nothing listens there; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        return  # "auto"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except OSError as error:
        raise ConnectionError(str(error)) from error


def _start_local(cpus: int | None) -> None:
    # Ray gives its own processes 30 seconds, which a busy machine may not have at once.
    for attempt in (1, 2):
        try:
            _start_once(cpus)
            return
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
            ray.shutdown()
            if attempt == 2:
                raise ClusterFailure(
                    "Ray's own processes took longer than 30 s to start, twice; see what else "
                    "keeps this machine busy, and run the same command again"
                ) from None


def _start_once(cpus: int | None) -> None:
    # Without a dashboard, and with no news of workers on the terminal.
    with _silent():
        ray.init(
            address="local",
            num_cpus=cpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=_object_store_bytes(),
        )


@contextmanager
def _silent() -> Iterator[None]:
    """Keeps what Ray's native code says of its log level off the terminal."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _object_store_bytes() -> int | None:
    """A quarter of /dev/shm's free space, at most 4 GB; Ray falls back to disk if it is small."""
    try:
        shm = os.statvfs("/dev/shm")
    except OSError:
        return None
    free = shm.f_bavail * shm.f_frsize
    return max(200_000_000, min(4_000_000_000, free // 4))
