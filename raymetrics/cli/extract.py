"""`raymetrics extract`: a source to shards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from raymetrics.cli.console import progress_printer, stop_progress_bars
from raymetrics.cli.options_and_errors import exit_with_code, parse_extractors
from raymetrics.cli.resource_options import with_resource_options
from raymetrics.cli.terminal import print_lines, print_table

if TYPE_CHECKING:
    from raymetrics.distributed.resources import Resources


@click.command()
@click.argument("source")
@click.option(
    "--extractor",
    "extractors",
    required=True,
    multiple=True,
    callback=parse_extractors,
    metavar="NAME[,NAME]",
    help="Feature networks; may be given several times.",
)
@click.option("--to", required=True, metavar="URI", help="Where the shards go: a path or s3://...")
@click.option(
    "--samples",
    metavar="IDS",
    help="Sample ids: 0-49999 with both ends, or 107,540,1000-1999. [default: all]",
)
@click.option("--shard-rows", default=2048, show_default=True, help="Samples in a file.")
@click.option(
    "--skip-broken",
    default=0,
    metavar="N",
    help="Leave out up to so many images that cannot be read.",
)
@click.option(
    "--max-errors",
    default=0,
    metavar="N",
    help="Leave out up to so many samples of which the source raises.",
)
@click.option("--dry-run", is_flag=True, help="Tell the plan, and make nothing.")
@exit_with_code
@with_resource_options
def extract(
    source: str,
    extractors: list[str],
    to: str,
    samples: str | None,
    shard_rows: int,
    skip_broken: int,
    max_errors: int,
    dry_run: bool,
    resources: Resources,
) -> None:
    """Stream SOURCE through feature networks into Parquet shards.

    \b
    SOURCE        digits, faces, mnist: they come with raymetrics
                  images: a folder, .zip, .tar, .parquet, .tfrecords, .npz, here or at s3://...
                  a StyleGAN, StyleGAN2 or FastGAN .pkl, a BigGAN pytorch_model.bin,
                  a TorchScript .pt, diffusers:MODEL
                  your own as module:callable, from sample ids (int64 [n]) to images
                  (uint8 [n, 3, h, w])

    \b
    --extractor   inception (FID's), vgg16 (precision and recall's), inception-torchvision,
                  clip-vit-b-32, clip-vit-l-14, clip-vit-l-14-336, dinov2-vit-s-14,
                  dinov2-vit-b-14, dinov2-vit-l-14, dinov2-vit-g-14, dinov2-vit-l-14-256,
                  dinov3-vit-l-16, clip-vit-l-14-256, mae-vit-l-16, siglip2-so400m-16-256,
                  convnextv2-base, sscd-disc-mixup, sscd-disc-mixup-320, resnet50,
                  resnet50-v1, swav-resnet50, efficientnet-lite0, digits;
                  fdr6 for the six networks of FDr6; untrained-NAME for random weights;
                  your own as network.pt or module:callable

    Options follow a question mark: 'photos?size=256', 'network.pkl?psi=0.7',
    'inception?resize=clean'; an extractor with options has an --extractor of its own.

    Sample k of a generator is the image of seed k. Run the same command again after anything
    that stopped it: only missing shards are made. On one kind of machine no option of workers
    changes a bit of the features, as long as image k depends on k alone.

    \b
    Examples:
      raymetrics extract mnist --extractor digits --to shards/real --samples 0-999
      raymetrics extract digits --extractor digits --to shards/generated --samples 0-999
    """
    if dry_run:
        from raymetrics.distributed.extraction.dry_run import plan_extraction

        print_table(
            plan_extraction(
                source,
                extractors,
                to,
                samples,
                shard_rows=shard_rows,
                resources=resources,
                skip_broken=skip_broken,
            )
        )
        return
    from raymetrics.distributed.extraction.extract import extract as run
    from raymetrics.reports.terminal import format_usage

    extraction = run(
        source,
        extractors,
        to,
        samples,
        shard_rows=shard_rows,
        resources=resources,
        skip_broken=skip_broken,
        max_errors=max_errors,
        progress=progress_printer(),
    )
    stop_progress_bars()
    if extraction.note:
        click.echo(extraction.note)
    if extraction.broken:
        print_lines(
            f"left out {len(extraction.broken)} broken images: {', '.join(extraction.broken)}"
        )
    print_lines(
        f"{to}: {extraction.shards_made} shards made ({extraction.rows} samples in "
        f"{extraction.seconds:.0f} s), {extraction.shards_present} were there; "
        f"{len(extraction.shards)} samples in all"
    )
    for sample, reason in extraction.shards.left_out.items():
        print_lines(f"left out sample {sample}: {reason}")
    if extraction.shards_made:
        print_table(format_usage(extraction.usage))
