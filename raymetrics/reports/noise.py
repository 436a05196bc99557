"""Distances with noise in parts of images, as a figure and in words (Kynkaanniemi et al. 2023,
Fig. 10a)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from raymetrics import option_strings
from raymetrics.heatmaps.noisy_source import WHERE
from raymetrics.reports.figures import COLOURS, NAMED, canvas, legend, svg
from raymetrics.results import Result


@dataclass(frozen=True)
class NoisePoint:
    """The distance of a set with noise of this scale; without any it is in every region."""

    where: str
    scale: float
    value: float


def noise_points(found: Sequence[Result]) -> list[NoisePoint]:
    """The points of results, by what the sources of their generated sets say."""
    points = []
    for result in found:
        _, options = option_strings.split(result.generated.source)
        noisy = options.get("where") in WHERE and "scale" in options
        scale = float(options["scale"]) if noisy else 0.0
        for where in [options["where"]] if noisy else WHERE:
            points.append(NoisePoint(where, scale, result.value))
    return points


def noise_figure(points: Sequence[NoisePoint], label: str) -> str:
    """The distance over the scale of the noise, a line for each region."""
    figure, axes = canvas("noise: standard deviation, of pixels in 0..1", label)
    for where, colour in zip(WHERE, COLOURS, strict=False):
        line = sorted((point.scale, point.value) for point in points if point.where == where)
        axes.plot(*zip(*line, strict=True), color=colour, marker="o", markersize=4, label=NAMED)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    legend(axes, WHERE)
    return svg(figure)


def in_words(points: Sequence[NoisePoint]) -> list[str]:
    """What the points say, a sentence for each scale."""
    sentences = []
    values = {(point.where, point.scale): point.value for point in points}
    for scale in sorted({point.scale for point in points if point.scale}):
        important, unimportant, everywhere = (values[where, scale] for where in WHERE)
        right = everywhere >= important > unimportant
        sentences.append(
            f"noise of {scale:g}: important half {important:.5g}, unimportant half "
            f"{unimportant:.5g}, everywhere {everywhere:.5g}; "
            f"{'as expected' if right else 'NOT in the expected order'}"
        )
    return sentences
