"""Curves and scatters, as SVG inside a page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#7a828b"  # legible on light and on dark paper
COLOURS = ("#2b6cb0", "#d9822b", "#2f855a", "#b83280")
SIZE = (6.4, 3.6)  # inches
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


@dataclass(frozen=True)
class Curve:
    """A line with its name; dashed for a second opinion."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    spread: Sequence[float]
    colour: int
    dashed: bool


def curves(lines: Sequence[Curve], x_label: str, y_label: str) -> str:
    """Lines over a logarithmic axis, with a band of one deviation; y starts at 0 (Fig. 6)."""
    figure, axes = canvas(x_label, y_label)
    for line in lines:
        colour = COLOURS[line.colour % len(COLOURS)]
        style = "--" if line.dashed else "-"
        axes.plot(line.x, line.y, style, color=colour, marker="o", markersize=3, label=line.name)
        low, high = (np.add(line.y, sign * np.array(line.spread)) for sign in (-1, 1))
        axes.fill_between(line.x, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.axhline(1, color=INK, linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    ticks = sorted({x for line in lines for x in line.x})
    axes.set_xticks(ticks, [f"{x:g}" for x in ticks])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, labelcolor=INK, fontsize=8)
    return svg(figure)


def scatter(x: Sequence[float], y: Sequence[float], x_label: str, y_label: str) -> str:
    """Points, on axes that start at 0 (Fig. 9)."""
    figure, axes = canvas(x_label, y_label)
    axes.plot(x, y, "o", color=COLOURS[0], markersize=5)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    return svg(figure)


def canvas(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    """Empty axes without a frame."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x_label, color=INK)
    axes.set_ylabel(y_label, color=INK)
    axes.tick_params(colors=INK)
    axes.grid(alpha=0.2)
    for name, edge in axes.spines.items():
        edge.set_visible(name in ("left", "bottom"))
        edge.set_color(INK)
    return figure, axes


def svg(figure: Figure) -> str:
    """The picture as an element of a page; the same figure gives the same text."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "raymetrics"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata=NO_METADATA)
    text = buffer.getvalue()
    return text[text.index("<svg") :]
