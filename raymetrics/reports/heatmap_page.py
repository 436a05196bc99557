"""Write a page of heatmaps, and its pictures as files.

The page has Fig. 3, 4b, 10a, 11 and 12 of Kynkäänniemi et al. (2023).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from raymetrics.files import write_atomically
from raymetrics.heatmaps import (
    DEFAULT_STYLE,
    Averages,
    Heatmaps,
    OverlayStyle,
    color_heatmap,
    overlay,
)
from raymetrics.heatmaps.colors import color_stops
from raymetrics.heatmaps.noisy_source import NOISE_REGIONS
from raymetrics.printable import escape_unprintable
from raymetrics.reports.figures import COLORS, LEGEND_LABEL, add_legend, new_axes, svg
from raymetrics.reports.html import render_template
from raymetrics.reports.sample_images import (
    IMAGES_FOLDER,
    data_uri,
    image_png,
    png_bytes,
    resize_picture,
    tile_grid,
)
from raymetrics.results import Result

_MIN_PICTURE_SIZE, _MAX_PICTURE_SIZE = 192, 256  # pixels of a picture
_TEXT_MARGIN = 4  # of a text in a picture


@dataclass(frozen=True)
class TopClass:
    """A class that the network sees in an image."""

    name: str
    probability: float


@dataclass(frozen=True)
class HeatmapPicture:
    """An image beside its heatmap, with the classes that the network sees in it."""

    sample_id: int
    image: np.ndarray  # uint8 [h, w, 3], enlarged
    overlay: np.ndarray
    top_classes: list[TopClass]

    def uri(self, name: str) -> str:
        """Return "image" or "overlay" as a picture inside a page."""
        return data_uri(Image.fromarray(getattr(self, name)))


@dataclass(frozen=True)
class MeanPicture:
    """Mean image, mean heatmap, and one over the other, of a group of samples."""

    title: str
    count: int
    tiles: list[np.ndarray]  # uint8 [h, w, 3], enlarged

    @property
    def uri(self) -> str:
        """The three pictures side by side, inside a page."""
        return data_uri(tile_grid(self.tiles, len(self.tiles)))


@dataclass(frozen=True)
class NoisePoint:
    """The distance of a set with noise of this scale; a set without noise is in every region."""

    region: str
    scale: float
    value: float


@dataclass(frozen=True)
class HeatmapPage:
    """The contents of a page; all but the facts may be empty."""

    facts: Mapping[str, object]  # what was compared, in words
    pictures: Sequence[HeatmapPicture] = ()
    means: Sequence[MeanPicture] = ()
    noise_results: Sequence[Result] = ()
    columns: int = 8  # of the grid
    style: OverlayStyle = DEFAULT_STYLE


def _heatmap_tiles(image: np.ndarray, heatmap: np.ndarray, style: OverlayStyle) -> list[np.ndarray]:
    """Return image, heatmap, and one over the other, each uint8 [h, w, 3], of one size.

    Colours are laid over the enlarged image, so that they are smooth where its pixels are large.
    """
    pixels = np.ascontiguousarray(image.transpose(1, 2, 0))
    factor = -(-_MIN_PICTURE_SIZE // max(pixels.shape[:2]))
    large = resize_picture(pixels, factor, _MAX_PICTURE_SIZE)
    return [
        large,
        color_heatmap(heatmap, large.shape[0], large.shape[1], style),
        overlay(large.transpose(2, 0, 1), heatmap, style),
    ]


def heatmap_pictures(
    images: np.ndarray,
    heatmaps: Heatmaps,
    class_names: Sequence[str],
    style: OverlayStyle = DEFAULT_STYLE,
) -> list[HeatmapPicture]:
    """Return the pictures of single samples. images: uint8 [n, 3, height, width]."""
    pictures = []
    for row, sample_id in enumerate(heatmaps.sample_ids.tolist()):
        image, _, overlay_tile = _heatmap_tiles(images[row], heatmaps.maps[row], style)
        classes, probabilities = (
            heatmaps.classes[row].tolist(),
            heatmaps.probabilities[row].tolist(),
        )
        top_classes = [
            TopClass(class_names[c], p) for c, p in zip(classes, probabilities, strict=True)
        ]
        pictures.append(HeatmapPicture(sample_id, image, overlay_tile, top_classes))
    return pictures


def mean_pictures(
    averages: Averages, titles: Sequence[str], style: OverlayStyle = DEFAULT_STYLE
) -> list[MeanPicture]:
    """Return the pictures of the groups that have samples. titles: of all groups."""
    return [
        MeanPicture(
            title,
            int(count),
            _heatmap_tiles(averages.mean_image(group), averages.mean_map(group), style),
        )
        for group, (title, count) in enumerate(zip(titles, averages.counts, strict=True))
        if count
    ]


def add_caption(pixels: np.ndarray, text: str) -> np.ndarray:
    """Return pixels uint8 [h, w, 3] with a text in their upper left corner, as in Fig. 11."""
    canvas = Image.fromarray(pixels)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=max(11, canvas.width // 13))
    text = _shorten_to_width(
        escape_unprintable(text), lambda part: draw.textlength(part, font), canvas.width
    )
    corner = (_TEXT_MARGIN, _TEXT_MARGIN)
    draw.text(corner, text, "white", font, stroke_width=2, stroke_fill="black")
    return np.asarray(canvas)


def _shorten_to_width(text: str, text_width: Callable[[str], float], width: int) -> str:
    """Return as much of a text as fits into a picture."""
    if text_width(text) <= width - 2 * _TEXT_MARGIN:
        return text
    while text and text_width(text + "...") > width - 2 * _TEXT_MARGIN:
        text = text[:-1]
    return text + "..."


def write_heatmap_page(page: HeatmapPage, to: str | Path) -> Path:
    """Write index.html, overlays.png and means.png into a folder; return the path of the page.

    The page loads no other file. Raise StorageError if it cannot be written.
    """
    folder = Path(to)
    files: dict[str, bytes] = {}
    if page.pictures:
        tiles = [
            add_caption(p.overlay, p.top_classes[0].name if p.top_classes else "")
            for p in page.pictures
        ]
        files["overlays.png"] = png_bytes(tile_grid(tiles, page.columns))
    if page.means:
        rows = [[add_caption(m.tiles[0], m.title), *m.tiles[1:]] for m in page.means]
        files["means.png"] = png_bytes(
            tile_grid([tile for row in rows for tile in row], len(rows[0]))
        )
    files["index.html"] = _page_html(page).encode()
    for name, data in files.items():
        write_atomically(folder / name, data)
    return folder / "index.html"


def save_heatmap_images(
    images: np.ndarray, heatmaps: Heatmaps, to: str | Path, style: OverlayStyle = DEFAULT_STYLE
) -> int:
    """Save every image and its heatmap over it, in full size, into `to`/images; return how many.

    images: uint8 [n, 3, h, w]. The names are id-000107.png and id-000107-heatmap.png.
    """
    folder = Path(to, IMAGES_FOLDER)
    for image, heatmap, sample_id in zip(images, heatmaps.maps, heatmaps.sample_ids, strict=True):
        colored = Image.fromarray(overlay(image, heatmap, style))
        write_atomically(folder / f"id-{sample_id:06d}.png", image_png(image))
        write_atomically(folder / f"id-{sample_id:06d}-heatmap.png", png_bytes(colored))
    return 2 * len(images)


def noise_points(results: Sequence[Result]) -> list[NoisePoint]:
    """Return the points of results, by the settings of their generated sources."""
    points = []
    for result in results:
        where, scale = result.setting.get("where"), result.setting.get("scale", 0.0)
        if where in NOISE_REGIONS:
            points.append(NoisePoint(str(where), scale, result.value))
        else:
            points += [NoisePoint(region, 0.0, result.value) for region in NOISE_REGIONS]
    return points


def noise_figure(points: Sequence[NoisePoint], label: str) -> str:
    """Draw the distance over the scale of the noise, a line for each region (Fig. 10a)."""
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
    """Return a sentence for each scale: whether noise costs more where the heatmap is large."""
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


def _page_html(page: HeatmapPage) -> str:
    """Return the page as HTML."""
    facts = {**page.facts, "overlay": page.style.describe()}
    points = noise_points(page.noise_results)
    figure = noise_figure(points, page.noise_results[0].label) if points else None
    return render_template(
        "heatmap_page.html",
        page=page,
        facts=facts,
        stops=", ".join(color_stops(page.style.colors)),
        noise=figure,
        sentences=noise_sentences(points),
    )
