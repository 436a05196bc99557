"""`raymetrics evaluate` and `report`: shards to numbers, numbers to a page."""

from __future__ import annotations

import inspect

import click

from raymetrics.cli.options_and_errors import (
    any_size_option,
    exit_with_code,
    run_code_option,
    split_commas,
    split_commas_nonempty,
)
from raymetrics.cli.resource_options import with_local_option
from raymetrics.cli.terminal import print_lines, print_table
from raymetrics.errors import RaymetricsError
from raymetrics.files import require_writable_file

_METRIC_LIST = "METRIC_LIST"  # in the help, in place of the list


class _CommandWithMetrics(click.Command):
    """A command whose help lists the metrics of the registry, which is read only for the help."""

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help with the list of metrics."""
        from raymetrics.metrics.registry import help_lines

        self.help = inspect.cleandoc(self.help or "").replace(_METRIC_LIST, help_lines())
        super().format_help_text(ctx, formatter)


@click.command(cls=_CommandWithMetrics)
@click.option("--real", required=True, metavar="URI", help="Shards, or statistics, of the real.")
@click.option("--generated", required=True, metavar="URI", help="Shards of the generated ones.")
@click.option(
    "--metrics", callback=split_commas, metavar="NAMES",
    help="Which numbers. [default: fid,kid,pr,top1, or the protocol's]",
)  # fmt: skip
@click.option(
    "--extractor", "extractors", callback=split_commas_nonempty, metavar="NAME[,NAME]",
    help="In which feature spaces. [default: all that both sets have]",
)  # fmt: skip
@click.option(
    "--column", "columns", callback=split_commas_nonempty, metavar="NAME[,NAME]",
    help="In which columns; those of logits too.",
)  # fmt: skip
@click.option("--protocol", metavar="NAME", help="fid50k_full, pr50k3_full, pr10k5, is50k, ...")
@click.option("--convention", metavar="NAME", help="As prdc, torch-fidelity, nvidia, ... does it.")
@click.option("--samples", type=int, help="Only the first so many of either side.")
@click.option("--by", type=click.Choice(["label"]), help="Every number once for each label.")
@click.option("--to", metavar="FILE", help="Add the results to this file, as JSON lines.")
@click.option("--scores", metavar="FILE", help="The realism of every sample, as Parquet.")
@click.option("--k", "ks", metavar="K[,K]", help="Neighbours. [default: the convention's, 3]")
@click.option("--kid-subset-size", type=int, help="Samples in a subset. [default: 1000]")
@click.option("--seed", type=int, help="Of KID, PRD, fid-infinity, fid-counts. [default: 0]")
@any_size_option
@exit_with_code
@with_local_option
def evaluate(
    real: str, generated: str, metrics: list[str] | None, extractors: list[str] | None,
    columns: list[str] | None, protocol: str | None, convention: str | None, samples: int | None,
    by: str | None, to: str | None, scores: str | None, ks: str | None, kid_subset_size: int | None,
    seed: int | None, any_size: bool,
) -> None:  # fmt: skip
    """Compute metrics from two shard sets, in as few passes over the shards as memory allows.

    For fid and sfid, one of the two may be a file of statistics of another program: .npz with mu
    and sigma (pytorch-fid, clean-fid, ADM, ...), .pkl of EDM2, .pt of torch-fidelity.

    \b
    METRIC_LIST

    Your own metric is a function (real, generated) -> number of two arrays of features in a module
    of yours, or a class for sets of any size: --metrics fid,my_metrics:rank_distance. Its module
    must be in this folder, or on the Python path of all machines.

    \b
    Examples:
      raymetrics evaluate --real shards/real --generated shards/generated \\
          --metrics fid,kid,pr,top1 --to results.jsonl
      raymetrics evaluate --real shards/real --generated shards/generated \\
          --protocol fid50k_full
      raymetrics evaluate --real shards/real --generated shards/generated \\
          --metrics pr,dc,realism --k 3,5 --convention prdc --scores realism.parquet
    """
    from raymetrics import results
    from raymetrics.metrics import get_convention as named
    from raymetrics.reports.terminal import results_table
    from raymetrics.studies.evaluate import evaluate as run

    if to is not None:
        results.require_appendable(to)
    changes = {"k": parse_ks(ks), "kid_subset_size": kid_subset_size, "seed": seed}
    changed_convention = None
    if convention is not None or any(value is not None for value in changes.values()):
        changed_convention = named("raymetrics" if convention is None else convention, **changes)
    new_results = run(
        real=real, generated=generated, metrics=metrics, extractors=extractors, columns=columns,
        convention=changed_convention, protocol=protocol, samples=samples, by=by, scores=scores,
        tell=lambda numbers: print_table(results_table(numbers)),
        any_size=any_size,
    )  # fmt: skip
    if to is not None:
        results.append_results(new_results, to)


def parse_ks(text: str | None) -> tuple[int, ...] | None:
    """Parse "3,5" as (3, 5). Raise RaymetricsError for text that is no list of numbers."""
    try:
        return None if text is None else tuple(int(k) for k in text.split(","))
    except ValueError:
        raise RaymetricsError(f"--k is {text!r}; write numbers, e.g. 3 or 3,5") from None


@click.command()
@click.argument("results")
@click.option("--to", required=True, metavar="DIR", help="Where index.html goes.")
@run_code_option
@exit_with_code
def report(results: str, to: str, run_code: bool) -> None:
    """Make one self-contained HTML page from a file of results.

    Samples are made again from what the file and its shard sets name. Of these a program
    (module:callable, a network's file, a pipeline) and what lies on another machine is opened only
    with --run-code: give it for files of your own.

    \b
    Example:
      raymetrics report results.jsonl --to report
    """
    from raymetrics.reports.comparison_page import report as run

    require_writable_file(f"{to}/index.html" if to else to)
    print_lines(str(run(results, to=to, run_code=run_code)))
