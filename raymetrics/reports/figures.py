"""Draw curves and scatters as SVG inside a page."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from raymetrics.printable import escape_unprintable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TEXT_COLOR = "#7a828b"  # legible on light and on dark paper
COLORS = (
    "#2b6cb0", "#d9822b", "#2f855a", "#b83280", "#8a63d2", "#0f9690", "#e0474c", "#96801a",
    "#a5694f", "#5b8c2a",
)  # fmt: skip
_MARKERS = "osD^v<>Phd"
_FIGURE_SIZE = (6.4, 3.6)  # inches
_CHART_SIZE = (4.4, 2.9)  # of charts that stand side by side, without their legend
_LEGEND_LINE_HEIGHT, _LEGEND_LETTERS = 0.19, 66  # inches, and letters
_MAX_TICKS = 9  # numbers on an axis
LEGEND_LABEL = "named"  # add_legend replaces it
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


@dataclass(frozen=True)
class Curve:
    """A line with its name; dashed for a second opinion."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    spread: Sequence[float]
    color: int
    dashed: bool


@dataclass(frozen=True)
class Line:
    """A line of a small chart, with texts at some of its points."""

    name: str  # "": left out of the legend
    x: Sequence[float]
    y: Sequence[float]
    style: int | None  # the color, and the marker if `marker` is None; None is the color of text
    marker: str | None = None
    size: float = 4
    stroke: str = "-"  # "" for points alone
    hollow: bool = False
    texts: Sequence[str] = ()


def line_chart(
    lines: Sequence[Line],
    x_label: str,
    y_label: str,
    *,
    from_zero: bool = False,
    flipped: bool = False,
    log: bool = False,
) -> str:
    """Draw lines with their legend above. from_zero: y starts at 0; flipped, log: the x axis."""
    legend_names = [line.name for line in lines if line.name]
    columns = max(1, _LEGEND_LETTERS // (max(map(len, legend_names), default=0) + 5))
    rows = -(-len(legend_names) // columns)
    size = _CHART_SIZE[0], _CHART_SIZE[1] + _LEGEND_LINE_HEIGHT * rows
    figure, axes = new_axes(x_label, y_label, size)
    for line in lines:
        _draw_line(axes, line)
    if log:
        axes.set_xscale("log")
        _set_plain_ticks(axes, [x for line in lines for x in line.x])
    if from_zero:
        axes.set_ylim(bottom=0)
    if flipped:
        axes.invert_xaxis()
    if legend_names:
        layout = {"ncols": columns, "handlelength": 1.4, "columnspacing": 1.2}
        add_legend(figure, legend_names, loc="outside upper left", **layout)
    return svg(figure)


def _draw_line(axes: Axes, line: Line) -> None:
    """Draw one line, with its texts beside the points."""
    color = TEXT_COLOR if line.style is None else COLORS[line.style % len(COLORS)]
    marker = _MARKERS[(line.style or 0) % len(_MARKERS)] if line.marker is None else line.marker
    axes.plot(
        line.x,
        line.y,
        color=color,
        linestyle=line.stroke,
        linewidth=1.4,
        marker=marker,
        markersize=line.size,
        markerfacecolor="none" if line.hollow else color,
        label=LEGEND_LABEL if line.name else None,
    )
    for x, y, text in zip(line.x, line.y, line.texts, strict=False):
        axes.annotate(text, (x, y), (4, 4), textcoords="offset points", color=color, fontsize=8)


def _set_plain_ticks(axes: Axes, x: Sequence[float]) -> None:
    """Label the values on a logarithmic axis with plain numbers, the largest first, where there is
    room.
    """
    ticks = sorted(set(x), reverse=True)
    min_ratio = (ticks[0] / ticks[-1]) ** (1 / _MAX_TICKS)
    shown_ticks = ticks[:1]
    for tick in ticks[1:]:
        if tick * min_ratio <= shown_ticks[-1]:
            shown_ticks.append(tick)
    axes.set_xticks(shown_ticks, [f"{tick:g}" for tick in shown_ticks])
    axes.minorticks_off()


def curve_chart(lines: Sequence[Curve], x_label: str, y_label: str) -> str:
    """Draw lines over a logarithmic axis, with a band of one standard deviation; y starts at 0.

    As in Fig. 6 of Kynkäänniemi et al. (2023).
    """
    figure, axes = new_axes(x_label, y_label)
    for line in lines:
        color = COLORS[line.color % len(COLORS)]
        style = "--" if line.dashed else "-"
        axes.plot(line.x, line.y, style, color=color, marker="o", markersize=3, label=LEGEND_LABEL)
        low, high = (np.add(line.y, sign * np.array(line.spread)) for sign in (-1, 1))
        axes.fill_between(line.x, low, high, color=color, alpha=0.15, linewidth=0)
    axes.axhline(1, color=TEXT_COLOR, linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    _set_plain_ticks(axes, [x for line in lines for x in line.x])
    axes.set_ylim(bottom=0)
    add_legend(axes, [line.name for line in lines])
    return svg(figure)


def scatter_chart(x: Sequence[float], y: Sequence[float], x_label: str, y_label: str) -> str:
    """Draw points on axes that start at 0 (Fig. 9 of Kynkäänniemi et al. 2023)."""
    figure, axes = new_axes(x_label, y_label)
    axes.plot(x, y, "o", color=COLORS[0], markersize=5)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    return svg(figure)


def new_axes(
    x_label: str, y_label: str, size: tuple[float, float] = _FIGURE_SIZE
) -> tuple[Figure, Axes]:
    """Return empty axes without a frame, and their figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x_label, color=TEXT_COLOR)
    axes.set_ylabel(y_label, color=TEXT_COLOR)
    axes.tick_params(colors=TEXT_COLOR)
    axes.grid(alpha=0.2)
    for name, edge in axes.spines.items():
        edge.set_visible(name in ("left", "bottom"))
        edge.set_color(TEXT_COLOR)
    return figure, axes


def add_legend(target: Figure | Axes, names: Sequence[str], **layout: Any) -> None:
    """Add a legend of all that was drawn with the label `LEGEND_LABEL`, in this order.

    matplotlib leaves names that begin with an underscore out of its own legends.
    """
    texts = target.legend(frameon=False, labelcolor=TEXT_COLOR, fontsize=8, **layout).get_texts()
    for text, name in zip(texts, names, strict=True):
        text.set_text(name)


def svg(figure: Figure) -> str:
    """Return the figure as an element of a page; equal figures give equal texts.

    The ids differ from those of other figures of the page, since a reference into a folded part of
    the page would draw nothing.
    """
    import matplotlib

    _set_literal(figure)
    buffer = io.StringIO()
    settings = matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "raymetrics"})
    with settings, warnings.catch_warnings():
        # Text stays text, and is drawn in a font of the reader's.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(buffer, format="svg", transparent=True, metadata=_NO_METADATA)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    id_prefix = hashlib.sha256(text.encode()).hexdigest()[:12]
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{id_prefix}-", text)


def _set_literal(figure: Figure) -> None:
    """Draw every text of a figure literally.

    A $ begins no formula, and characters that cannot be printed are escaped.
    """
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
        text.set_text(escape_unprintable(text.get_text()))
