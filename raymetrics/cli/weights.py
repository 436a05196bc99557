"""`raymetrics weights`: the files of the feature networks."""

from __future__ import annotations

import sys

import click

from raymetrics.cli.options_and_errors import exit_with_code
from raymetrics.cli.terminal import print_lines


@click.group()
def weights() -> None:
    """List, fetch and check the feature networks' files of weights.

    They lie in $RAYMETRICS_WEIGHTS, or in ~/.cache/raymetrics/weights. An extractor takes the
    first of its files that is here; if there is none, it fetches one whose digest was published.
    Any other file is given by its path: 'inception?weights=PATH'.
    """


@weights.command("list")
@exit_with_code
def list_all() -> None:
    """List every known file: whose it is, whether it is here, where it comes from, its licence.

    \b
    Example:
      raymetrics weights list
    """
    from raymetrics.weights.inventory import list_entries
    from raymetrics.weights.locate import weights_folder

    print_lines(f"in {weights_folder()}")
    last_extractor = ""
    for entry in list_entries():
        if entry.extractor != last_extractor:
            print_lines(last_extractor := entry.extractor)
        digest = entry.weights.sha256
        print_lines(f"  {'here' if entry.path else '-   '}  {entry.weights.name}")
        print_lines(f"        from     {entry.origin}")
        print_lines(f"        sha256   {digest or 'none was published; it is not downloaded'}")
        print_lines(f"        licence  {entry.weights.license_terms}")


@weights.command()
@click.argument("name")
@exit_with_code
def fetch(name: str) -> None:
    """Download the file of an extractor, or a file by its name; goes on where it stopped.

    \b
    Example:
      raymetrics weights fetch inception
    """
    from raymetrics.weights.inventory import fetch_named

    def print_progress(bytes_done: int, total: int | None) -> None:
        total_text = f" of {total / 1e6:.0f}" if total else ""
        click.echo(f"\r{bytes_done / 1e6:.0f}{total_text} MB", err=True, nl=False)

    weights_file = fetch_named(name, progress=print_progress)
    print_lines(f"{weights_file.path}  sha256 {weights_file.sha256}")


@weights.command()
@exit_with_code
def verify() -> None:
    """Read every file that is here, and compare its digest; exit code 1 if one is wrong.

    \b
    Example:
      raymetrics weights verify
    """
    from raymetrics.weights.inventory import verify_local_files as run

    verdicts = list(run())
    for verdict in verdicts:
        if verdict.located is None:
            verdict_text = f"WRONG     {verdict.problem}"
        elif verdict.located.published:
            verdict_text = "verified"
        else:
            verdict_text = f"unknown   no digest was published; sha256 {verdict.located.sha256}"
        print_lines(f"{verdict.entry.weights.name}  {verdict_text}")
    if any(verdict.problem for verdict in verdicts):
        sys.exit(1)


@weights.command("import")
@click.argument("file")
@exit_with_code
def import_one(file: str) -> None:
    """Copy a file that came here by other means to where extractors look, checked.

    \b
    Example:
      raymetrics weights import inception-2015-12-05.pt
    """
    from raymetrics.weights.inventory import import_known_file

    weights_file = import_known_file(file)
    digest_note = (
        "its digest is the published one" if weights_file.published else "no digest was published"
    )
    print_lines(f"{weights_file.path}  sha256 {weights_file.sha256}; {digest_note}")
