"""Which parts of an image a Frechet distance looks at. torch; knows nothing of Ray.

Kynkaanniemi et al. 2023, section 2 and appendix C; the formulas are in
`raymetrics.metrics.frechet_sensitivity`.
"""

from raymetrics.heatmaps.averages import Averages
from raymetrics.heatmaps.heatmaps import TOP, Heatmaps, Lens
from raymetrics.heatmaps.overlay import coloured, overlay, stretched, upsampled

__all__ = [
    "TOP", "Averages", "Heatmaps", "Lens", "coloured", "overlay", "stretched", "upsampled",
]  # fmt: skip
