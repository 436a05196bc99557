"""`raymetrics realism`: which generated samples are most and least realistic."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
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
    from raymetrics.results import Result


@click.command()
@click.option("--real", required=True, metavar="URI", help="Shards of the real samples.")
@click.option("--generated", required=True, metavar="URI", help="Shards of those to rank.")
@click.option("--to", required=True, metavar="DIR", help="Where realism.parquet goes, or s3://...")
@click.option(
    "--column",
    "columns",
    callback=split_commas_nonempty,
    metavar="NAME[,NAME]",
    help="In which feature spaces. [default: all that both sets have]",
)
@click.option("--k", default=3, show_default=True, help="Neighbours that a ball reaches.")
@click.option("--count", type=int, help="Samples at either end. [default: 16, or 2 of each group]")
@click.option(
    "--by",
    type=click.Choice(["label", "class"]),
    help="Rank within every label of the source, or within every Top-1 class.",
)
@click.option(
    "--classes",
    metavar="COLUMN",
    help="The logits that give the classes. [default: inception's, or the only ones]",
)
@click.option(
    "--save-images",
    is_flag=True,
    help="Save the shown samples of all groups as PNG files of full size, with R in their names.",
)
@click.option("--results", metavar="FILE", help="Add the results to it. [default: in DIR]")
@run_code_option
@any_size_option
@exit_with_code
@with_local_option
def realism(
    to: str, results: str | None, save_images: bool, run_code: bool, **request: Any
) -> None:
    """Rank generated samples by their realism R, and show both ends.

    R compares the distance to a real sample with the ball around it, which reaches its k-th
    nearest real one; the greatest ratio counts, over the half of the balls with the smaller
    radii. R >= 1 lies within a ball, so that the share of these samples is the precision with
    pruned balls.

    \b
    realism.parquet  sample_id, and R in realism_COLUMN
    results.jsonl    the share with R >= 1, and the median of R
    index.html       the most and the least realistic samples, made again from their ids
    images           with --save-images: COLUMN/R-1.0234-id-000123.png; by group a folder each

    R is always that among all real samples, whatever --by groups. It is the ratio of distances of
    the paper's Equation 3; the authors' program compares squared distances, and so writes about
    R * R.

    \b
    Examples:
      raymetrics realism --real shards/real --generated shards/generated --to ranked
      raymetrics realism --real shards/real --generated shards/generated --to by-class \\
          --by class --column digits_pre_logits --save-images
    """
    from raymetrics.generators import permission_for
    from raymetrics.reports.realism_images import require_savable_images, save_realism_images
    from raymetrics.reports.sample_images import IMAGES_FOLDER
    from raymetrics.studies.realism import realism as run

    require_writable_results(to, results)
    permission = permission_for(run_code, request["generated"])
    if save_images:
        require_savable_images(request["generated"], to, permission)
    ranking = run(**request, to=to, tell=print_realism_results)
    written = permission.written
    keep_realism_results(ranking.results, to, results, run_code=run_code, written=written)
    if save_images:
        count = save_realism_images(ranking.results, to, permission)
        print_lines(f"images  {count} in {Path(to, IMAGES_FOLDER)}")


def print_realism_results(results: Sequence[Result]) -> None:
    """Print the numbers with what they say of single samples."""
    from raymetrics.reports.realism_page import summary_sentences
    from raymetrics.reports.terminal import results_table

    print_table(results_table(results))
    print_lines("", *summary_sentences(results))


def keep_realism_results(
    new_results: Sequence[Result],
    folder: str,
    file: str | None,
    *,
    run_code: bool,
    written: Collection[str] = (),
) -> None:
    """Add numbers of single samples to a file of results, and write their page.

    Does neither at an object store unless a file is given. run_code, written: see `report`.
    """
    from raymetrics.reports.realism_page import write_realism_page

    def write_page(results_file: Path) -> Path:
        return write_realism_page(
            new_results, to=results_file.parent, run_code=run_code, written=written
        )

    keep_results(new_results, folder, file, write_page)
