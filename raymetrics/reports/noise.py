"""Distances with noise in parts of images, as a figure and in words (Kynkaanniemi et al. 2023,
Fig. 10a)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from raymetrics import option_strings
from raymetrics.heatmaps.noisy_source import NOISE_REGIONS
from raymetrics.reports.figures import COLORS, LEGEND_LABEL, add_legend, new_axes, svg
from raymetrics.results import Result


@dataclass(frozen=True)
class NoisePoint:
    """The distance of a set with noise of this scale; without any it is in every region."""

    region: str
    scale: float
    value: float


def noise_points(results: Sequence[Result]) -> list[NoisePoint]:
    """The points of results, by what the sources of their generated sets say."""
    points = []
    for result in results:
        _, options = option_strings.parse_options(result.generated.source)
        is_noisy = options.get("where") in NOISE_REGIONS and "scale" in options
        scale = float(options["scale"]) if is_noisy else 0.0
        for region in [options["where"]] if is_noisy else NOISE_REGIONS:
            points.append(NoisePoint(region, scale, result.value))
    return points


def noise_figure(points: Sequence[NoisePoint], label: str) -> str:
    """The distance over the scale of the noise, a line for each region."""
    figure, axes = new_axes("noise: standard deviation, of pixels in 0..1", label)
    for region, color in zip(NOISE_REGIONS, COLORS, strict=False):
        line = sorted((point.scale, point.value) for point in points if point.region == region)
        axes.plot(
            *zip(*line, strict=True), color=color, marker="o", markersize=4, label=LEGEND_LABEL
        )
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    add_legend(axes, NOISE_REGIONS)
    return svg(figure)


def noise_sentences(points: Sequence[NoisePoint]) -> list[str]:
    """What the points say, a sentence for each scale."""
    sentences = []
    values = {(point.region, point.scale): point.value for point in points}
    for scale in sorted({point.scale for point in points if point.scale}):
        important, unimportant, everywhere = (values[region, scale] for region in NOISE_REGIONS)
        as_expected = everywhere >= important > unimportant
        sentences.append(
            f"noise of {scale:g}: important half {important:.5g}, unimportant half "
            f"{unimportant:.5g}, everywhere {everywhere:.5g}; "
            f"{'as expected' if as_expected else 'NOT in the expected order'}"
        )
    return sentences
