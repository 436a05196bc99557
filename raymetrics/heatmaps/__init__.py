"""Show which parts of an image a Fréchet distance depends on. Uses torch, and not Ray.

Kynkäänniemi et al. 2023, section 2 and appendix C; the formulas are in
`raymetrics.metrics.frechet_sensitivity`.
"""

from raymetrics.heatmaps.heatmaps import TOP_CLASSES, Averages, HeatmapExtractor, Heatmaps
from raymetrics.heatmaps.overlay import (
    DEFAULT_STYLE,
    OverlayStyle,
    color_heatmap,
    overlay,
    stretch_to_unit,
    upsample_heatmap,
)

__all__ = [
    "DEFAULT_STYLE",
    "TOP_CLASSES",
    "Averages",
    "HeatmapExtractor",
    "Heatmaps",
    "OverlayStyle",
    "color_heatmap",
    "overlay",
    "stretch_to_unit",
    "upsample_heatmap",
]
