"""`raymetrics evaluate` and `report`: two sides to numbers, numbers to a page."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from raymetrics.cli.options_and_errors import (
    any_size_option,
    exit_with_code,
    parse_extractors,
    run_code_option,
    split_commas,
    split_commas_nonempty,
)
from raymetrics.cli.resource_options import with_resource_options
from raymetrics.cli.terminal import print_lines, print_table
from raymetrics.errors import RaymetricsError
from raymetrics.files import require_writable_file

if TYPE_CHECKING:
    from raymetrics.distributed.resources import Resources
    from raymetrics.results import Result

_METRIC_LIST = "METRIC_LIST"  # in the help, in place of the list


class _CommandWithMetrics(click.Command):
    """A command whose help lists the metrics of the registry, which is read only for the help."""

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help with the list of metrics."""
        from raymetrics.metrics.registry import help_lines

        self.help = inspect.cleandoc(self.help or "").replace(_METRIC_LIST, help_lines())
        super().format_help_text(ctx, formatter)


@click.command(cls=_CommandWithMetrics)
@click.option("--real", required=True, metavar="SIDE", help="Source, shards, or statistics.")
@click.option(
    "--generated",
    required=True,
    multiple=True,
    metavar="SIDE",
    help="The same of the generated ones; may be given several times.",
)
@click.option(
    "--validation",
    metavar="SIDE",
    help="For fdr: real samples that --real does not have; or 'published', for the published norms "
    "of ImageNet 256x256.",
)
@click.option(
    "--metrics",
    callback=split_commas,
    metavar="NAMES",
    help="Which numbers, each in all spaces, or in one: pr:vgg16. [default: fid,kid,pr,top1, or "
    "the protocol's]",
)
@click.option(
    "--extractor",
    "extractors",
    multiple=True,
    callback=parse_extractors,
    metavar="NAME[,NAME]",
    help="Feature networks of sources; of shards only these spaces. [default: those of the other "
    "side, the protocol's, or inception; all that both shard sets have]",
)
@click.option(
    "--samples",
    metavar="N|IDS",
    help="The first so many of either side, or these ids of the generated side: 0-49999, or "
    "107,540,1000-1999. [default: all; of "
    "a generator as many as there are real ones]",
)
@click.option("--real-samples", metavar="N|IDS", help="The same of the real side alone.")
@click.option(
    "--random-ids",
    metavar="SEED[,SEED]",
    help="Choose so many samples, or those of the protocol, at random; with several seeds also the "
    "mean of each number. [default: the first, or as the protocol says]",
)
@click.option(
    "--equal-counts",
    is_flag=True,
    help="Cut the larger side, with --by label of each label, to the smaller count, at random.",
)
@click.option(
    "--column",
    "columns",
    callback=split_commas_nonempty,
    metavar="NAME[,NAME]",
    help="In which columns; those of logits too.",
)
@click.option("--protocol", metavar="NAME", help="fid50k_full, pr50k3_full, pr10k5, is50k, ...")
@click.option("--convention", metavar="NAME", help="As prdc, torch-fidelity, nvidia, ... does it.")
@click.option(
    "--set",
    "choices",
    metavar="NAME=VALUE[,...]",
    help="Change choices of the convention or protocol: kid_subsets=20,is_splits=5,k=3+5.",
)
@click.option(
    "--under",
    type=click.Choice(["all", "conventions", "counts", "resizes"]),
    help="Also the numbers under every convention, at several sample counts, with every resize of "
    "the network; and how far they are apart.",
)
@click.option(
    "--intervals",
    is_flag=True,
    help="Also a 95 % interval of every number that has one, for other samples of both sides.",
)
@click.option("--by", type=click.Choice(["label"]), help="Every number once for each label.")
@click.option("--to", metavar="FILE", help="Add the results to this file, as JSON lines.")
@click.option(
    "--log",
    "logger",
    metavar="LOGGER",
    help="Log the numbers: wandb:PROJECT/RUN, tensorboard:DIR or mlflow:EXPERIMENT/RUN.",
)
@click.option("--page", metavar="DIR", help="Make a page of the results here.")
@click.option(
    "--keep",
    metavar="DIR",
    help="Keep the features of sources here. [default: the cache, see raymetrics cache]",
)
@click.option("--scores", metavar="FILE", help="The realism of every sample, as Parquet.")
@click.option("--k", "ks", metavar="K[,K]", help="Neighbours. [default: the convention's, 3]")
@click.option("--kid-subset-size", type=int, help="Samples in a subset. [default: 1000]")
@click.option("--engine", metavar="NAME", help="How to search neighbours. [default: tiles]")
@click.option("--seed", type=int, help="Of KID, PRD, fid-infinity, fid-counts. [default: 0]")
@any_size_option
@click.option(
    "--same-machines",
    is_flag=True,
    help="Refuse a set whose shards were made on several kinds of machine.",
)
@run_code_option
@exit_with_code
@with_resource_options
def evaluate(
    real: str,
    generated: tuple[str, ...],
    validation: str | None,
    metrics: list[str] | None,
    extractors: list[str],
    samples: str | None,
    real_samples: str | None,
    random_ids: str | None,
    equal_counts: bool,
    under: str | None,
    intervals: bool,
    columns: list[str] | None,
    protocol: str | None,
    convention: str | None,
    choices: str | None,
    by: str | None,
    to: str | None,
    logger: str | None,
    page: str | None,
    keep: str | None,
    scores: str | None,
    ks: str | None,
    kid_subset_size: int | None,
    engine: str | None,
    seed: int | None,
    any_size: bool,
    same_machines: bool,
    run_code: bool,
    resources: Resources,
) -> None:
    """Compute metrics of two sides: FID, KID, precision and recall, and their kin.

    \b
    Each SIDE is one of
      a source       a folder of images, my_model:generate, ...: see raymetrics extract
      shards         what raymetrics extract has written
      statistics     .npz with mu and sigma (pytorch-fid, clean-fid, ADM, ...), .pkl of EDM2, .pt
                     of torch-fidelity; on one side, for fid and sfid. stats:NAME of the catalogue:
                     see raymetrics statistics list
      features       of another program, .npz or .npy with floats [n, d]:
                     clips.npz?column=features&space=i3d-k400

    Features of sources are extracted first, both sides in one stream, and kept: the same command
    finds them again. Small work runs in this process, larger work on Ray.

    \b
    METRIC_LIST

    Your own metric is a function (real, generated) -> number of two arrays of features in a module
    of yours, or a class for sets of any size: --metrics fid,my_metrics:rank_distance. Its module
    must be in this folder, or on the Python path of all machines.

    \b
    Examples:
      raymetrics evaluate --real mnist --generated digits --extractor digits \\
          --samples 0-999 --real-samples 0-999 --page page
      raymetrics evaluate --real shards/real --generated shards/generated \\
          --metrics fid,kid,pr,top1 --to results.jsonl
      raymetrics evaluate --real shards/real --generated shards/generated \\
          --protocol fid50k_full
      raymetrics evaluate --real shards/real --generated shards/generated \\
          --metrics pr,dc,realism --k 3,5 --convention prdc --scores realism.parquet
    """
    from raymetrics import result_loggers, results
    from raymetrics.cli.console import progress_printer, stop_progress_bars
    from raymetrics.distributed.session import shared_session
    from raymetrics.metrics.conventions import parse_changes
    from raymetrics.neighbors import DEFAULT_ENGINE
    from raymetrics.reports.number_table import number_table
    from raymetrics.reports.sensitivity_section import sensitivity_sections
    from raymetrics.reports.terminal import results_table
    from raymetrics.studies.evaluate import evaluate as run

    if to is not None:
        results.require_appendable(to)
    if page is not None:
        require_writable_file(f"{page}/index.html")
    if logger is not None:
        result_loggers.require_logger(logger)
    changes = {"k": parse_ks(ks), "kid_subset_size": kid_subset_size, "seed": seed}
    changes |= parse_changes(choices or "")

    def print_results(numbers: list[Result]) -> None:
        stop_progress_bars()
        print_table(results_table([result for result in numbers if not result.is_variation]))
        for section in sensitivity_sections(numbers):
            print_table(f"\n{section}")

    new_results: list[Result] = []
    with shared_session():
        for generated_side in generated:
            new_results += run(
                real=real, generated=generated_side, validation=validation, metrics=metrics,
                extractors=extractors or None, samples=samples, real_samples=real_samples,
                random_ids=random_ids, equal_counts=equal_counts, under=under,
                intervals=intervals,
                columns=columns, convention=convention, protocol=protocol, changes=changes, by=by,
                scores=scores, tell=print_results, any_size=any_size, keep=keep,
                same_machines=same_machines,
                engine=engine or DEFAULT_ENGINE,
                resources=resources, progress=progress_printer(), run_code=run_code,
            )  # fmt: skip
    if len(generated) > 1:
        print_table(f"\n{number_table(new_results)}")
    if to is not None:
        results.append_results(new_results, to)
    if logger is not None:
        asked = [result for result in new_results if not result.is_variation]
        result_loggers.log_results(asked, logger)
    if page is not None:
        _write_page(new_results, page, real, *generated)


def _write_page(new_results: Sequence[Result], folder: str, *sides: str) -> None:
    """Write a page of results, with the results beside it; the user wrote the sides here."""
    from raymetrics import results
    from raymetrics.generators import permission_for
    from raymetrics.reports.comparison_page import report as run

    file = Path(folder) / results.RESULTS_FILE
    file.unlink(missing_ok=True)
    results.append_results(new_results, file)
    written = permission_for(False, *sides).written
    print_lines(f"page {run(file, to=folder, written=written)}")


def parse_ks(text: str | None) -> tuple[int, ...] | None:
    """Parse "3,5" as (3, 5). Raise RaymetricsError for text that is no list of numbers."""
    try:
        return None if text is None else tuple(int(k) for k in text.split(","))
    except ValueError:
        raise RaymetricsError(f"--k is {text!r}; write numbers, e.g. 3 or 3,5") from None


@click.command()
@click.argument("results", nargs=-1, required=True)
@click.option("--to", required=True, metavar="DIR", help="Where index.html goes.")
@run_code_option
@exit_with_code
def report(results: tuple[str, ...], to: str, run_code: bool) -> None:
    """Make one self-contained HTML page from files of results.

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
