"""Joins the cluster of a job, or starts a local Ray and stops it again."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray.exceptions import RayTaskError

from raymetrics.errors import RaymetricsError

# Must be longer than a model takes to load and than a lost node takes to come back.
NO_PROGRESS_SECONDS = 1200


@contextmanager
def session(cpus: int | None = None) -> Iterator[None]:
    """Ray for the time of the block.

    A running session is used and left alone; with RAY_ADDRESS set, as in `ray job submit`,
    that cluster is joined; otherwise a local Ray is started, and stopped at the end; `cpus` are
    those that it believes to have, by default the machine's. Errors of raymetrics that were
    raised in a worker are raised here as what they were.
    """
    ours = not ray.is_initialized()
    if ours:
        _start(cpus)
    try:
        yield
    except RayTaskError as error:
        raise _original(error) from error
    finally:
        if ours:
            ray.shutdown()


def _start(cpus: int | None) -> None:
    if os.environ.get("RAY_ADDRESS"):
        ray.init(logging_level=logging.WARNING)
        return
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    # Ray gives its own processes 30 seconds, which a busy machine may not have at once.
    for attempt in (1, 2):
        try:
            _start_local(cpus)
            return
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
            ray.shutdown()
            if attempt == 2:
                raise RaymetricsError(
                    "Ray's own processes took longer than 30 s to start, twice; see what else "
                    "keeps this machine busy, and give the same command again"
                ) from None


def _start_local(cpus: int | None) -> None:
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


def _original(error: BaseException) -> BaseException:
    """The error of ours below Ray's wrappers, or Ray's if there is none."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, RaymetricsError) and not isinstance(cause, RayTaskError):
            return cause
        cause = cause.cause if isinstance(cause, RayTaskError) else cause.__cause__
    return error
