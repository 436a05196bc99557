"""`raymetrics export`: a shard set as other programs read it."""

from __future__ import annotations

from typing import Any

import click

from raymetrics.cli.options_and_errors import exit_with_code, split_commas_nonempty
from raymetrics.cli.terminal import print_lines


@click.command()
@click.argument("shards")
@click.option("--to", required=True, metavar="FILE_OR_DIR", help="What is not there yet.")
@click.option(
    "--as",
    "format",
    required=True,
    help="See above.",
    type=click.Choice(["npz", "npy", "huggingface", "webdataset", "shards"]),
)
@click.option(
    "--column",
    "columns",
    callback=split_commas_nonempty,
    metavar="NAME[,NAME]",
    help="Only these. [default: all; of npz the one that is not logits]",
)
@click.option("--samples", type=int, help="Only the first so many.")
@click.option(
    "--ddof",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Of npz: covariance by count - ddof.",
)
@exit_with_code
def export(shards: str, to: str, **request: Any) -> None:
    """Write a complete shard set as other programs read it; whole or not at all.

    \b
    npz          a file of mu and sigma, as pytorch-fid and clean-fid have them
    npy          a folder of float32 arrays [n, d], one for each column, with sample_id.npy
    huggingface  a folder that datasets.load_dataset reads
    webdataset   a folder of tar files
    shards       a shard set of its own, of selected samples; their ids are counted anew

    \b
    Examples:
      raymetrics export shards/real --to real.npz --as npz
      raymetrics evaluate --real real.npz --generated shards/generated --metrics fid
      raymetrics export shards/real --to real-features --as huggingface
    """
    from raymetrics.shards.foreign.export import export as run

    print_lines(run(shards, to=to, **request))
