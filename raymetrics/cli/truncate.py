"""`raymetrics truncate`: what truncation does to a generator."""

from __future__ import annotations

from typing import Any

import click

from raymetrics.cli.options_and_errors import split_commas
from raymetrics.cli.sweep_options import (
    exit_if_failed,
    log_numbers,
    print_and_write,
    real_option,
    with_sweep_options,
)
from raymetrics.cli.terminal import print_lines

_DEFAULT_AMOUNTS = "0,0.2,0.4,0.6,0.8,1"


def _parse_floats(context: click.Context, parameter: click.Parameter, text: str) -> list[float]:
    """Take "0,0.5,1" apart into [0.0, 0.5, 1.0]."""
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise click.BadParameter(
            f"{text!r}; write numbers from 0 to 1, e.g. {_DEFAULT_AMOUNTS}"
        ) from None


@click.command()
@click.option(
    "--generated", required=True, metavar="SOURCE", help="A generator with latents, untruncated."
)
@click.option(
    "--strategies",
    callback=split_commas,
    default="interpolate-w",
    show_default=True,
    metavar="NAMES",
    help="By name or letter; or all, the seven with letters.",
)
@click.option(
    "--amounts",
    "--psi",
    "amounts",
    callback=_parse_floats,
    default=_DEFAULT_AMOUNTS,
    show_default=True,
    metavar="NUMBERS",
    help="How far: 1 is not at all, 0 leaves one image (of a class); or thresholds.",
)
@real_option
@with_sweep_options
def truncate(to: str, run_code: bool, logger: str | None, **request: Any) -> None:
    """Measure what truncation does: precision, recall and distances over its strength.

    \b
    A reject-distance  draws w anew while it is too far from the mean
    B reject-density   draws w anew while it is too improbable as a Gaussian
    C clamp            moves an improbable w to the closest point of an ellipsoid
    D interpolate-w    moves every w towards the mean; NVIDIA's psi
    E interpolate-z    moves every z towards 0
    F truncate-z       draws the coordinates of z that are too large anew
    G replace          puts the mean in the place of some samples
    truncate-z-at      as F, but the number is the threshold, as BigGAN's
    scale-truncated-z  psi times normals truncated at 2, as users of BigGAN draw z

    Each is also an option of a source for all other verbs: 'SOURCE?truncate=clamp:0.7'. With
    'SOURCE?cutoff=8' strategies in W truncate the first 8 layers alone, if the generator has
    layers. Run the same command again after anything that stopped it, or with more strategies: what
    is there is not made twice.

    \b
    Examples:
      raymetrics truncate --real shards/real --generated digits --to truncation
      raymetrics truncate --real shards/real --generated digits --to truncation \\
          --strategies all --amounts 0.2,0.5,0.8,1 --by label
      raymetrics truncate --real shards/real --generated digits --to truncation \\
          --strategies truncate-z-at --amounts 0.5,1,1.5,2
    """
    from raymetrics.studies.truncate import truncate as run

    outcome = run(
        to=to, run_code=run_code, on_message=lambda line: print_lines(line, err=True), **request
    )
    print_and_write(outcome, to, run_code)
    log_numbers(outcome, logger)
    exit_if_failed(outcome)
