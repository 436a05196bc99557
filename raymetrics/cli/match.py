"""`raymetrics match`: generated samples whose classes are as often as those of real ones."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from raymetrics.cli.console import QUIET_SECONDS, format_duration
from raymetrics.cli.options_and_errors import (
    any_size_option,
    exit_with_code,
    parse_extractors,
    parse_seed_option,
    print_resampling_results,
    require_writable_results,
    run_code_option,
)
from raymetrics.cli.resource_options import with_resource_options
from raymetrics.cli.terminal import print_lines

if TYPE_CHECKING:
    from raymetrics.studies.match.result import MatchProgress, MatchResult


def _refuse_keep(
    context: click.Context, parameter: click.Parameter, word: str | None
) -> str | None:
    """Raise BadParameter, with what replaces it, for the option that was `--keep accepted`."""
    if word is not None:
        raise click.BadParameter(
            "match keeps all samples; copy the accepted ones afterwards: raymetrics export "
            "'SHARDS?ids=DIR/accepted.parquet' --to NEW --as shards"
        )
    return None


@click.command()
@click.option("--real", required=True, metavar="URI", help="Shards of the real samples.")
@click.option(
    "--generated",
    required=True,
    metavar="SOURCE",
    help="A source, or shards of one, which are read first and then extended.",
)
@click.option("--to", required=True, metavar="DIR", help="Where accepted.parquet goes, or s3://...")
@click.option("--shards", metavar="URI", help="Where a source's shards go. [default: DIR/shards]")
@click.option(
    "--extractor",
    "extractors",
    multiple=True,
    callback=parse_extractors,
    metavar="NAME[,NAME]",
    help="Feature networks. [default: those of the shards]",
)
@click.option(
    "--classes",
    metavar="COLUMN",
    help="The logits that give the classes. [default: inception's, or the only ones]",
)
@click.option("--n", default=50_000, show_default=True, help="Samples to find.")
@click.option(
    "--max-draws", type=int, metavar="M", help="Samples to look at, at most. [default: no end]"
)
@click.option(
    "--on-unfilled",
    type=click.Choice(["stop", "fail"]),
    default="stop",
    show_default=True,
    help="With bins that are not full then: write a part that says so, or nothing.",
)
@click.option("--keep", hidden=True, expose_value=False, callback=_refuse_keep)
@click.option(
    "--first",
    type=int,
    metavar="ID",
    help="Where the draw begins. [default: the set's first, or 0]",
)
@click.option(
    "--seeds",
    default="5",
    show_default=True,
    callback=parse_seed_option,
    metavar="N|LIST",
    help="Sets whose mean is reported: how many, or their seeds, e.g. 0,5,7.",
)
@click.option("--results", metavar="FILE", help="Add the results to it. [default: in DIR]")
@click.option("--shard-rows", default=2048, show_default=True, help="Samples in a file.")
@run_code_option
@any_size_option
@exit_with_code
@with_resource_options
def match(generated: str, to: str, results: str | None, run_code: bool, **request: Any) -> None:
    """Draw generated samples until their Top-1 classes are as often as in the real set.

    \b
    accepted.parquet  sample_id, class, draw; a selection for other verbs:
                      'SHARDS?ids=DIR/accepted.parquet'
    results.jsonl     the numbers; and a page of them, index.html

    Matched sets stand beside random ones of as many of the samples that were drawn, in every
    feature space that both sides have: mean and standard deviation over seeds. The set of seed 0
    are the accepted ones; the others take as many of every class at random.

    Samples are accepted in the order of their ids as long as their class has room, so the same
    ones for any number of workers. Run the same command again after anything that stopped it:
    no shard is made twice.

    \b
    Examples:
      raymetrics match --real shards/real --generated shards/generated --to matched
      raymetrics match --real shards/real --generated my_generator:generate --to matched \\
          --n 2000 --max-draws 100000
    """
    from raymetrics.generators import permission_for
    from raymetrics.studies.match.study import match as run

    require_writable_results(to, results)
    matched = run(
        generated=generated,
        to=to,
        run_code=run_code,
        progress=_match_progress_printer(),
        tell=lambda result: _print_accepted(result, request["n"]),
        **request,
    )
    if matched.numbers:
        written = permission_for(run_code, generated).written
        print_resampling_results(matched.numbers, to, results, run_code=run_code, written=written)


def _print_accepted(result: MatchResult, n: int) -> None:
    """Print how many samples were accepted, of how many, and which classes have too few."""
    from raymetrics.attacks.top1_rejection import describe_unfilled

    if not result.complete:
        print_lines(
            f"only a part: {len(result.matcher.unfilled_classes)} bins are not full: "
            f"{describe_unfilled(result.matcher, result.class_names)}"
        )
    print_lines(
        f"{result.path}: {len(result.sample_ids)} of {n} accepted in {result.draws} draws; "
        f"{result.shards_made} shards made in {result.seconds:.0f} s, {result.shards.uri} holds "
        f"{len(result.shards)} samples",
        "",
    )


def _match_progress_printer() -> Callable[[MatchProgress], None]:
    """Return a printer of lines: after the first shard, and then at times; seldom into a log."""
    last_time, pause = 0.0, 2 if sys.stderr.isatty() else QUIET_SECONDS

    def print_progress(progress: MatchProgress) -> None:
        nonlocal last_time
        if time.monotonic() - last_time >= pause or not progress.rarest:
            last_time = time.monotonic()
            print_lines(format_match_progress(progress), err=True)

    return print_progress


def format_match_progress(progress: MatchProgress) -> str:
    """Describe in one line how far a match is."""
    text = (
        f"{progress.full}/{progress.bins} bins full, {progress.accepted}/{progress.n} accepted in "
        f"{progress.draws} draws"
    )
    if progress.rate:
        text += f", {progress.rate:.1f} rows/s"
        if math.isfinite(progress.draws_to_go):
            text += f", {format_duration(progress.draws_to_go / progress.rate)} to go"
    rarest = "; ".join(
        f"{b.name or b.number} {b.filled}/{b.target} needs "
        + (f"~{b.draws:.0f} draws" if math.isfinite(b.draws) else "more than were drawn")
        for b in progress.rarest
    )
    return f"{text}; rarest: {rarest}" if rarest else text
