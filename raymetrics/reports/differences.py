"""Lay out the differences of two sets as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from raymetrics.reports.terminal import align_columns, format_value
from raymetrics.results import Result


class Difference(Protocol):
    """A number of two sets with their difference; `raymetrics.studies.compare.ComparedNumber`."""

    @property
    def first(self) -> Result:
        """The number of the first set."""

    @property
    def second(self) -> Result:
        """The number of the second set."""

    @property
    def better(self) -> Result | None:
        """The better one; None if the samples cannot tell."""

    @property
    def difference(self) -> float:
        """Of the first less the second, which lies in low..high."""

    @property
    def low(self) -> float:
        """The lower end of the interval."""

    @property
    def high(self) -> float:
        """The upper end of the interval."""

    @property
    def p_value(self) -> float:
        """Of the test that the difference is 0."""

    @property
    def samples_to_tell(self) -> int | None:
        """Generated samples of a set that would tell a difference as large."""

    @property
    def samples_for_width(self) -> int | None:
        """Generated samples of a set that make the interval as wide as was asked for."""


def differences_table(
    differences: Sequence[Difference], names: Sequence[str], width: float | None = None
) -> str:
    """Return the differences as text, a line each, and a sentence each of what they say.

    names: of both sets.
    """
    header = ["", *names, "difference", "p"]
    rows = [
        [
            _number_name(found),
            *(format_value(r.value, None, r.interval) for r in (found.first, found.second)),
            format_value(found.difference, None, {"low": found.low, "high": found.high}),
            f"{found.p_value:.2g}",
        ]
        for found in differences
    ]
    sentences = [verdict_sentence(found, names) for found in differences]
    if width is not None:
        sentences += [_width_sentence(found, width) for found in differences]
    return "\n".join([align_columns([header, *rows]), "", *sentences])


def _number_name(found: Difference) -> str:
    """Return the name of a number, with its k if it has one."""
    k = found.first.convention.get("k")
    return found.first.measure_name if k is None else f"{found.first.measure_name}, k = {k}"


def verdict_sentence(found: Difference, names: Sequence[str]) -> str:
    """Return whether one set is better, and else how many samples would tell."""
    count = found.first.generated.count
    if found.better is not None:
        name = names[0] if found.better is found.first else names[1]
        return f"{_number_name(found)}: {name} is better (p = {found.p_value:.2g})"
    text = f"{_number_name(found)}: not distinguishable at {count} samples"
    if not found.difference:
        return text
    if found.samples_to_tell is None:
        return f"{text}, nor by more generated ones: it takes more real samples"
    return (
        f"{text}; a difference as large would show with about {found.samples_to_tell} generated "
        "samples of each"
    )


def _width_sentence(found: Difference, width: float) -> str:
    """Return how many samples make an interval of a width."""
    needed = (
        "more real samples, however many are generated"
        if found.samples_for_width is None
        else f"about {found.samples_for_width} generated samples of each"
    )
    return f"{_number_name(found)}: an interval of the difference {width:g} wide takes {needed}"
