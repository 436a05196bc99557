"""What `raymetrics sweep`, `truncate` and `snapshots` share: options, output, exit codes."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from raymetrics.cli.console import print_status, progress_printer, stop_progress_bars
from raymetrics.cli.evaluate import parse_ks
from raymetrics.cli.options_and_errors import (
    EXIT_BAD_REQUEST,
    any_size_option,
    exit_with_code,
    parse_extractors,
    run_code_option,
    split_commas,
    split_commas_nonempty,
)
from raymetrics.cli.resource_options import with_resource_options
from raymetrics.cli.terminal import print_lines, print_table

if TYPE_CHECKING:
    from raymetrics.studies.sweep import SweepOutcome

_EXIT_SOME_FAILED = 3  # exit code: all is done that can be done

_SWEEP_OPTIONS = (
    click.option("--to", required=True, metavar="DIR", help="Where the numbers and the page go."),
    click.option("--shards", metavar="URI", help="Where the shards go. [default: DIR/shards]"),
    click.option(
        "--extractor",
        "extractors",
        multiple=True,
        callback=parse_extractors,
        metavar="NAME[,NAME]",
        help="Feature networks. [default: those of the real set]",
    ),
    click.option(
        "--samples",
        metavar="FIRST-LAST|N",
        help="Sample ids of every set; or N: whole sets by N random samples of each side, and each "
        "label by all. [default: as many as real ones]",
    ),
    click.option(
        "--metrics",
        callback=split_commas,
        metavar="NAMES",
        help="Of evaluate's, also pr:vgg16. [default: fid,pr,dc,prd]",
    ),
    click.option(
        "--column",
        "columns",
        callback=split_commas_nonempty,
        metavar="NAME[,NAME]",
        help="Of which columns; those of logits too.",
    ),
    click.option(
        "--log",
        "logger",
        metavar="LOGGER",
        help="Log the numbers: wandb:PROJECT/RUN, tensorboard:DIR or mlflow:EXPERIMENT/RUN.",
    ),
    click.option("--by", type=click.Choice(["label"]), help="Also the numbers of each label."),
    click.option(
        "--equal-counts",
        is_flag=True,
        help="Cut the larger side, with --by label of each label, to the smaller count, at random.",
    ),
    click.option(
        "--random-ids",
        type=click.IntRange(0, 2**32 - 1),
        default=0,
        show_default=True,
        metavar="SEED",
        help="Of samples that are chosen at random.",
    ),
    click.option("--k", "ks", metavar="K[,K]", help="Neighbours. [default: 3]"),
    click.option("--kid-subset-size", type=int, help="Samples in a subset. [default: 1000]"),
    click.option("--shard-rows", default=2048, show_default=True, help="Samples in a file."),
    run_code_option,
    any_size_option,
)


real_option = click.option(
    "--real", required=True, metavar="URI", help="Shards of the real samples."
)


def with_sweep_options(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the options that all sweeps have, as arguments of `sweep`, and exit codes."""

    @functools.wraps(verb)
    def wrapper(*args: Any, ks: str | None, kid_subset_size: int | None, **options: Any) -> None:
        from raymetrics.metrics import get_convention

        if options["logger"] is not None:
            from raymetrics.result_loggers import require_logger

            require_logger(options["logger"])
        verb(
            *args,
            convention=get_convention(
                "raymetrics", k=parse_ks(ks), kid_subset_size=kid_subset_size
            ),
            progress=progress_printer(),
            on_row=lambda name: print_status(f"measures {name}"),
            **options,
        )

    command = exit_with_code(with_resource_options(wrapper))
    for option in reversed(_SWEEP_OPTIONS):
        command = option(command)
    return command


def print_and_write(outcome: SweepOutcome, to: str, run_code: bool) -> None:
    """Print the numbers side by side and the failures, and write both to `to`.

    Make a page too where `to` is a folder. Without any number, what an earlier sweep wrote stays.
    """
    from raymetrics.reports.comparison_page import report
    from raymetrics.reports.sweep_section import tradeoffs_table
    from raymetrics.reports.terminal import warning_lines
    from raymetrics.results import FAILURES_FILE, RESULTS_FILE
    from raymetrics.shards.store import Store

    stop_progress_bars()
    if outcome.results:
        print_table(tradeoffs_table(outcome.results))
        print_lines(*warning_lines(outcome.results))
    for failure in outcome.failures:
        print_lines(f"failed: {failure.name}: {failure.message}", err=True)
    if not outcome.results:
        return
    store = Store(to)
    for name, lines in ((RESULTS_FILE, outcome.results), (FAILURES_FILE, outcome.failures)):
        store.replace(name, "".join(f"{line.to_json()}\n" for line in lines).encode())
    print_lines("", f"results {to}/{RESULTS_FILE}")
    if outcome.failures:
        print_lines(f"failed  {to}/{FAILURES_FILE}")
    if store.local:
        file = Path(store.root) / RESULTS_FILE
        page = report(file, to=store.root, run_code=run_code, written=outcome.written)
        print_lines(f"page    {page}")


def log_numbers(outcome: SweepOutcome, logger: str | None) -> None:
    """Log the numbers of all rows, if a logger is named."""
    if logger is not None and outcome.results:
        from raymetrics.result_loggers import log_results

        log_results(outcome.results, logger)


def exit_if_failed(outcome: SweepOutcome) -> None:
    """End with an exit code if a row failed."""
    if outcome.failures:
        sys.exit(_EXIT_SOME_FAILED if outcome.results else EXIT_BAD_REQUEST)
