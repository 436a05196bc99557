"""Sessions: join the cluster of a job, start and stop a Ray here, or work in this process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# Must be longer than a model takes to load and than a lost node takes to come back.
NO_PROGRESS_SECONDS = 1200

# Whether Ray goes on after the session that started it.
_keep_running: ContextVar[bool] = ContextVar("keep_running", default=False)
# True: everything in this process; False: on Ray; None: not said.
_local: ContextVar[bool | None] = ContextVar("local", default=None)


@contextmanager
def session(cpus: int | None = None, *, local: bool | None = None) -> Iterator[None]:
    """Provide Ray for the time of the block, or run the block's work in this process.

    A running session is used and left alone; with RAY_ADDRESS set, as in a job of `ray job submit`,
    that cluster is joined; otherwise a local Ray is started, and stopped at the end.

    cpus: the CPUs that a Ray which is started here counts on; by default the machine's.
    local: True: start no Ray; see `uses_ray`. All sessions inside of a local one are local too: a
    study opens sessions at many depths, so the choice is a state of the context and not an argument
    of every function between.

    Errors of raymetrics that a worker raised are raised here as they were. Raises ClusterFailure
    if Ray does not start, or loses what the work needs.
    """
    if local or is_local():
        with set_executor(local=True):
            yield
        return
    owns_ray = not ray_is_running()
    from raymetrics.distributed import start_ray  # loads Ray, which takes seconds
    from raymetrics.distributed.ray_errors import clear_tracebacks, translate_ray_error

    if owns_ray:
        start_ray.start(cpus)
    try:
        yield
    except Exception as error:
        translated = translate_ray_error(error)
        if translated is error:
            raise
        clear_tracebacks(error)
        raise translated from error
    finally:
        if owns_ray and not _keep_running.get():
            start_ray.stop()


@contextmanager
def shared_session(*, local: bool | None = None) -> Iterator[None]:
    """Share one Ray among all sessions of the block.

    The first session starts Ray and the end of the block stops it: a block that fails before its
    first session has started no Ray. local: all sessions of the block are local, see `session`.
    """
    if local or is_local():
        with set_executor(local=True):
            yield
        return
    owns_ray = not (ray_is_running() or _keep_running.get())
    token = _keep_running.set(True)
    try:
        yield
    finally:
        _keep_running.reset(token)
        if owns_ray and ray_is_running():
            from raymetrics.distributed import start_ray

            start_ray.stop()


def is_local() -> bool:
    """Return whether a local session is open, see `session`."""
    return _local.get() is True


def is_executor_set() -> bool:
    """Return whether the user said where everything runs, see `set_executor`."""
    return _local.get() is not None


def uses_ray() -> bool:
    """Return whether work goes to Ray: in a session that is not local.

    Otherwise the engine computes in this process, one piece after another, with the same bits; a
    debugger stops in every line of it.
    """
    return ray_is_running() and not is_local()


def ray_is_running() -> bool:
    """Return whether this process has started or joined a Ray. Loads no Ray to find out."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


@contextmanager
def set_executor(*, local: bool | None) -> Iterator[None]:
    """Run all sessions of the block in this process, or on Ray, also those of small work.

    local: True: in this process; False: on Ray; None: as without this block.
    """
    token = _local.set(_local.get() if local is None else local)
    try:
        yield
    finally:
        _local.reset(token)
