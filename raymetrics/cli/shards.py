"""`raymetrics inspect` and `export`: what is in a set, and a set as other programs read it."""

from __future__ import annotations

import click

from raymetrics.cli.options_and_errors import exit_with_code, split_commas_nonempty
from raymetrics.cli.terminal import print_lines, print_table


@click.command()
@click.argument("uri")
@click.option(
    "--verify", is_flag=True, help="Read every shard and every file of neighbors, and check them."
)
@exit_with_code
def inspect(uri: str, verify: bool) -> None:
    """Say what is in a shard set: counts, columns, fingerprint; what is missing, and the
    command that makes it.

    \b
    Example:
      raymetrics inspect shards/generated
    """
    from raymetrics.reports.terminal import describe_shard_set
    from raymetrics.shards.shard_set import open_shards

    shards = open_shards(uri)
    print_table(describe_shard_set(shards))
    if verify:
        from raymetrics.distributed.neighbors import require_true_files

        shards.verify()
        require_true_files(shards)
        print_lines("verified      every shard has the digest that it promises")


@click.command()
@click.argument("shards")
@click.option("--to", required=True, metavar="FILE_OR_DIR", help="What is not there yet.")
@click.option(
    "--as", "form", required=True, help="See above.",
    type=click.Choice(["npz", "npy", "huggingface", "webdataset"]),
)  # fmt: skip
@click.option(
    "--column", "columns", callback=split_commas_nonempty, metavar="NAME[,NAME]",
    help="Only these. [default: all; of npz the one that is not logits]",
)  # fmt: skip
@click.option("--samples", type=int, help="Only the first so many.")
@click.option(
    "--ddof", type=click.IntRange(min=0), default=1, show_default=True,
    help="Of npz: covariance by count - ddof.",
)  # fmt: skip
@exit_with_code
def export(
    shards: str, to: str, form: str, columns: list[str] | None, samples: int | None, ddof: int
) -> None:
    """Write a complete shard set as other programs read it; whole or not at all.

    \b
    npz          a file of mu and sigma, as pytorch-fid and clean-fid have them
    npy          a folder of float32 arrays [n, d], one for each column, with sample_id.npy
    huggingface  a folder that datasets.load_dataset reads
    webdataset   a folder of tar files

    \b
    Examples:
      raymetrics export shards/real --to real.npz --as npz
      raymetrics evaluate --real real.npz --generated shards/generated --metrics fid
      raymetrics export shards/real --to real-features --as huggingface
    """
    from raymetrics.shards.foreign.export import export as run

    run(shards, to=to, format=form, columns=columns, samples=samples, ddof=ddof)
    print_lines(to)
