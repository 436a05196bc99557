"""`raymetrics truncate` and `snapshots`: many generated sets against one real set; and what
`sweep` has in common with them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
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
    from raymetrics.distributed.resources import Resources
    from raymetrics.studies.sweep import SweepOutcome

_DEFAULT_PSI = "0,0.2,0.4,0.6,0.8,1"
_MAX_PAUSE_SECONDS = 10_000_000  # seconds, a third of a year
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
        metavar="FIRST-LAST",
        help="Sample ids of every set. [default: as many as real ones]",
    ),
    click.option(
        "--metrics",
        callback=split_commas,
        metavar="NAMES",
        help="Of evaluate's. [default: fid,pr,dc,prd]",
    ),
    click.option(
        "--column",
        "columns",
        callback=split_commas_nonempty,
        metavar="NAME[,NAME]",
        help="Of which columns; those of logits too.",
    ),
    click.option("--by", type=click.Choice(["label"]), help="Also the numbers of each label."),
    click.option("--k", "ks", metavar="K[,K]", help="Neighbours. [default: 3]"),
    click.option("--kid-subset-size", type=int, help="Samples in a subset. [default: 1000]"),
    click.option("--shard-rows", default=2048, show_default=True, help="Samples in a file."),
    run_code_option,
    any_size_option,
)


_REAL_OPTION = click.option(
    "--real", required=True, metavar="URI", help="Shards of the real samples."
)


def with_sweep_options(verb: Callable[..., None]) -> Callable[..., None]:
    """A verb with the options that all have, reported as verbs are."""
    verb = exit_with_code(with_resource_options(verb))
    for option in reversed(_SWEEP_OPTIONS):
        verb = option(verb)
    return verb


def run_sweep(
    plan: str | Sequence[str], *, to: str, shards: str | None, extractors: list[str],
    samples: str | None, metrics: list[str] | None, columns: list[str] | None, by: str | None,
    ks: str | None, kid_subset_size: int | None, shard_rows: int, any_size: bool,
    resources: Resources, **rest: Any,
) -> SweepOutcome:  # fmt: skip
    """What a sweep gives, by the options that all verbs have; rest: those of `sweep` itself."""
    from raymetrics.metrics import get_convention
    from raymetrics.studies.sweep import sweep

    return sweep(
        plan, **rest, to=to, shards=shards, extractors=extractors, samples=samples,
        metrics=metrics, columns=columns, by=by,
        convention=get_convention("raymetrics", k=parse_ks(ks), kid_subset_size=kid_subset_size),
        shard_rows=shard_rows, any_size=any_size, resources=resources,
        progress=progress_printer(), told=lambda name: print_status(f"measures {name}"),
    )  # fmt: skip


def print_and_write(outcome: SweepOutcome, to: str, run_code: bool) -> None:
    """Prints the numbers side by side, and what failed. Writes both to `to`, with a page where it
    is a folder; where there are no numbers at all, what an earlier sweep wrote stays."""
    from raymetrics.reports import report, tradeoffs_table
    from raymetrics.results import FAILURES_FILE, RESULTS_FILE
    from raymetrics.shards.store import Store

    stop_progress_bars()
    if outcome.results:
        print_table(tradeoffs_table(outcome.results))
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


def exit_if_failed(outcome: SweepOutcome) -> None:
    """Ends with the exit code of what failed; none failed: goes on."""
    if outcome.failures:
        sys.exit(_EXIT_SOME_FAILED if outcome.results else EXIT_BAD_REQUEST)


def _parse_floats(
    context: click.Context, parameter: click.Parameter, text: str
) -> list[float]:  # fmt: skip
    """ "0,0.5,1" -> [0.0, 0.5, 1.0]."""
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise click.BadParameter(
            f"{text!r}; write numbers from 0 to 1, e.g. {_DEFAULT_PSI}"
        ) from None


@click.command()
@click.option(
    "--generated", required=True, metavar="SOURCE", help="A generator with latents, untruncated."
)
@click.option(
    "--strategies", callback=split_commas, default="interpolate-w", show_default=True, metavar="NAMES",
    help="By name or letter; or all.",
)  # fmt: skip
@click.option(
    "--psi", callback=_parse_floats, default=_DEFAULT_PSI, show_default=True, metavar="NUMBERS",
    help="How far: 1 is not at all, 0 leaves one image (of a class).",
)  # fmt: skip
@_REAL_OPTION
@with_sweep_options
def truncate(generated: str, strategies: list[str], psi: list[float], **rest: Any) -> None:
    """Measure what truncation does: precision, recall and distances over its strength.

    \b
    A reject-distance  draws w anew while it is too far from the mean
    B reject-density   draws w anew while it is too improbable as a Gaussian
    C clamp            moves an improbable w to the closest point of an ellipsoid
    D interpolate-w    moves every w towards the mean; NVIDIA's psi
    E interpolate-z    moves every z towards 0
    F truncate-z       draws the coordinates of z that are too large anew
    G replace          puts the mean in the place of some samples

    Each is also an option of a source for all other verbs: 'SOURCE?truncate=clamp:0.7'. Run the
    same command again after anything that stopped it, or with more strategies: what is there is
    not made twice.

    \b
    Examples:
      raymetrics truncate --real shards/real --generated digits --to truncation
      raymetrics truncate --real shards/real --generated digits --to truncation \\
          --strategies all --psi 0.2,0.5,0.8,1 --by label
    """
    from raymetrics.studies.sweep import available_strategies, truncated_sources

    if strategies == ["all"]:
        strategies, unavailable = available_strategies(generated)
        for name, reason in unavailable.items():
            print_lines(f"without {name}: {reason}", err=True)
    outcome = run_sweep(truncated_sources(generated, strategies, psi), **rest)
    print_and_write(outcome, rest["to"], rest["run_code"])
    exit_if_failed(outcome)


@click.command()
@click.option(
    "--generated", required=True, multiple=True, metavar="SOURCE",
    help="A folder of networks, 'runs/*.pkl', or 'digits?snapshot={50,100}'; may be repeated.",
)  # fmt: skip
@click.option(
    "--watch", type=click.IntRange(1, _MAX_PAUSE_SECONDS), metavar="SECONDS",
    help="Look again so often, until it is interrupted.",
)  # fmt: skip
@click.option(
    "--until", type=click.IntRange(min=1), metavar="N", help="With --watch: so many snapshots."
)
@_REAL_OPTION
@with_sweep_options
def snapshots(
    generated: tuple[str, ...], watch: int | None, until: int | None, **rest: Any
) -> None:
    """Measure the snapshots of a training run; the best trade-offs of precision and recall.

    With --watch those that appear are measured as they come, once they no longer grow. One that
    fails is named, and tried again when it has changed. What is there is not measured twice.

    \b
    Examples:
      raymetrics snapshots --real shards/real --generated 'digits?snapshot={200,5000}' \\
          --to run
      raymetrics snapshots --real shards/real --generated my_run --to run --watch 60 --until 1
    """
    from raymetrics.generators.snapshot_files import SnapshotWatch
    from raymetrics.studies.sweep import SweepOutcome

    watcher, outcome = SnapshotWatch(generated), SweepOutcome()
    while True:
        new_sources = watcher.poll(settled=watch is not None)
        if new_sources:
            outcome = outcome.merge(run_sweep(new_sources, **rest))
            print_and_write(outcome, rest["to"], rest["run_code"])
        if watch is None or (until and len(outcome.results_by_row) >= until):
            exit_if_failed(outcome)
            return
        time.sleep(watch)
