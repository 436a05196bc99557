"""Real digits against generated ones, from images to a page.

    python -m raymetrics.demo [FOLDER]

Extracts both sides into FOLDER (demo-output by default), evaluates them, and makes a page;
starts a local Ray, and stops it. What is there already is not made again.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from raymetrics import results
from raymetrics.cli.console import progress_printer
from raymetrics.cli.options_and_errors import reported
from raymetrics.distributed.extraction.extract import extract
from raymetrics.distributed.session import session
from raymetrics.errors import RaymetricsError
from raymetrics.provenance import environment
from raymetrics.reports import report, table
from raymetrics.results import Result
from raymetrics.shards.shard_set import open_shards
from raymetrics.studies.evaluate import evaluate

SIDES = {"real": "mnist", "generated": "digits"}
EXTRACTORS = ("digits", "efficientnet-lite0")
SAMPLES = "0-1999"
SHARD_ROWS = 512


def main(
    arguments: Sequence[str], samples: str = SAMPLES, extractors: Sequence[str] = EXTRACTORS
) -> None:
    """Runs the demo; arguments: the folder, or none."""
    folder = Path(arguments[0] if arguments else "demo-output")
    start = time.monotonic()
    uris = {side: str(folder / side) for side in SIDES}
    with nullcontext() if all(map(sealed, uris.values())) else session():
        for side, source in SIDES.items():
            say(f"{side}: {source} {samples} through {' and '.join(extractors)}")
            done = extract(
                source,
                extractors,
                uris[side],
                samples,
                shard_rows=SHARD_ROWS,
                progress=progress_printer(),
            )
            say(f"{side}: {done.made} shards made, {done.present} were there")
        kept = folder / "results.jsonl"
        found = earlier(kept, uris)
        if not found:
            say("evaluating")
            found = evaluate(real=uris["real"], generated=uris["generated"])
            kept.unlink(missing_ok=True)
            results.write(found, kept)
    page = report(kept, to=folder)
    say(f"\n{table(found)}\n")
    say(f"page    {page}\nshards  {uris['real']}  {uris['generated']}\nresults {kept}")
    say(f"        {time.monotonic() - start:.0f} s")


def sealed(uri: str) -> bool:
    """Whether a complete set is there."""
    try:
        return open_shards(uri).seal is not None
    except RaymetricsError:
        return False


def earlier(kept: Path, uris: dict[str, str]) -> list[Result]:
    """The results of an earlier run, if this program made them of these very features."""
    if not kept.exists():
        return []
    found = results.read(kept)
    digests = {side: open_shards(uri).digest for side, uri in uris.items()}
    same = all(
        result.real.digest == digests["real"]
        and result.generated.digest == digests["generated"]
        and result.provenance == environment()
        for result in found
    )
    return found if same else []


def say(text: str) -> None:
    """Prints at once, also into a pipe."""
    print(text, flush=True)


if __name__ == "__main__":
    reported(main)(sys.argv[1:])
