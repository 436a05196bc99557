"""Colors of heatmaps: `viridis`, and colors like MATLAB's `parula`, which the paper's figures have.

Parula's table is MathWorks'. The colors here are straight lines in sRGB between nine colors that
look like it, from dark blue to yellow, and are not its values. Of both the lightness grows with the
value, for color-blind readers too.
"""

from __future__ import annotations

import numpy as np

from raymetrics.errors import RaymetricsError

_LIKE_PARULA = (
    "#352a87", "#0f5cdd", "#1481d6", "#06a4ca", "#2eb7a4", "#87bf77", "#d1c059", "#fec832",
    "#f9fb0e",
)  # fmt: skip
COLOR_NAMES = ("viridis", "parula")
_TABLE_SIZE = 256


def color_table(name: str) -> np.ndarray:
    """Return the colors of values from 0 to 1, uint8 [256, 3]. Raise RaymetricsError for others."""
    import matplotlib
    from matplotlib.colors import LinearSegmentedColormap

    require_colors(name)
    colormap = (
        LinearSegmentedColormap.from_list("like parula", _LIKE_PARULA, _TABLE_SIZE)
        if name == "parula"
        else matplotlib.colormaps[name]
    )
    return np.asarray(colormap(np.arange(_TABLE_SIZE), bytes=True))[:, :3]


def require_colors(name: str) -> None:
    """Raise RaymetricsError for a name that is not in COLOR_NAMES."""
    if name not in COLOR_NAMES:
        raise RaymetricsError(f"colors are {name!r}; there are {', '.join(COLOR_NAMES)}")


def color_values(values: np.ndarray, name: str) -> np.ndarray:
    """Return values in 0..1 [h, w] as colors, uint8 [h, w, 3]."""
    table = color_table(name)
    return table[(values * _TABLE_SIZE).astype(int).clip(0, _TABLE_SIZE - 1)]


def color_stops(name: str, count: int = 9) -> list[str]:
    """Return so many of the colors, evenly spaced, as "#352a87"."""
    rows = np.linspace(0, _TABLE_SIZE - 1, count).round().astype(int)
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in color_table(name)[rows]]
