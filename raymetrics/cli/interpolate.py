"""`raymetrics interpolate`: whether interpolations between realistic samples stay realistic."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from raymetrics.cli.console import print_status, progress_printer
from raymetrics.cli.options_and_errors import (
    any_size_option,
    exit_with_code,
    require_writable_results,
    run_code_option,
)
from raymetrics.cli.realism import keep_realism_results, print_realism_results
from raymetrics.cli.resource_options import with_resource_options

if TYPE_CHECKING:
    from raymetrics.distributed.extraction.progress import Progress


@click.command()
@click.option("--real", required=True, metavar="URI", help="Shards of the real samples.")
@click.option(
    "--generated",
    required=True,
    metavar="SOURCE",
    help="Shards of a latent generator, whose samples are the ends; or the source itself.",
)
@click.option("--to", required=True, metavar="DIR", help="Where ends and shards go, or s3://...")
@click.option("--paths", default=1000, show_default=True, help="How many.")
@click.option("--steps", default=9, show_default=True, help="Images between the ends of each.")
@click.option(
    "--column",
    metavar="NAME",
    help="In which feature space. [default: the only one that both sets have]",
)
@click.option("--k", default=3, show_default=True, help="Neighbours that a ball reaches.")
@click.option(
    "--max-candidates",
    "--candidates",
    "max_candidates",
    type=int,
    metavar="N",
    help="Samples among which ends are looked for, at most. [default: those of the shards, or 100 "
    "of a source for each path]",
)
@click.option(
    "--on-unfilled",
    type=click.Choice(["stop", "fail"]),
    default="stop",
    show_default=True,
    help="With too few ends then: make fewer paths, or none.",
)
@click.option(
    "--ends",
    default=1.0,
    show_default=True,
    metavar="R",
    help="The least R of an end; 0 takes any sample.",
)
@click.option(
    "--below",
    default=0.9,
    show_default=True,
    metavar="R",
    help="Images between with a smaller R are off the manifold.",
)
@click.option(
    "--more-than",
    default=0.25,
    show_default=True,
    metavar="SHARE",
    help="A path with a larger share of these strays.",
)
@click.option("--results", metavar="FILE", help="Add the results to it. [default: in DIR]")
@click.option("--shard-rows", default=2048, show_default=True, help="Samples in a file.")
@run_code_option
@any_size_option
@exit_with_code
@with_resource_options
def interpolate(
    generated: str,
    to: str,
    steps: int,
    ends: float,
    below: float,
    more_than: float,
    results: str | None,
    run_code: bool,
    **request: Any,
) -> None:
    """Interpolate between realistic samples, and count the paths that leave the real manifold.

    The ends are samples with R >= 1, in pairs by their ids, whatever their classes. A source is
    drawn on until there are enough. The images between the ends are linear in W. A path strays if
    more than 25 % of them have R < 0.9. Where the samples have labels, the share among the paths
    within one class stands beside it.

    \b
    candidates       features of the samples of a source among which ends were looked for
    ends.parquet     start, end: the samples that are the ends of every path
    shards           features of the images between; image PATH * STEPS + STEP
    realism.parquet  sample_id, and R in realism_COLUMN
    results.jsonl    the share of straying paths, with its 95 % interval
    index.html       the best and the worst paths, and some between

    Run the same command again after anything that stopped it: no shard is made twice.

    \b
    Examples:
      raymetrics interpolate --real shards/real --generated shards/generated --to paths \\
          --paths 100 --column digits_pre_logits
      raymetrics interpolate --real shards/real --generated digits --to paths-of-digits --paths 50
    """
    from raymetrics.generators import permission_for
    from raymetrics.studies.interpolate import StrayRule
    from raymetrics.studies.interpolate import interpolate as run

    require_writable_results(to, results)
    interpolation = run(
        generated=generated,
        to=to,
        rule=StrayRule(steps=steps, ends=ends, below=below, more_than=more_than),
        run_code=run_code,
        progress=_stream_printer(),
        on_message=print_status,
        tell=print_realism_results,
        **request,
    )
    written = permission_for(run_code, generated).written
    keep_realism_results(interpolation.results, to, results, run_code=run_code, written=written)


def _stream_printer() -> Callable[[Progress], None]:
    """Return a printer of the progress of several streams, one after another."""
    print_progress: Callable[[Progress], None] | None = None

    def print_stream(progress: Progress) -> None:
        nonlocal print_progress
        print_progress = print_progress or progress_printer()
        print_progress(progress)
        if progress.rows == progress.rows_to_make:
            print_progress = None

    return print_stream


@click.command(params=interpolate.params, help=interpolate.help, hidden=True)
def paths(**options: Any) -> None:
    """Run `interpolate` by its former name."""
    print_status("`raymetrics paths` is called `raymetrics interpolate` now")
    assert interpolate.callback
    interpolate.callback(**options)
