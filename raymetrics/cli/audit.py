"""`raymetrics audit`: how much of a FID, or of a difference of two, its null space explains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from raymetrics.cli.options_and_errors import (
    any_size_option,
    exit_with_code,
    keep_results,
    parse_seed_option,
    require_writable_results,
    split_commas_nonempty,
)
from raymetrics.cli.resource_options import with_local_option
from raymetrics.cli.reweight import step_printer
from raymetrics.cli.terminal import print_lines


@click.command()
@click.option("--real", required=True, metavar="URI", help="Shards of the real samples.")
@click.option(
    "--generated",
    required=True,
    multiple=True,
    metavar="URI",
    help="Shards of a generator's candidates; give it twice to compare two generators.",
)
@click.option("--to", required=True, metavar="DIR", help="Where weights and draws go, or s3://...")
@click.option(
    "--names",
    callback=split_commas_nonempty,
    metavar="A[,B]",
    help="Of the generators. [default: the last parts of their addresses]",
)
@click.option(
    "--space",
    metavar="NAME",
    help="The extractor whose distance is audited. [default: inception, or the only one]",
)
@click.option(
    "--second",
    callback=split_commas_nonempty,
    metavar="NAME[,NAME]",
    help="Extractors for second opinions. [default: all others of the sets]",
)
@click.option(
    "--n",
    type=int,
    help="Samples in a draw. [default: as many as real ones, or half of the candidates]",
)
@click.option(
    "--seeds",
    default="10",
    show_default=True,
    callback=parse_seed_option,
    metavar="N|LIST",
    help="Draws of each kind, whose means are reported: how many, or their seeds, e.g. 0,5,7.",
)
@click.option(
    "--max-evaluations",
    type=int,
    metavar="N",
    help="Of the distance with its gradient, for weights. [default: 100]",
)
@click.option("--results", metavar="FILE", help="Add the results to it. [default: in DIR]")
@any_size_option
@exit_with_code
@with_local_option
def audit(to: str, results: str | None, **request: Any) -> None:
    """Find how much of a FID difference lies in the perceptual null space.

    Two attacks choose among the samples of the same generator: draws with the real Top-1 classes,
    and draws by weights that minimise the distance. What they remove from the headline distance,
    and no second space such as CLIP sees, is not about images.

    With two generators: whether the second spaces confirm the order, and whether an attack on one
    of them moves more than their difference.

    \b
    index.html            verdict, numbers, and a figure
    results.jsonl         the numbers
    NAME/weights.parquet  a weight for every sample of a generator
    NAME/drawn.parquet, NAME/matched.parquet
                          a draw of each attack: 'SHARDS?ids=DIR/NAME/drawn.parquet'

    Numbers are means over seeds, with the standard deviation of a draw. Give the same command again
    after anything that stopped it: weights are continued and not made twice.

    \b
    Examples:
      raymetrics audit --real shards/real --generated shards/generated --to audited
      raymetrics audit --real shards/real --generated shards/fastgan \\
          --generated shards/stylegan2 --second clip,dinov2 --to compared
    """
    from raymetrics.reports.audit_page import audit_table, write_audit_page
    from raymetrics.studies.audit.study import audit as run

    require_writable_results(to, results)
    outcome = run(to=to, on_step=step_printer(), **request)
    print_lines(*outcome.verdict, "", *audit_table(outcome.numbers).split("\n"))

    def write_page(results_file: Path) -> Path:
        return write_audit_page(outcome.numbers, outcome.verdict, to=results_file.parent)

    keep_results(outcome.numbers, to, results, write_page)
