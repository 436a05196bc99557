"""`raymetrics statistics`: the reference statistics that papers compare with, by name."""

from __future__ import annotations

import sys

import click

from raymetrics.cli.options_and_errors import exit_with_code
from raymetrics.cli.terminal import print_lines


@click.group()
def statistics() -> None:
    """List, fetch, check and make reference statistics: --real stats:adm-imagenet256.

    They lie in $RAYMETRICS_STATISTICS, or in ~/.cache/raymetrics/statistics. A file whose digest
    was published is fetched when it is named; any other one only by `statistics fetch`.
    """


@statistics.command("list")
@click.argument("words", nargs=-1)
@exit_with_code
def list_catalogue(words: tuple[str, ...]) -> None:
    """List the catalogue, or the entries whose text has all of these words.

    \b
    Example:
      raymetrics statistics list imagenet 256
    """
    from raymetrics.reference_statistics.catalogue import CATALOGUE
    from raymetrics.reference_statistics.local_files import list_local, statistics_folder

    local = list_local()
    print_lines(f"in {statistics_folder()}")
    for file in CATALOGUE.values():
        text = f"{file.name} {file.dataset} {file.used_by} {file.extractor}".lower()
        if not all(word.lower() in text for word in words):
            continue
        count = "" if file.count is None else f", {file.count} images"
        digest = (
            "none was published; fetched only when you say so"
            if file.digest is None
            else f"{file.digest[0]} {file.digest[1]}, from {file.digest_source}"
        )
        print_lines(
            f"  {'here' if file.name in local else '-   '}  {file.name}",
            f"        what    {file.dataset}{count}; {file.holds}",
            f"        by      {file.extractor}; used by {file.used_by}",
            f"        from    {file.url}",
            f"        digest  {digest}",
        )


@statistics.command()
@click.argument("name")
@exit_with_code
def fetch(name: str) -> None:
    """Download a file of the catalogue, goes on where it stopped; keep its digest.

    \b
    Example:
      raymetrics statistics fetch adm-imagenet256
    """
    from raymetrics.reference_statistics.catalogue import find_statistics_file
    from raymetrics.reference_statistics.local_files import fetch as run

    local = run(find_statistics_file(name.removeprefix("stats:")))
    note = "its digest is the published one" if local.verified else "no digest was published"
    print_lines(f"{local.path}; {note}")


@statistics.command()
@exit_with_code
def verify() -> None:
    """Check every file that is here: digest and contents; exit code 1 if one is wrong.

    \b
    Example:
      raymetrics statistics verify
    """
    from raymetrics.errors import RaymetricsError
    from raymetrics.reference_statistics.catalogue import CATALOGUE
    from raymetrics.reference_statistics.local_files import list_local
    from raymetrics.reference_statistics.local_files import verify as run
    from raymetrics.shards.foreign import read_statistics

    wrong = False
    for name, path in list_local().items():
        try:
            local = run(CATALOGUE[name])
            read_statistics(str(path))
            verdict = "verified" if local.verified else "as it was fetched; no digest was published"
        except RaymetricsError as error:
            wrong, verdict = True, f"WRONG  {error}"
        print_lines(f"{name}  {verdict}")
    if wrong:
        sys.exit(1)


@statistics.command()
@click.argument("shards")
@click.option("--to", required=True, metavar="FILE", help="The file to write.")
@click.option(
    "--layout",
    metavar="NAME",
    help="npz, edm2, stylegan2-ada, torch-fidelity. [default: npz, edm2 or torch-fidelity, by the "
    "ending .npz, .pkl or .pt]",
)
@click.option("--column", metavar="NAME", help="Of which features. [default: the only ones]")
@click.option("--samples", type=int, help="Only the first so many.")
@click.option("--ddof", type=int, default=1, show_default=True, help="Divide by count - ddof.")
@exit_with_code
def make(
    shards: str, to: str, layout: str | None, column: str | None, samples: int | None, ddof: int
) -> None:  # fmt: skip
    """Make statistics from a shard set; what they were made of goes to FILE.json.

    \b
    npz             mu, sigma (with spatial features also mu_s, sigma_s): pytorch-fid, clean-fid,
                    EDM, ADM, the fid_statistics_file of torch-fidelity's fork
    edm2            .pkl, {num_images, fid: {mu, sigma}}
    stylegan2-ada   .pkl, sums; its program divides by count
    torch-fidelity  .pt, {mu, sigma}

    \b
    Example:
      raymetrics statistics make shards/real --to real.npz
    """
    from raymetrics.reference_statistics.make import make_statistics

    make_statistics(shards, to, layout=layout, column=column, samples=samples, ddof=ddof)
    print_lines(to, f"{to}.json")
