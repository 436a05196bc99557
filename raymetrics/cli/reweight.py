"""`raymetrics reweight`: weights of generated samples that minimise FID, and draws by them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from raymetrics.cli.options_and_errors import (
    MAX_SEEDS,
    any_size_option,
    exit_with_code,
    print_resampling_results,
    require_writable_results,
    run_code_option,
    split_commas,
)
from raymetrics.cli.resource_options import with_local_option
from raymetrics.cli.terminal import print_lines
from raymetrics.errors import RaymetricsError

if TYPE_CHECKING:
    from raymetrics.attacks import Step
    from raymetrics.studies.reweight.weights_file import SampleWeights


@click.command()
@click.option("--real", required=True, metavar="URI", help="Shards of the real samples.")
@click.option("--generated", required=True, metavar="URI", help="Shards of the candidates.")
@click.option("--to", required=True, metavar="DIR", help="Where weights.parquet goes, or s3://...")
@click.option(
    "--match", "matches", default="pre_logits", show_default=True, callback=split_commas,
    metavar="FEATURES", help="One, or several between commas, each with weights of its own.",
)  # fmt: skip
@click.option(
    "--extractor", metavar="NAME",
    help="Whose features. [default: inception, or the only one of both sets]",
)  # fmt: skip
@click.option(
    "--optimizer", type=click.Choice(["lbfgs", "gd"]), default="lbfgs", show_default=True,
    help="gd is the paper's gradient descent: slow, to compare with.",
)  # fmt: skip
@click.option(
    "--max-evaluations", type=int, metavar="N",
    help="Of the distance with its gradient. [default: 100, of gd 1000]",
)  # fmt: skip
@click.option(
    "--tolerance", type=float, default=1e-3, show_default=True, metavar="T",
    help="Ends when ten evaluations lower the distance by less than this part of it.",
)  # fmt: skip
@click.option("--n", "count", type=int, help="Samples in a draw. [default: as many as real ones]")
@click.option(
    "--seeds", type=click.IntRange(1, MAX_SEEDS), default=10, show_default=True,
    help="Draws whose mean is reported.",
)  # fmt: skip
@click.option(
    "--draw", "scheme", type=click.Choice(["systematic", "multinomial"]), default="systematic",
    show_default=True, help="multinomial is the paper's, and has more noise.",
)  # fmt: skip
@click.option("--results", metavar="FILE", help="Add the results to it. [default: in DIR]")
@run_code_option
@any_size_option
@exit_with_code
@with_local_option
def reweight(
    real: str, generated: str, to: str, matches: list[str], extractor: str | None, optimizer: str,
    max_evaluations: int | None, tolerance: float, count: int | None, seeds: int, scheme: str,
    results: str | None, run_code: bool, any_size: bool,
) -> None:  # fmt: skip
    """Find weights of generated samples whose Frechet distance to real ones is least.

    Draws by them stand beside random ones, in every feature space that both sets have: mean and
    standard deviation over seeds, and whether the others second what the one says.

    \b
    weights.parquet  a weight for every sample_id, with how it was found
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
    from raymetrics.attacks.matched_features import MATCH_CHOICES
    from raymetrics.distributed.session import shared_session
    from raymetrics.shards.open_view import open_view
    from raymetrics.shards.writable import require_writable_store
    from raymetrics.studies.attack_numbers import evaluate_reweighted
    from raymetrics.studies.reweight.run import make_reweight_request, reweight_shards
    from raymetrics.studies.reweight.weights_file import require_draw_size, write_drawn

    if not matches:
        raise RaymetricsError(f"--match names no features; choose from {MATCH_CHOICES}")
    for match in matches:  # before the first of them takes its time
        make_reweight_request(
            real, generated, match, extractor, optimizer, tolerance, max_evaluations,
            any_size=any_size,
        )  # fmt: skip
    require_writable_store(to)
    require_writable_results(to, results)
    draw_size = require_draw_size(real=real, generated=generated, n=count)
    paths = []
    with shared_session():
        for match in matches:
            sample_weights = reweight_shards(
                real=real, generated=generated, to=to if len(matches) == 1 else f"{to}/{match}",
                match=match, extractor=extractor, max_evaluations=max_evaluations,
                optimizer=optimizer, tolerance=tolerance, any_size=any_size,
                on_step=step_printer(),
            )  # fmt: skip
            drawn_path = write_drawn(sample_weights, open_view(generated), draw_size, scheme)
            print_lines(
                *_summary_lines(sample_weights),
                f"drawn                  {drawn_path}: {draw_size} samples, {scheme}, seed 0",
                "",
            )
            paths.append(sample_weights.path)
        numbers = evaluate_reweighted(
            real=real, generated=generated, weights=paths, n=draw_size, seeds=seeds, scheme=scheme
        )
    print_resampling_results(numbers, to, results, run_code=run_code)


def step_printer() -> Callable[[Step], None]:
    """Prints a line at most every two seconds."""
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


def _summary_lines(sample_weights: SampleWeights) -> list[str]:
    """What was reached, as lines."""
    first, last = sample_weights.trace[0], sample_weights.trace[-1]
    ended = (
        "converged" if sample_weights.converged else "not converged: ask for more --max-evaluations"
    )
    return [
        f"distance               {first.distance:.5g} -> {last.distance:.5g}, "
        f"{sample_weights.metadata['match']} of {sample_weights.metadata['extractor']}",
        f"no weights are below   {max(0.0, last.distance - last.gap):.5g}",
        f"effective sample size  {last.effective_sample_size:.0f} of {len(sample_weights.weights)}",
        f"evaluations            {last.evaluations}, {ended}",
        f"weights                {sample_weights.path}",
    ]
