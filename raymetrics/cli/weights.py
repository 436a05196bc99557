"""`raymetrics weights`: the feature networks' files."""

from __future__ import annotations

import sys

import click

from raymetrics.cli.options_and_errors import reported
from raymetrics.cli.terminal import print_lines


@click.group()
def weights() -> None:
    """The feature networks' files of weights: which are here, how the others come.

    They lie in $RAYMETRICS_WEIGHTS, or in ~/.cache/raymetrics/weights. An extractor takes the
    first of its files that is here; if there is none, it fetches one whose digest was published.
    Any other file is given by its path: 'inception?weights=PATH'.
    """


@weights.command("list")
@reported
def list_all() -> None:
    """Every known file: whose it is, whether it is here, where it comes from, its licence.

    \b
    Example:
      raymetrics weights list
    """
    from raymetrics.weights.inventory import entries
    from raymetrics.weights.locate import home

    print_lines(f"in {home()}")
    before = ""
    for entry in entries():
        if entry.extractor != before:
            print_lines(before := entry.extractor)
        digest = entry.weights.sha256
        print_lines(f"  {'here' if entry.path else '-   '}  {entry.weights.name}")
        print_lines(f"        from     {entry.origin}")
        print_lines(f"        sha256   {digest or 'none was published; it is not downloaded'}")
        print_lines(f"        licence  {entry.weights.licence}")


@weights.command()
@click.argument("name")
@reported
def fetch(name: str) -> None:
    """Download the file of an extractor, or a file by its name; goes on where it stopped.

    \b
    Example:
      raymetrics weights fetch inception
    """
    from raymetrics.weights.inventory import fetch_named

    def tell(there: int, total: int | None) -> None:
        of = f" of {total / 1e6:.0f}" if total else ""
        click.echo(f"\r{there / 1e6:.0f}{of} MB", err=True, nl=False)

    found = fetch_named(name, progress=tell)
    print_lines(f"{found.path}  sha256 {found.sha256}")


@weights.command()
@reported
def verify() -> None:
    """Read every file that is here, and compare its digest; exit code 1 if one is wrong.

    \b
    Example:
      raymetrics weights verify
    """
    from raymetrics.weights.inventory import verify as run

    verdicts = list(run())
    for verdict in verdicts:
        if verdict.found is None:
            word = f"WRONG     {verdict.problem}"
        elif verdict.found.published:
            word = "verified"
        else:
            word = f"unknown   no digest was published; sha256 {verdict.found.sha256}"
        print_lines(f"{verdict.entry.weights.name}  {word}")
    if any(verdict.problem for verdict in verdicts):
        sys.exit(1)


@weights.command("import")
@click.argument("file")
@reported
def import_one(file: str) -> None:
    """Copy a file that came here by other means to where extractors look, checked.

    \b
    Example:
      raymetrics weights import inception-2015-12-05.pt
    """
    from raymetrics.weights.inventory import import_known

    found = import_known(file)
    known = "its digest is the published one" if found.published else "no digest was published"
    print_lines(f"{found.path}  sha256 {found.sha256}; {known}")
