"""Tell which GPUs Ray has reserved for this process; a module that loads no torch."""

from __future__ import annotations

import os
from collections.abc import Sequence

# Set for a process that computes for a worker, on GPUs that Ray reserved for that worker.
SHARED_GPUS = "RAYMETRICS_SHARED_GPUS"


def reserved_gpus() -> Sequence[str]:
    """Return the numbers of the GPUs that are reserved for this process; none for the driver."""
    if SHARED_GPUS in os.environ:
        return [gpu for gpu in os.environ[SHARED_GPUS].split(",") if gpu]
    import ray

    context = ray.get_runtime_context()
    if context.get_task_id() is None:
        return ()  # the driver
    gpus = [str(gpu) for gpu in context.get_accelerator_ids().get("GPU", ())]
    # Ray does not know the number of a GPU that CUDA_VISIBLE_DEVICES hides from its machine.
    return gpus or ["(hidden)"] * bool(context.get_assigned_resources().get("GPU"))
