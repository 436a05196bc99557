"""The command line: parse, call one function, print. One file a verb."""

from __future__ import annotations

import click

from raymetrics.cli.audit import audit
from raymetrics.cli.cache import cache
from raymetrics.cli.compare import compare
from raymetrics.cli.evaluate import evaluate, report
from raymetrics.cli.export import export
from raymetrics.cli.extract import extract
from raymetrics.cli.heatmap import heatmap
from raymetrics.cli.inspect import inspect
from raymetrics.cli.interpolate import interpolate, paths
from raymetrics.cli.match import match
from raymetrics.cli.nearest import nearest
from raymetrics.cli.realism import realism
from raymetrics.cli.reproduce import reproduce
from raymetrics.cli.reweight import reweight
from raymetrics.cli.snapshots import snapshots
from raymetrics.cli.statistics import statistics
from raymetrics.cli.sweep import sweep
from raymetrics.cli.table import table
from raymetrics.cli.truncate import truncate
from raymetrics.cli.weights import weights


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="raymetrics", prog_name="raymetrics")
def main() -> None:
    """Distribution metrics for image generators, at any number of samples.

    \b
    extract      a generator or a data set -> feature shards
    weights      the feature networks' files: which are here, how the others come
    evaluate     two sources or shard sets -> numbers
    compare      two generated sets: which is better, and whether the samples can tell
    cache        the features that evaluate has kept of sources
    statistics   the reference statistics that papers use, by name
    export       a shard set -> statistics and data sets of other programs
    match        draws whose Top-1 classes are as often as in the real set
    reweight     weights of generated samples that minimise a distance; draws by them
    audit        how much of a FID difference lies in the perceptual null space
    heatmap      which parts of images a distance looks at
    sweep        many generators and settings, one a row of a table
    truncate     precision, recall and distances over the strength of truncation
    snapshots    the same over the snapshots of a training run, as they come
    realism      every generated sample by its realism; the best and the worst
    nearest      the nearest training sample of every generated one; the closest pairs
    interpolate  whether straight lines between realistic samples stay realistic
    reproduce    a table or figure of the papers, with their numbers beside ours
    inspect      what is in a shard set, what is missing, how to make it
    table        numbers -> one table: text, CSV, Markdown, LaTeX, JSON
    report       numbers -> one page

    Run extract again after anything that stopped it: what is there is not made twice.
    """


_VERBS = (
    extract,
    evaluate,
    compare,
    match,
    reweight,
    audit,
    heatmap,
    sweep,
    truncate,
    snapshots,
    realism,
    nearest,
    interpolate,
    paths,
    reproduce,
    inspect,
    export,
    weights,
    statistics,
    cache,
    table,
    report,
)
for verb in _VERBS:
    main.add_command(verb)
