"""Translate exceptions of Ray: a worker's RaymetricsError, or the loss of a part of the cluster."""

from __future__ import annotations

import gc
import re
import traceback
from collections.abc import Iterator

from ray import exceptions
from ray.exceptions import RayTaskError

from raymetrics.errors import ClusterFailure, RaymetricsError

# Losses that the request does not cause: the exception, the event, and advice.
_FEWER_ADVICE = "with fewer --actors or a smaller --batch"
_LOST_ERRORS: tuple[tuple[type[Exception], str, str], ...] = (
    (exceptions.OutOfMemoryError, "a machine ran out of memory", _FEWER_ADVICE),
    (exceptions.OutOfDiskError, "a machine's disk is full", "after making room on it"),
    (exceptions.ObjectStoreFullError, "Ray's object store is full", _FEWER_ADVICE),
    (exceptions.NodeDiedError, "a machine was lost", ""),
    (exceptions.LocalRayletDiedError, "Ray ended on this machine", ""),
    (exceptions.RayActorError, "a worker was lost", ""),
    (exceptions.WorkerCrashedError, "a worker was lost", ""),
    (exceptions.ObjectLostError, "what a worker had made was lost with it", ""),
    (exceptions.RuntimeEnvSetupError, "a machine could not set up the job's environment", ""),
)


def translate_ray_error(error: BaseException) -> BaseException:
    """Return the RaymetricsError below Ray's wrappers, or a ClusterFailure if anything was lost.

    Returns the error itself if it is neither.
    """
    chain = list(_walk_causes(error))
    for cause in chain:
        if isinstance(cause, RaymetricsError) and not isinstance(cause, RayTaskError):
            return cause
    for cause in chain:
        if failure := _as_cluster_failure(cause):
            return failure
    return error


def _walk_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and its causes, each once: a translated error may have itself as a cause."""
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.cause if isinstance(cause, RayTaskError) else cause.__cause__


def clear_tracebacks(error: BaseException) -> None:
    """Clear the frames of an error and of all its causes.

    The frames of Ray hold a worker, and its GPU, for as long as anything keeps the error, as a
    notebook does.
    """
    todo: list[object] = [error]
    seen: set[int] = set()
    while todo:
        item = todo.pop()
        if isinstance(item, BaseException) and id(item) not in seen:
            seen.add(id(item))
            traceback.clear_frames(item.__traceback__)
            item.__traceback__ = None
            todo += [item.__cause__, item.__context__, getattr(item, "cause", None)]
    gc.collect()  # they refer to each other too


def _as_cluster_failure(error: BaseException) -> ClusterFailure | None:
    """Return an error that says what was lost, where, and what to do; None for other errors."""
    from ray.data.exceptions import ExecutionTimeoutError  # takes seconds to load

    if isinstance(error, ExecutionTimeoutError):
        return ClusterFailure(
            f"nothing went on ({_first_sentence(error)}); see whether the cluster still has the "
            "machines that the work needs, and run the same command again"
        )
    if isinstance(error, exceptions.RayActorError) and error.actor_init_failed:
        return None  # its constructor raised, as it would again
    for kind, event, advice in _LOST_ERRORS:
        if isinstance(error, kind):
            return ClusterFailure(
                f"{event}{_format_address(str(error))} ({kind.__name__}); what is made stays, "
                f"run the same command again{advice and f', {advice}'}"
            )
    return None


def _format_address(text: str) -> str:
    """ " at 10.0.0.7", if Ray says where."""
    match = re.search(r"\bIP: ([\d.]+\d)", text, flags=re.IGNORECASE)
    return f" at {match[1]}" if match else ""


def _first_sentence(error: BaseException) -> str:
    """Return the first sentence of Ray's long message."""
    return " ".join(str(error).split()).partition(". ")[0].rstrip(".")
