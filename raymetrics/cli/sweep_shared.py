"""`raymetrics truncate` and `snapshots`: many generated sets against one real set; and what
`sweep` has in common with them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from raymetrics.cli.console import cleared, progress_printer, say
from raymetrics.cli.evaluate import neighbours
from raymetrics.cli.options_and_errors import (
    WRONG_REQUEST,
    any_size_option,
    extractors_of,
    names,
    reported,
    run_code_option,
    some_names,
)
from raymetrics.cli.resource_options import placed
from raymetrics.cli.terminal import print_lines, print_table

if TYPE_CHECKING:
    from raymetrics.distributed.resources import Resources
    from raymetrics.studies.sweep import Swept

PSI = "0,0.2,0.4,0.6,0.8,1"
LONGEST_PAUSE = 10_000_000  # seconds, a third of a year
SOME_FAILED = 3  # exit code: all is done that can be done

OPTIONS = (
    click.option("--to", required=True, metavar="DIR", help="Where the numbers and the page go."),
    click.option("--shards", metavar="URI", help="Where the shards go. [default: DIR/shards]"),
    click.option(
        "--extractor", "extractors", multiple=True, callback=extractors_of, metavar="NAME[,NAME]",
        help="Feature networks. [default: those of the real set]",
    ),
    click.option(
        "--samples", metavar="FIRST-LAST",
        help="Sample ids of every set. [default: as many as real ones]",
    ),
    click.option(
        "--metrics", callback=names, metavar="NAMES",
        help="Of evaluate's. [default: fid,pr,dc,prd]",
    ),
    click.option(
        "--column", "columns", callback=some_names, metavar="NAME[,NAME]",
        help="Of which columns; those of logits too.",
    ),
    click.option("--by", type=click.Choice(["label"]), help="Also the numbers of each label."),
    click.option("--k", "ks", metavar="K[,K]", help="Neighbours. [default: 3]"),
    click.option("--kid-subset-size", type=int, help="Samples in a subset. [default: 1000]"),
    click.option("--shard-rows", default=2048, show_default=True, help="Samples in a file."),
    run_code_option,
    any_size_option,
)  # fmt: skip


REAL = click.option("--real", required=True, metavar="URI", help="Shards of the real samples.")


def with_options(verb: Callable[..., None]) -> Callable[..., None]:
    """A verb with the options that all have, reported as verbs are."""
    verb = reported(placed(verb))
    for option in reversed(OPTIONS):
        verb = option(verb)
    return verb


def swept(
    plan: str | Sequence[str], *, to: str, shards: str | None, extractors: list[str],
    samples: str | None, metrics: list[str] | None, columns: list[str] | None, by: str | None,
    ks: str | None, kid_subset_size: int | None, shard_rows: int, any_size: bool,
    resources: Resources, **rest: Any,
) -> Swept:  # fmt: skip
    """What a sweep gives, by the options that all verbs have; rest: those of `sweep` itself."""
    from raymetrics.metrics import convention
    from raymetrics.studies.sweep import sweep

    return sweep(
        plan, **rest, to=to, shards=shards, extractors=extractors, samples=samples,
        metrics=metrics, columns=columns, by=by,
        convention=convention("raymetrics", k=neighbours(ks), kid_subset_size=kid_subset_size),
        shard_rows=shard_rows, any_size=any_size, resources=resources,
        progress=progress_printer(), told=lambda name: say(f"measures {name}"),
    )  # fmt: skip


def show(found: Swept, to: str, run_code: bool) -> None:
    """Prints the numbers side by side, and what failed. Writes both to `to`, with a page where it
    is a folder; where there are no numbers at all, what an earlier sweep wrote stays."""
    from raymetrics.reports import report, tradeoffs_table
    from raymetrics.results import FAILED, RESULTS
    from raymetrics.shards.store import Store

    cleared()
    if found.results:
        print_table(tradeoffs_table(found.results))
    for failure in found.failures:
        print_lines(f"failed: {failure.name}: {failure.message}", err=True)
    if not found.results:
        return
    store = Store(to)
    for name, lines in ((RESULTS, found.results), (FAILED, found.failures)):
        store.replace(name, "".join(f"{line.to_json()}\n" for line in lines).encode())
    print_lines("", f"results {to}/{RESULTS}")
    if found.failures:
        print_lines(f"failed  {to}/{FAILED}")
    if store.local:
        file = Path(store.root) / RESULTS
        page = report(file, to=store.root, run_code=run_code, written=found.written)
        print_lines(f"page    {page}")


def end(found: Swept) -> None:
    """Ends with the exit code of what failed; none failed: goes on."""
    if found.failures:
        sys.exit(SOME_FAILED if found.results else WRONG_REQUEST)


def numbers_of(
    context: click.Context, parameter: click.Parameter, text: str
) -> list[float]:  # fmt: skip
    """ "0,0.5,1" -> [0.0, 0.5, 1.0]."""
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise click.BadParameter(f"{text!r}; write numbers from 0 to 1, e.g. {PSI}") from None


@click.command()
@click.option(
    "--generated", required=True, metavar="SOURCE", help="A generator with latents, untruncated."
)
@click.option(
    "--strategies", callback=names, default="interpolate-w", show_default=True, metavar="NAMES",
    help="By name or letter; or all.",
)  # fmt: skip
@click.option(
    "--psi", callback=numbers_of, default=PSI, show_default=True, metavar="NUMBERS",
    help="How far: 1 is not at all, 0 leaves one image (of a class).",
)  # fmt: skip
@REAL
@with_options
def truncate(generated: str, strategies: list[str], psi: list[float], **rest: Any) -> None:
    """Measure what truncation does: precision, recall and distances over its strength.

    \b
    A reject-distance  draws w anew while it is too far from the mean
    B reject-density   draws w anew while it is too improbable as a Gaussian
    C clamp            moves an improbable w to the closest point of an ellipsoid
    D interpolate-w    moves every w towards the mean; NVIDIA's psi
    E interpolate-z    moves every z towards 0
    F truncate-z       draws the coordinates of z that are too large anew
    G replace          puts the mean in the place of some samples

    Each is also an option of a source for all other verbs: 'SOURCE?truncate=clamp:0.7'. Run the
    same command again after anything that stopped it, or with more strategies: what is there is
    not made twice.

    \b
    Examples:
      raymetrics truncate --real shards/real --generated digits --to truncation
      raymetrics truncate --real shards/real --generated digits --to truncation \\
          --strategies all --psi 0.2,0.5,0.8,1 --by label
    """
    from raymetrics.studies.sweep import strategies_of, truncations

    if strategies == ["all"]:
        strategies, lacking = strategies_of(generated)
        for name, reason in lacking.items():
            print_lines(f"without {name}: {reason}", err=True)
    found = swept(truncations(generated, strategies, psi), **rest)
    show(found, rest["to"], rest["run_code"])
    end(found)


@click.command()
@click.option(
    "--generated", required=True, multiple=True, metavar="SOURCE",
    help="A folder of networks, 'runs/*.pkl', or 'digits?snapshot={50,100}'; may be repeated.",
)  # fmt: skip
@click.option(
    "--watch", type=click.IntRange(1, LONGEST_PAUSE), metavar="SECONDS",
    help="Look again so often, until it is interrupted.",
)  # fmt: skip
@click.option(
    "--until", type=click.IntRange(min=1), metavar="N", help="With --watch: so many snapshots."
)
@REAL
@with_options
def snapshots(
    generated: tuple[str, ...], watch: int | None, until: int | None, **rest: Any
) -> None:
    """Measure the snapshots of a training run; the best trade-offs of precision and recall.

    With --watch those that appear are measured as they come, once they no longer grow. One that
    fails is named, and tried again when it has changed. What is there is not measured twice.

    \b
    Examples:
      raymetrics snapshots --real shards/real --generated 'digits?snapshot={200,5000}' \\
          --to run
      raymetrics snapshots --real shards/real --generated my_run --to run --watch 60 --until 1
    """
    from raymetrics.generators.snapshot_files import Watch
    from raymetrics.studies.sweep import Swept

    watched, found = Watch(generated), Swept()
    while True:
        new = watched.look(settled=watch is not None)
        if new:
            found = found.updated(swept(new, **rest))
            show(found, rest["to"], rest["run_code"])
        if watch is None or (until and len(found.measured) >= until):
            end(found)
            return
        time.sleep(watch)
