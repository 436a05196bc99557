"""`raymetrics nearest`: the nearest training sample of every generated one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from raymetrics.cli.options_and_errors import (
    any_size_option,
    exit_with_code,
    keep_results,
    require_writable_results,
    run_code_option,
    split_commas_nonempty,
)
from raymetrics.cli.resource_options import with_local_option
from raymetrics.cli.terminal import print_lines, print_table

if TYPE_CHECKING:
    from pathlib import Path

    from raymetrics.results import Result


@click.command()
@click.option("--real", required=True, metavar="URI", help="Shards of the training samples.")
@click.option("--generated", required=True, metavar="URI", help="Shards of the generated samples.")
@click.option("--test", metavar="URI", help="Shards of held-out real samples, for C_T.")
@click.option("--to", required=True, metavar="DIR", help="Where nearest.parquet goes, or s3://...")
@click.option(
    "--extractor",
    "extractors",
    callback=split_commas_nonempty,
    metavar="NAME[,NAME]",
    help="In the spaces of which extractors.",
)
@click.option(
    "--column",
    "columns",
    callback=split_commas_nonempty,
    metavar="NAME[,NAME]",
    help="In which feature spaces. [default: all that both sets have]",
)
@click.option(
    "--neighbors",
    default=50,
    show_default=True,
    help="Compare the distance to the nearest with the mean of the others of so many.",
)
@click.option(
    "--threshold",
    type=float,
    help="Count samples with a greater cosine. [default: 0.5 in spaces of unit length]",
)
@click.option("--normalize", is_flag=True, help="Divide features by their length first.")
@click.option("--count", default=24, show_default=True, help="Closest pairs to show.")
@click.option("--seed", default=0, show_default=True, help="Of the clusters of C_T.")
@click.option("--engine", default="tiles", metavar="NAME", help="How to search. [default: tiles]")
@click.option("--results", metavar="FILE", help="Add the results to it. [default: in DIR]")
@run_code_option
@any_size_option
@exit_with_code
@with_local_option
def nearest(to: str, results: str | None, run_code: bool, **request: Any) -> None:
    """Find the nearest training sample of every generated one: are there copies?

    The search is exact, and goes through the training set part by part. What is found is kept
    beside the generated shards; the same command goes on after anything that stopped it.

    \b
    nearest.parquet  sample_id, and for every COLUMN
                       nearest_id_COLUMN  the nearest training sample
                       distance_COLUMN    how far it is
                       ratio_COLUMN       distance / mean distance of the next 49
                       cosine_COLUMN      in spaces of unit length
    results.jsonl    AuthPct, the median ratio, the share above a cosine, C_T
    index.html       the closest pairs side by side, made again from their ids

    AuthPct is the percentage of generated samples that are further from their nearest training
    sample than that is from its own nearest. C_T takes held-out samples, --test: far below 0,
    generated samples are nearer to the training set than they are.

    \b
    Examples:
      raymetrics nearest --real shards/train --generated shards/generated --to nearest
      raymetrics nearest --real shards/train --generated shards/generated --to nearest \\
          --test shards/held-out --column digits_pre_logits --neighbors 10
    """
    from raymetrics.generators import permission_for
    from raymetrics.reports.nearest_page import write_nearest_page
    from raymetrics.studies.nearest.study import nearest as run

    require_writable_results(to, results)
    permission = permission_for(run_code, request["generated"], request["real"])
    found = run(**request, to=to, tell=print_nearest_results)

    def write_page(results_file: Path) -> Path:
        return write_nearest_page(
            found.results,
            to=results_file.parent,
            run_code=run_code,
            written=permission.written,
        )

    keep_results(found.results, to, results, write_page)


def print_nearest_results(results: Sequence[Result]) -> None:
    """Print the numbers, and which pair is the closest."""
    from raymetrics.reports.nearest_page import nearest_sentences
    from raymetrics.reports.terminal import results_table

    print_table(results_table(results))
    print_lines("", *nearest_sentences(results))
