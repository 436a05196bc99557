"""Results as a table of text."""

from __future__ import annotations

from collections.abc import Sequence

from raymetrics.printable import escape_unprintable
from raymetrics.results import Result, Side

_BETTER_TEXTS = {"lower": "lower is better", "higher": "higher is better"}


def format_value(value: float, spread: float | None = None) -> str:
    """Five significant digits, and the spread to as many decimals."""
    text = f"{value:#.5g}"
    if spread is None:
        return text
    decimals = len(text.partition(".")[2].partition("e")[0]) if "e" not in text else 7
    return f"{text} ± {spread:.{decimals}f}"


def format_convention(result: Result) -> str:
    """The convention in words, e.g. "k=3, self excluded"."""
    shown_fields = {
        key: value
        for key, value in result.convention.items()
        if key not in ("features", "arithmetic", "kernel", "estimate", "draws")
        and not key.startswith("reference_")
    }
    return ", ".join(f"{name}={value}" for name, value in shown_fields.items())


def _format_count(side: Side) -> str:
    """How many samples, or that it is not known."""
    return "unknown" if side.count is None else str(side.count)


def align_columns(rows: Sequence[Sequence[str]]) -> str:
    """Lay out cells as text, a line for each row, with columns as wide as their widest cell; what
    cannot be printed in a cell is escaped."""
    texts = [[escape_unprintable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in texts)
    return "\n".join(lines)


def results_table(results: Sequence[Result]) -> str:
    """One line per result: label, value, which way is better, samples of both sides, protocol."""
    header = ("metric", "value", "", "real", "generated", "convention")
    rows = [
        (
            result.label,
            format_value(result.value, result.spread),
            _BETTER_TEXTS[result.better],
            _format_count(result.real),
            _format_count(result.generated),
            format_convention(result),
        )
        for result in results
    ]
    dashes = ["-" * max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return align_columns([header, dashes, *rows])
