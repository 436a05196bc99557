"""`raymetrics cache`: the features that evaluations of sources have kept."""

from __future__ import annotations

import click

from raymetrics.cli.options_and_errors import exit_with_code
from raymetrics.cli.terminal import print_lines


@click.group()
def cache() -> None:
    """List and empty the cache of features that `evaluate` has extracted from sources.

    It lies in $RAYMETRICS_CACHE, or in ~/.cache/raymetrics/shards. Every set in it is a shard set,
    which other commands take too.
    """


@cache.command("list")
@exit_with_code
def list_sets() -> None:
    """List the sets: name, samples, size, and what each was made of.

    \b
    Example:
      raymetrics cache list
    """
    from raymetrics.distributed.resources import format_bytes
    from raymetrics.shards.set_cache import cache_folder, list_cached_sets

    folder = cache_folder()
    cached_sets = list_cached_sets(folder)
    total = format_bytes(sum(cached_set.size for cached_set in cached_sets))
    print_lines(f"{folder}: {len(cached_sets)} sets, {total}")
    for cached_set in cached_sets:
        made_of = f"{cached_set.source} by {', '.join(cached_set.extractors)}"
        print_lines(
            f"  {cached_set.path.name}  {cached_set.samples} samples, "
            f"{format_bytes(cached_set.size)}  {cached_set.problem or made_of}"
        )


@cache.command("clear")
@click.argument("names", nargs=-1)
@exit_with_code
def clear(names: tuple[str, ...]) -> None:
    """Remove the named sets, or all. Features that are needed again are extracted again.

    \b
    Example:
      raymetrics cache clear
    """
    from raymetrics.distributed.resources import format_bytes
    from raymetrics.shards.set_cache import cache_folder, remove_cached_sets

    removed = remove_cached_sets(cache_folder(), names)
    freed = format_bytes(sum(cached_set.size for cached_set in removed))
    print_lines(f"{len(removed)} sets removed, {freed} freed")
