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
from raymetrics.generators.latents.strategies import STRATEGY_BY_LETTER, Z_STRATEGIES
from raymetrics.generators.latents.truncated_generator import Truncation
from raymetrics.python_arguments import as_names
from raymetrics.shards.shard_set import ShardSet
from raymetrics.studies.sweep import SweepOptions, SweepOutcome, sweep
from raymetrics.uris import require_no_secret

_DEFAULT_PSI = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def truncate(
    *,
    real: str | ShardSet,
    generated: str,
    to: str,
    strategies: str | Sequence[str] = "interpolate-w",
    psi: Sequence[float] = _DEFAULT_PSI,
    on_message: Callable[[str], None] = lambda line: None,
    **options: Unpack[SweepOptions],
) -> SweepOutcome:
    """Measure a generator under every strategy and strength of truncation.

    real: a complete shard set, or some of its samples.
    generated: a source with latents that is not truncated yet.
    to: where the numbers of every setting are kept, and by default the shards.
    strategies: names or letters of `raymetrics.generators.latents.strategies`; "all" takes all that
    the source has, and on_message is called with a line for each that it lacks.
    psi: how far: 1 truncates nothing, 0 leaves one image (of a class).
    options: the other arguments of `sweep`.

    The source without truncation is a row of its own, and comes first, if psi has 1. Run again
    after anything that stopped it, or with more strategies: what is there is not made twice.
    Raises SourceError for no such strategy or strength, and what `sweep` does.
    """
    names = as_names(strategies)
    if names == ["all"]:
        names, lacking = available_strategies(generated)
        for name, reason in lacking.items():
            on_message(f"without {name}: {reason}")
    return sweep(truncated_sources(generated, names, psi), real=real, to=to, **options)


def available_strategies(source: str) -> tuple[list[str], dict[str, str]]:
    """List the strategies that a source has, and say why it lacks the others.

    A mapping that takes only the direction of z leaves nothing to truncate in Z. A source that
    lacks all strategies in Z is wrong in another way, which opening it tells; it lacks none here.
    """
    cpu, lacking = torch.device("cpu"), {}
    for strategy in Z_STRATEGIES:
        try:
            open_source(truncated_sources(source, [strategy], [0.5])[0], cpu)
        except SourceError as error:
            lacking[strategy] = str(error)
    if len(lacking) == len(Z_STRATEGIES):
        lacking = {}
    return [name for name in STRATEGY_BY_LETTER.values() if name not in lacking], lacking


def truncated_sources(
    source: str, strategies: Sequence[str], amounts: Sequence[float]
) -> list[str]:
    """Write the source with every strategy and every amount of truncation.

    The amount 1 stands for the source without truncation, which comes first and once. Raise
    SourceError for no such strategy or amount.
    """
    name, options = option_strings.parse_options(require_no_secret(source, SourceError))
    if "truncate" in options:
        raise RaymetricsError(f"{source} is truncated already; give the source without it")
    if not strategies or not amounts:
        raise SampleRangeError("no strategies or no amounts are asked for")
    mean = {"mean": options.pop("mean")} if "mean" in options else {}
    smaller_amounts = sorted({amount for amount in amounts if amount != 1}, reverse=True)
    texts = []
    for strategy in dict.fromkeys(strategies):
        in_z = STRATEGY_BY_LETTER.get(strategy, strategy) in Z_STRATEGIES
        for amount in smaller_amounts:
            truncation = {"truncate": f"{strategy}:{amount:g}", **({} if in_z else mean)}
            Truncation.parse(truncation["truncate"], truncation.get("mean"))
            texts.append(option_strings.format_options(name, {**options, **truncation}))
    return [option_strings.format_options(name, options), *texts] if 1 in amounts else texts
