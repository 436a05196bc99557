"""The options of verbs that compute: how many workers, on what, or none at all."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from raymetrics.errors import SampleRangeError

_MAX_GPU_GB = 1e6  # more than any GPU's memory

_local_option = click.option(
    "--local/--ray",
    "local",
    default=None,
    help="Compute in this process, or on Ray with workers. [default: in this process if it is "
    "little work]",
)
_RESOURCE_OPTIONS = (
    click.option(
        "--actors", type=int, metavar="N", help="Workers. [default: one per GPU, or per CPU]"
    ),
    click.option(
        "--batch",
        default=64,
        show_default=True,
        help="Images in a worker at a time; rounded up to whole blocks of the networks.",
    ),
    click.option(
        "--split/--fused",
        "split",
        default=None,
        help="Generate and extract in two pools of workers, or in one. [default: one, if both "
        "networks fit into a GPU]",
    ),
    click.option(
        "--generators",
        type=int,
        metavar="N",
        help="Workers of a pool that only generates; --actors are those that extract then.",
    ),
    click.option(
        "--gpus",
        type=int,
        metavar="N",
        help="GPUs to count on, of a cluster that grows to them. [default: those that are there]",
    ),
    click.option(
        "--gpu-memory",
        type=float,
        metavar="GB",
        help="Of each GPU. [default: by its name]",
    ),
)


def with_local_option(verb: Callable[..., None]) -> Callable[..., None]:
    """Return the verb with the option `--local/--ray`, which says where all of the verb runs."""

    @_local_option
    @functools.wraps(verb)
    def wrapper(*args: Any, local: bool | None, **other_options: Any) -> None:
        _run_verb(local, verb, *args, **other_options)

    return wrapper


def _run_verb(local: bool | None, verb: Callable[..., None], *args: Any, **options: Any) -> None:
    if local is None:
        verb(*args, **options)
        return
    from raymetrics.distributed.session import set_executor

    with set_executor(local=local):
        verb(*args, **options)


def with_resource_options(verb: Callable[..., None]) -> Callable[..., None]:
    """Return the verb with these options, which it gets as one: `resources`, a `Resources`."""

    @_local_option
    @functools.wraps(verb)
    def wrapper(
        *args: Any,
        actors: int | None,
        batch: int,
        split: bool | None,
        generators: int | None,
        gpus: int | None,
        gpu_memory: float | None,
        local: bool | None,
        **other_options: Any,
    ) -> None:
        from raymetrics.distributed.resources import Resources

        if gpu_memory is not None and not 0 < gpu_memory < _MAX_GPU_GB:
            raise SampleRangeError(f"--gpu-memory is {gpu_memory:g}; write gigabytes, e.g. 80")
        resources = Resources(
            actors=actors,
            batch=batch,
            fused=None if split is None else not split,
            generators=generators,
            gpus=gpus,
            gpu_memory=None if gpu_memory is None else int(gpu_memory * 1e9),
            local=local,
        )
        _run_verb(local, verb, *args, resources=resources, **other_options)

    for option in reversed(_RESOURCE_OPTIONS):
        wrapper = option(wrapper)
    return wrapper
