"""What truncation does to a generator: a sweep over strategies and strengths.

Kynkaanniemi et al. 2019, section 4, Fig. 6: precision and recall over the strength of truncation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Unpack

import torch

from raymetrics import option_strings
from raymetrics.errors import RaymetricsError, SampleRangeError, SourceError
from raymetrics.generators import open_source
from raymetrics.generators.latents import Truncation, pop_w_options
from raymetrics.generators.latents.strategies import (
    BIGGAN_STRATEGIES,
    STRATEGY_BY_LETTER,
    Z_STRATEGIES,
)
from raymetrics.python_arguments import as_names
from raymetrics.shards.shard_set import ShardSet
from raymetrics.studies.sweep import SweepOptions, SweepOutcome, sweep
from raymetrics.uris import require_no_secret

_DEFAULT_AMOUNTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def truncate(
    *,
    real: str | ShardSet,
    generated: str,
    to: str,
    strategies: str | Sequence[str] = "interpolate-w",
    amounts: Sequence[float] = _DEFAULT_AMOUNTS,
    on_message: Callable[[str], None] = lambda line: None,
    **options: Unpack[SweepOptions],
) -> SweepOutcome:
    """Measure a generator under every strategy and strength of truncation.

    real: a complete shard set, or some of its samples.
    generated: a source with latents that is not truncated yet.
    to: where the numbers of every setting are kept, and by default the shards.
    strategies: names or letters of `raymetrics.generators.latents.strategies`; "all" takes those of
    the seven of Kynkaanniemi et al. that the source has, and on_message is called with a line for
    each that it lacks.
    amounts: how far, in 0..1: 1 truncates nothing, 0 leaves one image (of a class). For
    "truncate-z-at" they are thresholds, which may be above 1, and for "scale-truncated-z" psi of
    BigGAN; with 1 both truncate too.
    options: the other arguments of `sweep`.

    The source without truncation is a row of its own, and comes first, if the amounts have 1. Run
    again after anything that stopped it, or with more strategies: what is there is not made twice.
    Raises SourceError for no such strategy or amount, and what `sweep` does.
    """
    names = as_names(strategies)
    if names == ["all"]:
        names, lacking = available_strategies(generated)
        for name, reason in lacking.items():
            on_message(f"without {name}: {reason}")
    return sweep(truncated_sources(generated, names, amounts), real=real, to=to, **options)


def available_strategies(source: str) -> tuple[list[str], dict[str, str]]:
    """List the strategies of the paper that a source has, and say why it lacks the others.

    A mapping that takes only the direction of z leaves nothing to truncate in Z. A source that
    lacks all strategies in Z is wrong in another way, which opening it tells; it lacks none here.
    """
    cpu, lacking = torch.device("cpu"), {}
    names = list(STRATEGY_BY_LETTER.values())
    names_in_z = [name for name in names if name in Z_STRATEGIES]
    for strategy in names_in_z:
        try:
            open_source(truncated_sources(source, [strategy], [0.5])[0], cpu)
        except SourceError as error:
            lacking[strategy] = str(error)
    if len(lacking) == len(names_in_z):
        lacking = {}
    return [name for name in names if name not in lacking], lacking


def truncated_sources(
    source: str, strategies: Sequence[str], amounts: Sequence[float]
) -> list[str]:
    """Write the source with every strategy and every amount of truncation.

    The amount 1 stands for the source without truncation, which comes first and once; strategies
    that truncate with 1 too have a source of their own. Raise SourceError for no such strategy or
    amount.
    """
    name, options = option_strings.parse_options(require_no_secret(source, SourceError))
    if "truncate" in options:
        raise RaymetricsError(f"{source} is truncated already; give the source without it")
    if not strategies or not amounts:
        raise SampleRangeError("no strategies or no amounts are asked for")
    w_options = pop_w_options(options)
    texts = [option_strings.format_options(name, options)] if 1 in amounts else []
    for strategy in dict.fromkeys(strategies):
        in_z = STRATEGY_BY_LETTER.get(strategy, strategy) in Z_STRATEGIES
        for amount in sorted(set(amounts), reverse=True):
            text, others = f"{strategy}:{amount:g}", {} if in_z else w_options
            Truncation.parse(text, **others)
            if amount != 1 or strategy in BIGGAN_STRATEGIES:
                all_options = {**options, "truncate": text, **others}
                texts.append(option_strings.format_options(name, all_options))
    return texts
