"""Parse the options of a truncation: `truncate=NAME:AMOUNT`, `mean=all`, `cutoff=8`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from raymetrics.errors import SourceError
from raymetrics.generators.latents.strategies import (
    BIGGAN_STRATEGIES,
    REGION_STRATEGIES,
    STRATEGIES,
    STRATEGY_BY_LETTER,
    THRESHOLD_STRATEGY,
    Z_STRATEGIES,
)
from raymetrics.generators.latents.w_estimation import estimation_settings

_MEANS = ("class", "all")


@dataclass(frozen=True)
class Truncation:
    """The options of a truncation.

    mean: "class" or "all", the samples whose mean and densities are used. cutoff: the number of
    first layers that get the truncated w; None for all layers.
    """

    strategy: str
    amount: float
    mean: str
    cutoff: int | None = None

    @classmethod
    def parse(cls, text: str, mean: str | None = None, cutoff: str | None = None) -> Truncation:
        """Parse the options `truncate`, `mean` and `cutoff`; SourceError for values not allowed."""
        name, _, number = text.partition(":")
        strategy = STRATEGY_BY_LETTER.get(name, name)
        if strategy not in STRATEGIES:
            letters = [f"{letter} {name}" for letter, name in STRATEGY_BY_LETTER.items()]
            known = ", ".join([*letters, *BIGGAN_STRATEGIES])
            raise SourceError(f"no truncation {name!r}; expected name:amount, of {known}")
        if mean not in (None, *_MEANS):
            raise SourceError(f"mean is {mean!r}, expected one of {', '.join(_MEANS)}")
        if mean is not None and strategy in Z_STRATEGIES:
            raise SourceError(f"{strategy} has no use for a mean of W; leave out mean={mean}")
        if cutoff is not None and strategy in Z_STRATEGIES:
            raise SourceError(
                f"{strategy} moves z, from which all layers get their w; leave out cutoff={cutoff}"
            )
        amount = _parse_amount(text, strategy, number)
        return cls(strategy, amount, mean or _MEANS[0], _parse_cutoff(cutoff))

    @property
    def spec(self) -> dict[str, object]:
        """Everything in these options that changes pixels."""
        settings: dict[str, object] = {"strategy": self.strategy, "amount": self.amount}
        if self.strategy in Z_STRATEGIES:
            return settings
        estimate = estimation_settings(thresholds=self.strategy in REGION_STRATEGIES)
        layers = {} if self.cutoff is None else {"cutoff": self.cutoff}
        return {**settings, "mean": self.mean, "distribution": estimate, **layers}


def pop_w_options(options: dict[str, str]) -> dict[str, str]:
    """Remove the options of a truncation in W, `mean` and `cutoff`, and return them.

    Beside `psi`, a cutoff is that of psi and stays.
    """
    names = ("mean",) if "psi" in options else ("mean", "cutoff")
    return {name: options.pop(name) for name in names if name in options}


def _parse_amount(text: str, strategy: str, number: str) -> float:
    """Parse an amount in 0..1, or a threshold from 0 on; SourceError, which names `text`, for
    anything else.
    """
    try:
        amount = float(number)
    except ValueError:
        amount = math.nan
    if strategy == THRESHOLD_STRATEGY:
        if not 0 <= amount < math.inf:
            raise SourceError(
                f"truncate is {text!r}, expected a threshold from 0 on after the name, as in "
                f"{THRESHOLD_STRATEGY}:1.5, beyond which coordinates of z are drawn again"
            )
    elif not 0 <= amount <= 1:
        raise SourceError(
            f"truncate is {text!r}, expected an amount from 0 to 1 after the name, as in "
            "clamp:0.7; 1 truncates nothing"
        )
    return amount


def _parse_cutoff(text: str | None) -> int | None:
    if text is None or text.isdecimal():
        return None if text is None else int(text)
    raise SourceError(f"cutoff is {text!r}, expected how many first layers are truncated, from 0")
