"""What the verbs share: errors as one line, exit codes, names between commas."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from raymetrics.cli.progress import cleared
from raymetrics.cli.stopping import ends_at_once
from raymetrics.errors import RaymetricsError, TemporaryFailure

if TYPE_CHECKING:
    from raymetrics.results import Result


WRONG_REQUEST = 2  # the same command fails again
TRY_AGAIN = 75  # the same command goes on; the system's EX_TEMPFAIL


def reported(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb, with expected errors as one line on stderr and an exit code that tells them apart:
    2 and 75, see above; 143 and 130 if it is stopped."""

    @functools.wraps(verb)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            with ends_at_once():
                verb(*args, **kwargs)
        except RaymetricsError as error:
            cleared()
            click.echo(f"error: {error}", err=True)
            sys.exit(TRY_AGAIN if isinstance(error, TemporaryFailure) else WRONG_REQUEST)
        finally:
            cleared()

    return wrapped


run_code_option = click.option(
    "--run-code", is_flag=True,
    help="Open programs, and addresses of other machines, that a file names; see SECURITY.md.",
)  # fmt: skip
any_size_option = click.option(
    "--any-size", is_flag=True, help="Also compare images of different sizes."
)


def names(context: click.Context, parameter: click.Parameter, text: str | None) -> list[str] | None:
    """ "fid,kid" -> ["fid", "kid"]."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def extractors_of(
    context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> list[str]:
    """ "vgg16,digits" -> both; a text with options is one extractor, whatever commas it has."""
    return [name for text in texts for name in ([text] if "?" in text else text.split(",")) if name]


def tell_draws(
    found: Sequence[Result], folder: str, file: str | None, *, run_code: bool,
    written: Collection[str] = (),
) -> None:  # fmt: skip
    """Prints the numbers of draws side by side, and adds them to a file of results with its page.

    folder: where these go by default; at an object store they are only printed. run_code, written:
    see `report`.
    """
    from raymetrics import results
    from raymetrics.reports import draws_table, report

    click.echo(draws_table(found))
    if file is None and "://" in folder:
        click.echo("the results are not kept: give a local file, --results FILE")
        return
    kept = Path(file or f"{folder}/results.jsonl")
    results.write(found, kept)
    page = report(kept, to=kept.parent, run_code=run_code, written=written)
    click.echo(f"\nresults {kept}\npage    {page}")
