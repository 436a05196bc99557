"""Which parts of an image a Frechet distance looks at. torch; knows nothing of Ray.

Kynkaanniemi et al. 2023, section 2 and appendix C; the formulas are in
`raymetrics.metrics.frechet_sensitivity`.
"""

from raymetrics.heatmaps.averages import Averages
from raymetrics.heatmaps.heatmaps import TOP_CLASSES, HeatmapExtractor, Heatmaps
from raymetrics.heatmaps.overlay import color_heatmap, overlay, stretch_to_unit, upsample_heatmap

__all__ = [
    "TOP_CLASSES",
    "Averages",
    "HeatmapExtractor",
    "Heatmaps",
    "color_heatmap",
    "overlay",
    "stretch_to_unit",
    "upsample_heatmap",
]  # fmt: skip
