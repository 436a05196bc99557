"""`raymetrics snapshots`: the numbers over a training run."""

from __future__ import annotations

from typing import Any

import click

from raymetrics.cli.sweep_options import (
    exit_if_failed,
    log_numbers,
    print_and_write,
    real_option,
    with_sweep_options,
)

_MAX_PAUSE_SECONDS = 10_000_000  # a third of a year


@click.command()
@click.option(
    "--generated",
    required=True,
    multiple=True,
    metavar="SOURCE",
    help="A folder of networks, 'runs/*.pkl', or 'digits?snapshot={50,100}'; may be repeated.",
)
@click.option(
    "--watch",
    type=click.IntRange(1, _MAX_PAUSE_SECONDS),
    metavar="SECONDS",
    help="Look again so often, until it is interrupted.",
)
@click.option(
    "--until", type=click.IntRange(min=1), metavar="N", help="With --watch: so many snapshots."
)
@real_option
@with_sweep_options
def snapshots(to: str, run_code: bool, logger: str | None, **request: Any) -> None:
    """Measure the snapshots of a training run; the best trade-offs of precision and recall.

    With --watch those that appear are measured as they come, once they no longer grow. One that
    fails is named, and tried again when it has changed. What is there is not measured twice.

    \b
    Examples:
      raymetrics snapshots --real shards/real --generated 'digits?snapshot={200,5000}' \\
          --to run
      raymetrics snapshots --real shards/real --generated my_run --to run --watch 60 --until 1
    """
    from raymetrics.studies.snapshots import snapshots as run

    outcome = run(
        to=to,
        run_code=run_code,
        tell=lambda outcome: print_and_write(outcome, to, run_code),
        **request,
    )
    log_numbers(outcome, logger)
    exit_if_failed(outcome)
