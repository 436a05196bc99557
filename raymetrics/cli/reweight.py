"""`raymetrics reweight`: weights of generated samples that minimise FID, and draws by them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from raymetrics.cli.options_and_errors import (
    any_size_option,
    exit_with_code,
    parse_seed_option,
    print_resampling_results,
    require_writable_results,
    run_code_option,
    split_commas,
)
from raymetrics.cli.resource_options import with_local_option
from raymetrics.cli.terminal import print_lines

if TYPE_CHECKING:
    from raymetrics.attacks import Step
    from raymetrics.studies.reweight.study import WeightedDraw


@click.command()
@click.option("--real", required=True, metavar="URI", help="Shards of the real samples.")
@click.option("--generated", required=True, metavar="URI", help="Shards of the candidates.")
@click.option("--to", required=True, metavar="DIR", help="Where weights.parquet goes, or s3://...")
@click.option(
    "--match",
    default="pre_logits",
    show_default=True,
    callback=split_commas,
    metavar="FEATURES",
    help="One, or several between commas, each with weights of its own.",
)
@click.option(
    "--extractor",
    metavar="NAME",
    help="Whose features. [default: inception, or the only one of both sets]",
)
@click.option(
    "--optimizer",
    type=click.Choice(["lbfgs", "gd"]),
    default="lbfgs",
    show_default=True,
    help="gd is the paper's gradient descent: slow, to compare with.",
)
@click.option(
    "--max-evaluations",
    type=int,
    metavar="N",
    help="Of the distance with its gradient. [default: 100, of gd 1000]",
)
@click.option(
    "--tolerance",
    type=float,
    default=1e-3,
    show_default=True,
    metavar="T",
    help="Ends when ten evaluations lower the distance by less than this part of it.",
)
@click.option(
    "--learning-rate",
    type=float,
    metavar="RATE",
    help="Of gd. [default: the paper's, 10 for pre_logits and 5 otherwise]",
)
@click.option(
    "--covariance",
    type=click.Choice(["paper", "program"]),
    default="paper",
    show_default=True,
    help="program divides the candidates' by the sum of weights less 1; of gd alone.",
)
@click.option(
    "--select",
    type=click.Choice(["last", "best-of-draws"]),
    default="last",
    show_default=True,
    help="Which weights: best-of-draws are those of the smallest distance of a draw on the way, "
    "as in the paper; a selected minimum is optimistic.",
)
@click.option(
    "--evaluate-every",
    type=int,
    metavar="N",
    help="Draw on the way after every N evaluations, and write the metrics to trace.jsonl. "
    "[default: never; with best-of-draws 10, of gd 500]",
)
@click.option("--n", type=int, help="Samples in a draw. [default: as many as real ones]")
@click.option(
    "--seeds",
    default="10",
    show_default=True,
    callback=parse_seed_option,
    metavar="N|LIST",
    help="Draws whose mean is reported: how many, or their seeds, e.g. 0,5,7.",
)
@click.option(
    "--draw",
    "scheme",
    type=click.Choice(["multinomial", "systematic"]),
    default="multinomial",
    show_default=True,
    help="multinomial: with replacement, as the paper; systematic: with less noise, so that the "
    "attack looks stronger.",
)
@click.option("--results", metavar="FILE", help="Add the results to it. [default: in DIR]")
@run_code_option
@any_size_option
@exit_with_code
@with_local_option
def reweight(to: str, results: str | None, run_code: bool, **request: Any) -> None:
    """Find weights of generated samples whose Frechet distance to real ones is least.

    Draws by them stand beside random ones, in every feature space that both sets have: mean and
    standard deviation over seeds, and whether the others second what the one says.

    \b
    weights.parquet  a weight for every sample_id, with how it was found
    trace.jsonl      with --evaluate-every: metrics of draws on the way
    drawn.parquet    sample ids drawn by the weights with seed 0; a selection for
                     other verbs: 'SHARDS?ids=DIR/drawn.parquet'
    results.jsonl    the numbers; and a page of them, index.html

    With several --match each has a folder of its own below DIR.

    Give the same command again after anything that stopped it: it goes on from where it was,
    with the same bits; so does one with more --max-evaluations, until the weights have converged.

    \b
    --match
      pre_logits     what FID is computed from
      logits         of all classes; probabilities: their softmax
      top_n:N        which N classes have the largest logits, of each sample
      middle_n:N     which N classes lie in the middle of the order

    \b
    Examples:
      raymetrics reweight --real shards/real --generated shards/generated --to weights
      raymetrics reweight --real shards/real --generated shards/generated \\
          --match top_n:1,top_n:5,middle_n:5 --extractor digits --to weights
      raymetrics evaluate --real shards/real \\
          --generated 'shards/generated?ids=weights/drawn.parquet' --metrics fid,kid
    """
    from raymetrics.studies.reweight.study import reweight as run

    require_writable_results(to, results)
    reweighted = run(to=to, on_step=step_printer(), tell=_print_draw, **request)
    print_resampling_results(reweighted.numbers, to, results, run_code=run_code)


def step_printer() -> Callable[[Step], None]:
    """Return a printer of a line at most every two seconds."""
    last_time = 0.0

    def print_step(step: Step) -> None:
        nonlocal last_time
        if time.monotonic() - last_time < 2:
            return
        last_time = time.monotonic()
        print_lines(
            f"{step.evaluations:.0f} evaluations, distance {step.distance:.5g}, "
            f"effective sample size {step.effective_sample_size:.0f}",
            err=True,
        )

    return print_step


def _print_draw(draw: WeightedDraw) -> None:
    """Print what the weights reach, and where they and a draw by them are."""
    weights = draw.weights
    first, last = weights.trace[0], weights.trace[-1]
    bound = f"{max(0.0, last.distance - last.gap):.5g}"
    ended = "converged" if weights.converged else "not converged: ask for more --max-evaluations"
    print_lines(
        f"distance               {first.distance:.5g} -> {weights.distance:.5g}, "
        f"{weights.metadata['match']} of {weights.metadata['extractor']}",
        f"no weights are below   {'not known' if math.isnan(last.gap) else bound}",
        f"effective sample size  {weights.effective_sample_size:.0f} of {len(weights.weights)}",
        f"evaluations            {last.evaluations}, {ended}",
        f"weights                {weights.path}",
        *_selection_lines(weights.metadata),
        f"drawn                  {draw.path}: {draw.n} samples, {draw.scheme}, seed 0",
        "",
    )


def _selection_lines(metadata: Mapping[str, Any]) -> list[str]:
    """Return a line about weights that were selected by draws; none about the last ones."""
    if "selected" not in metadata:
        return []
    selected = metadata["selected"]
    return [
        f"selected               after {selected['evaluations']} evaluations, by the smallest "
        f"distance of a draw on the way, {selected['smallest']:.5g}: optimistic"
    ]
