"""Compare real digits with generated digits, from images to a page.

    python -m raymetrics.demo [FOLDER]

Extracts features of both sides into FOLDER (demo-output by default), evaluates them, and writes a
page, all in this process. Existing shards and results are not made again.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from raymetrics import results
from raymetrics.cli.console import progress_printer
from raymetrics.cli.options_and_errors import exit_with_code
from raymetrics.distributed.extraction.extract import extract
from raymetrics.provenance import software_environment
from raymetrics.reports.comparison_page import report
from raymetrics.reports.terminal import results_table
from raymetrics.results import Result
from raymetrics.shards.shard_set import open_shards
from raymetrics.studies.evaluate import evaluate

_SIDES = {"real": "mnist", "generated": "digits"}
_EXTRACTORS = ("digits", "efficientnet-lite0")
_SAMPLES = "0-1999"
_SHARD_ROWS = 512


def main(
    arguments: Sequence[str], samples: str = _SAMPLES, extractors: Sequence[str] = _EXTRACTORS
) -> None:
    """Run the demo. arguments: the folder, or nothing."""
    folder = Path(arguments[0] if arguments else "demo-output")
    start = time.monotonic()
    uris = {side: str(folder / side) for side in _SIDES}
    for side, source in _SIDES.items():
        print_now(f"{side}: {source} {samples} through {' and '.join(extractors)}")
        extraction = extract(
            source,
            extractors,
            uris[side],
            samples,
            shard_rows=_SHARD_ROWS,
            progress=progress_printer(),
        )
        print_now(
            f"{side}: {extraction.shards_made} shards made, {extraction.shards_present} were there"
        )
    results_file = folder / "results.jsonl"
    all_results = _earlier_results(results_file, uris)
    if not all_results:
        print_now("evaluating")
        all_results = evaluate(real=uris["real"], generated=uris["generated"])
        results_file.unlink(missing_ok=True)
        results.append_results(all_results, results_file)
    page = report(results_file, to=folder)
    print_now(f"\n{results_table(all_results)}\n")
    print_now(
        f"page    {page}\nshards  {uris['real']}  {uris['generated']}\nresults {results_file}"
    )
    print_now(f"        {time.monotonic() - start:.0f} s")


def _earlier_results(results_file: Path, uris: dict[str, str]) -> list[Result]:
    """Return the results of an earlier run, if this program made them from exactly these sets."""
    if not results_file.exists():
        return []
    old_results = results.read_results(results_file)
    digests = {side: open_shards(uri).digest for side, uri in uris.items()}
    is_same = all(
        result.real.digest == digests["real"]
        and result.generated.digest == digests["generated"]
        and result.provenance == software_environment()
        for result in old_results
    )
    return old_results if is_same else []


def print_now(text: str) -> None:
    """Print a text at once, also into a pipe."""
    print(text, flush=True)


if __name__ == "__main__":
    exit_with_code(main)(sys.argv[1:])
