"""`raymetrics inspect`: what is in a shard set."""

from __future__ import annotations

import click

from raymetrics.cli.options_and_errors import exit_with_code
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
