"""The command line: parse, call one function, print."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from raymetrics.errors import RaymetricsError

if TYPE_CHECKING:
    from raymetrics.streaming.extract import Progress


def reported(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb, with errors about the request as one line on stderr and exit code 2."""

    @functools.wraps(verb)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            verb(*args, **kwargs)
        except RaymetricsError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(2)

    return wrapped


def names(context: click.Context, parameter: click.Parameter, text: str | None) -> list[str] | None:
    """ "fid,kid" -> ["fid", "kid"]."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def extractors_of(
    context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> list[str]:
    """ "vgg16,digits" -> both; a text with options is one extractor, whatever commas it has."""
    return [name for text in texts for name in ([text] if "?" in text else text.split(",")) if name]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="raymetrics", prog_name="raymetrics")
def main() -> None:
    """Distribution metrics for image generators, at any number of samples.

    \b
    extract    a generator or a data set -> feature shards
    weights    the feature networks' files: which are here, how the others come
    evaluate   two shard sets -> numbers
    export     a shard set -> statistics and data sets of other programs
    inspect    what is in a shard set, what is missing, how to make it
    report     numbers -> one page

    Run extract again after anything that stopped it: what is there is not made twice.
    """


@main.command()
@click.argument("source")
@click.option(
    "--extractor", "extractors", required=True, multiple=True, callback=extractors_of,
    metavar="NAME[,NAME]", help="Feature networks; may be given several times.",
)  # fmt: skip
@click.option("--to", required=True, metavar="URI", help="Where the shards go: a path or s3://...")
@click.option(
    "--samples", metavar="FIRST-LAST", help="Sample ids, both ends included. [default: all]"
)
@click.option("--shard-rows", default=2048, show_default=True, help="Samples in a file.")
@click.option("--actors", type=int, help="Workers. [default: one per GPU, or per CPU]")
@click.option("--batch", default=64, show_default=True, help="Samples in a worker at a time.")
@click.option("--split", is_flag=True, help="Generate and extract in two pools of workers.")
@click.option(
    "--skip-broken", default=0, metavar="N",
    help="Leave out up to so many images that cannot be read.",
)  # fmt: skip
@reported
def extract(
    source: str, extractors: list[str], to: str, samples: str | None,
    shard_rows: int, actors: int | None, batch: int, split: bool, skip_broken: int,
) -> None:  # fmt: skip
    """Stream SOURCE through feature networks into Parquet shards.

    
    SOURCE        digits, faces, mnist: they come with raymetrics
                  images: a folder, .zip, .tar, .parquet, .npz, here or at s3://...
                  a StyleGAN2 .pkl, a TorchScript .pt, diffusers:MODEL
                  your own as module:callable, from sample ids (int64 [n]) to images
                  (uint8 [n, 3, h, w])

    
    --extractor   inception (FID's), vgg16 (precision and recall's), inception-torchvision,
                  clip-vit-b-32, clip-vit-l-14, clip-vit-l-14-336, dinov2-vit-s-14,
                  dinov2-vit-b-14, dinov2-vit-l-14, dinov2-vit-g-14, swav-resnet50,
                  efficientnet-lite0, digits; untrained-NAME for random weights;
                  your own as network.pt or module:callable

    Options follow a question mark: 'photos?size=256', 'network.pkl?psi=0.7',
    'inception?resize=clean'; an extractor with options has an --extractor of its own.

    Sample k of a generator is the image of seed k. Run the same command again after anything
    that stopped it: only missing shards are made. None of --actors, --batch and --split changes
    a bit of the features, as long as image k depends on k alone.

    \b
    Examples:
      raymetrics extract mnist --extractor digits --to shards/real --samples 0-999
      raymetrics extract digits --extractor digits --to shards/generated --samples 0-999
    """
    from raymetrics.streaming.extract import extract as run
    from raymetrics.streaming.resources import Resources

    done = run(
        source,
        extractors,
        to,
        samples,
        shard_rows=shard_rows,
        resources=Resources(actors=actors, batch=batch, fused=not split),
        skip_broken=skip_broken,
        progress=progress_printer(),
    )
    if done.broken:
        click.echo(f"left out {len(done.broken)} broken images: {', '.join(done.broken)}")
    click.echo(
        f"{to}: {done.made} shards made ({done.rows} samples in {done.seconds:.0f} s), "
        f"{done.present} were there; {len(done.shards)} samples in all"
    )


def progress_printer() -> Callable[[Progress], None]:
    """Prints a line after the first shard, and then at most every two seconds."""
    last = 0.0

    def tell(progress: Progress) -> None:
        nonlocal last
        finished = progress.rows == progress.rows_to_make
        if time.monotonic() - last < 2 and not finished:
            return
        last = time.monotonic()
        present = f", {progress.rows_present} were there" if progress.rows_present else ""
        click.echo(
            f"{progress.rows}/{progress.rows_to_make} samples{present}, "
            f"{progress.rate:.1f} rows/s, {duration(progress.seconds_to_go)} to go",
            err=True,
        )

    return tell


def duration(seconds: float) -> str:
    """75 -> "1:15"; hours where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@main.command()
@click.option(
    "--real", required=True, metavar="URI", help="Shards, or statistics, of the real."
)
@click.option("--generated", required=True, metavar="URI", help="Shards of the generated ones.")
@click.option(
    "--metrics", callback=names, metavar="NAMES",
    help="Which numbers. [default: fid,kid,pr,top1, or the protocol's]",
)  # fmt: skip
@click.option(
    "--extractor", "extractors", callback=names, metavar="NAME[,NAME]",
    help="In which feature spaces. [default: all that both sets have]",
)  # fmt: skip
@click.option(
    "--column", "columns", callback=names, metavar="NAME[,NAME]",
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
@reported
def evaluate(
    real: str, generated: str, metrics: list[str] | None, extractors: list[str] | None,
    columns: list[str] | None, protocol: str | None, convention: str | None, samples: int | None,
    by: str | None, to: str | None, scores: str | None, ks: str | None, kid_subset_size: int | None,
    seed: int | None,
) -> None:  # fmt: skip
    """Compute metrics from two shard sets, in as few passes over the shards as memory allows.

    For fid and sfid, one of the two may be a file of statistics of another program: .npz with mu
    and sigma (pytorch-fid, clean-fid, ADM, ...), .pkl of EDM2, .pt of torch-fidelity.

    \b
    fid           Frechet distance; called FID only in the space that defines FID
    fid-infinity  the same for infinitely many samples; fid-counts: at several counts
    kid           kernel distance, mean and standard deviation over 100 subsets
    pr            improved precision and recall, and their F-score; exact
    dc            density and coverage; exact
    realism       share of realistic samples, the most and the least realistic ones
    prd           F_8 and F_1/8 of Sajjadi et al.
    is            Inception Score
    top1          total variation between the histograms of Top-1 classes
    vendi         Vendi score; sfid, cmmd: where there is a column for them

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
    from raymetrics.evaluation import evaluate as run
    from raymetrics.metrics import convention as named
    from raymetrics.reports import table

    changes = {"k": neighbours(ks), "kid_subset_size": kid_subset_size, "seed": seed}
    asked = None
    if convention or any(value is not None for value in changes.values()):
        asked = named(convention or "raymetrics", **changes)
    found = run(
        real=real, generated=generated, metrics=metrics, extractors=extractors, columns=columns,
        convention=asked, protocol=protocol, samples=samples, by=by, scores=scores,
    )  # fmt: skip
    click.echo(table(found))  # first, so that they are not lost where they cannot be written
    if to:
        results.write(found, to)


def neighbours(text: str | None) -> tuple[int, ...] | None:
    """ "3,5" -> (3, 5). RaymetricsError for anything that is no numbers."""
    try:
        return None if text is None else tuple(int(k) for k in text.split(","))
    except ValueError:
        raise RaymetricsError(f"--k is {text!r}; write numbers, e.g. 3 or 3,5") from None


@main.command()
@click.argument("uri")
@click.option("--verify", is_flag=True, help="Read every shard and check its digest.")
@reported
def inspect(uri: str, verify: bool) -> None:
    """Say what is in a shard set: counts, columns, fingerprint; what is missing, and the
    command that makes it.

    \b
    Example:
      raymetrics inspect shards/generated
    """
    from raymetrics.reports.inspection import describe
    from raymetrics.shards.reader import open_shards

    shards = open_shards(uri)
    click.echo(describe(shards))
    if verify:
        shards.verify()
        click.echo("verified      every shard has the digest that it promises")


@main.command()
@click.argument("shards")
@click.option("--to", required=True, metavar="FILE_OR_DIR", help="What is not there yet.")
@click.option(
    "--as", "form", required=True, help="See above.",
    type=click.Choice(["npz", "npy", "huggingface", "webdataset"]),
)  # fmt: skip
@click.option(
    "--column", "columns", callback=names, metavar="NAME[,NAME]",
    help="Only these. [default: all; of npz the one that is not logits]",
)  # fmt: skip
@click.option("--samples", type=int, help="Only the first so many.")
@click.option("--ddof", default=1, show_default=True, help="Of npz: covariance by count - ddof.")
@reported
def export(
    shards: str, to: str, form: str, columns: list[str] | None, samples: int | None, ddof: int
) -> None:
    """Write a complete shard set as other programs read it; whole or not at all.

    \b
    npz          a file of mu and sigma, as pytorch-fid and clean-fid have them
    npy          a folder of float32 arrays [n, d], one for each column, with sample_id.npy
    huggingface  a folder that datasets.load_dataset reads
    webdataset   a folder of tar files

    \b
    Examples:
      raymetrics export shards/real --to real.npz --as npz
      raymetrics evaluate --real real.npz --generated shards/generated --metrics fid
      raymetrics export shards/real --to real-features --as huggingface
    """
    from raymetrics.shards.interop import export as run

    run(shards, to=to, format=form, columns=columns, samples=samples, ddof=ddof)
    click.echo(to)


@main.command()
@click.argument("results")
@click.option("--to", required=True, metavar="DIR", help="Where index.html goes.")
@reported
def report(results: str, to: str) -> None:
    """Make one self-contained HTML page from a file of results.

    \b
    Example:
      raymetrics report results.jsonl --to report
    """
    from raymetrics.reports import report as run

    click.echo(run(results, to=to))
