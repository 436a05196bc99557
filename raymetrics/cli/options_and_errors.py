"""What the verbs share: errors as one line, exit codes, names between commas, files of results."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from raymetrics.cli.console import show_log, stop_progress_bars
from raymetrics.cli.signals import exit_on_signal
from raymetrics.cli.terminal import print_lines, print_table
from raymetrics.errors import RaymetricsError, TemporaryFailure
from raymetrics.files import require_writable_file
from raymetrics.uris import require_no_secret

if TYPE_CHECKING:
    from raymetrics.results import Result


EXIT_BAD_REQUEST = 2  # the same command fails again
EXIT_TEMPORARY = 75  # the same command goes on; the system's EX_TEMPFAIL


def exit_with_code(verb: Callable[..., None]) -> Callable[..., None]:
    """Make a verb print expected errors as one line on stderr, and exit with a code.

    EXIT_BAD_REQUEST or EXIT_TEMPORARY for errors; 143 and 130 on SIGTERM and Ctrl-C. Arguments with
    secrets are refused before the verb runs.
    """

    @functools.wraps(verb)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        show_log()
        try:
            with exit_on_signal():
                _require_plain_texts(kwargs.values())
                verb(*args, **kwargs)
        except RaymetricsError as error:
            stop_progress_bars()
            print_lines(f"error: {error}", err=True)
            sys.exit(EXIT_TEMPORARY if isinstance(error, TemporaryFailure) else EXIT_BAD_REQUEST)
        finally:
            stop_progress_bars()

    return wrapper


run_code_option = click.option(
    "--run-code",
    is_flag=True,
    help="Open programs, and addresses of other machines, that a file names; see SECURITY.md.",
)
any_size_option = click.option(
    "--any-size", is_flag=True, help="Also compare images of different sizes."
)


def parse_seed_option(context: click.Context, parameter: click.Parameter, text: str) -> list[int]:
    """Take "5" as the seeds 0 to 4, and "0,5,7" as these seeds."""
    from raymetrics.studies.seeds import parse_seeds

    try:
        return parse_seeds(text)
    except RaymetricsError as error:
        raise click.BadParameter(str(error)) from None


def split_commas(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> list[str] | None:
    """Take "fid,kid" apart into ["fid", "kid"]."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def split_commas_nonempty(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> list[str] | None:
    """Take names apart as `split_commas` does, and refuse a text without names."""
    words = split_commas(context, parameter, text)
    if words is not None and not words:
        raise click.BadParameter(f"{text!r} names nothing; write names with commas between them")
    return words


def parse_extractors(
    context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> list[str]:
    """Take "vgg16,digits" apart; a text with options is one extractor, with all its commas."""
    words = [name for text in texts for name in ([text] if "?" in text else text.split(","))]
    if "" in words:
        raise click.BadParameter(f"{','.join(texts)!r} has an empty name; write names")
    return words


def print_resampling_results(
    new_results: Sequence[Result],
    folder: str,
    file: str | None,
    *,
    run_code: bool,
    written: Collection[str] = (),
) -> None:
    """Print the numbers of draws side by side, and add them to a file of results with its page.

    folder: where file and page go by default; for an object store the numbers are only printed.
    run_code, written: see `report`.
    """
    from raymetrics.reports.comparison_page import report
    from raymetrics.reports.resampling_section import resampling_table

    print_table(resampling_table(new_results))

    def write_page(results_file: Path) -> Path:
        return report(results_file, to=results_file.parent, run_code=run_code, written=written)

    keep_results(new_results, folder, file, write_page)


def require_writable_results(folder: str, file: str | None) -> None:
    """Raise StorageError if the file of results or its page cannot be written."""
    from raymetrics import results

    target = _results_file(folder, file)
    if target is not None:
        results.require_appendable(target if file is None else file)
        require_writable_file(target.with_name("index.html"))


def keep_results(
    new_results: Sequence[Result], folder: str, file: str | None, write_page: Callable[[Path], Path]
) -> None:
    """Add printed numbers to a file of results, write its page, and print where both are.

    write_page: called with the file.
    """
    from raymetrics import results

    target = _results_file(folder, file)
    if target is None:
        print_lines("the results are not kept: give a local file, --results FILE")
        return
    results.append_results(new_results, target)
    print_lines("", f"results {target}", f"page    {write_page(target)}")


def _results_file(folder: str, file: str | None) -> Path | None:
    """Return the file of results; None for a folder at an object store without a given file."""
    if file is not None:
        return Path(file)
    return None if "://" in folder else Path(folder) / "results.jsonl"


def _require_plain_texts(values: Iterable[object]) -> None:
    """Raise RaymetricsError if a text has a secret in it, or cannot be written into results.

    Results take no zero bytes, and no bytes that are not UTF-8.
    """
    for value in values:
        if isinstance(value, str):
            require_no_secret(value, RaymetricsError)
            _require_utf8(value)
        elif isinstance(value, list | tuple):
            _require_plain_texts(value)


def _require_utf8(text: str) -> None:
    if "\0" in text:
        raise RaymetricsError(f"{text!r} has a zero byte in it; expected a name or a number")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise RaymetricsError(f"{text!r} is not UTF-8; give the file or folder another name")
