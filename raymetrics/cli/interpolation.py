"""`raymetrics paths`: whether interpolations between realistic samples stay realistic."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    from raymetrics.distributed.resources import Resources


@click.command()
@click.option("--real", required=True, metavar="URI", help="Shards of the real samples.")
@click.option(
    "--generated", required=True, metavar="SOURCE",
    help="Shards of a latent generator, whose samples are the ends; or the source itself.",
)  # fmt: skip
@click.option("--to", required=True, metavar="DIR", help="Where ends and shards go, or s3://...")
@click.option("--paths", default=1000, show_default=True, help="How many.")
@click.option("--steps", default=9, show_default=True, help="Images between the ends of each.")
@click.option(
    "--column", metavar="NAME",
    help="In which feature space. [default: the only one that both sets have]",
)  # fmt: skip
@click.option("--k", default=3, show_default=True, help="Neighbours that a ball reaches.")
@click.option(
    "--candidates", type=int, metavar="N",
    help="Samples of a source among which ends are looked for. [default: 4 for each path]",
)  # fmt: skip
@click.option(
    "--ends", default=1.0, show_default=True, metavar="R",
    help="The least R of an end; 0 takes any sample.",
)  # fmt: skip
@click.option(
    "--below", default=0.9, show_default=True, metavar="R",
    help="Images between with a smaller R are off the manifold.",
)  # fmt: skip
@click.option(
    "--more-than", default=0.25, show_default=True, metavar="SHARE",
    help="A path with a larger share of these strays.",
)  # fmt: skip
@click.option("--results", metavar="FILE", help="Add the results to it. [default: in DIR]")
@click.option("--shard-rows", default=2048, show_default=True, help="Samples in a file.")
@run_code_option
@any_size_option
@exit_with_code
@with_resource_options
def paths(
    real: str, generated: str, to: str, paths: int, steps: int, column: str | None, k: int,
    candidates: int | None, ends: float, below: float, more_than: float, results: str | None,
    shard_rows: int, run_code: bool, any_size: bool, resources: Resources,
) -> None:  # fmt: skip
    """Interpolate between realistic samples, and count the paths that leave the real manifold.

    The ends are samples with R >= 1, in pairs by their ids, whatever their classes. The images
    between them are linear in W. A path strays if more than 25 % of them have R < 0.9. Where the
    samples have labels, the share among the paths within one class stands beside it.

    \b
    ends.parquet     start, end: the samples that are the ends of every path
    shards           features of the images between; image PATH * STEPS + STEP
    realism.parquet  sample_id, and R in realism_COLUMN
    results.jsonl    the share of straying paths, with its 95 % interval
    index.html       the best and the worst paths, and some between

    Run the same command again after anything that stopped it: no shard is made twice.

    \b
    Examples:
      raymetrics paths --real shards/real --generated shards/generated --to paths \\
          --paths 100 --column digits_pre_logits
      raymetrics paths --real shards/real --generated digits --to paths-of-digits --paths 50
    """
    from raymetrics.generators import permission_for
    from raymetrics.studies.interpolation import StrayRule, judge_paths

    require_writable_results(to, results)
    rule = StrayRule(steps=steps, ends=ends, below=below, more_than=more_than)
    path_results = judge_paths(
        real=real,
        generated=generated,
        to=to,
        paths=paths,
        rule=rule,
        column=column,
        k=k,
        candidates=candidates,
        shard_rows=shard_rows,
        run_code=run_code,
        any_size=any_size,
        resources=resources,
        progress=progress_printer(),
        on_message=print_status,
        tell=print_realism_results,
    )
    written = permission_for(run_code, generated).written
    keep_realism_results(path_results, to, results, run_code=run_code, written=written)
