"""A page of heatmaps, and its pictures as files: Kynkaanniemi et al. 2023, Fig. 3, 4b, 11, 12."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from raymetrics.files import write_atomically
from raymetrics.heatmaps import Averages, Heatmaps, color_heatmap, overlay
from raymetrics.printable import escape_unprintable
from raymetrics.reports.grids import data_uri, tile_grid
from raymetrics.reports.html import render_template
from raymetrics.reports.noise import noise_figure, noise_points, noise_sentences
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
    """An image beside its heatmap, and what the network takes it for."""

    sample_id: int
    image: np.ndarray  # uint8 [h, w, 3], enlarged
    overlay: np.ndarray
    top_classes: list[TopClass]

    def uri(self, name: str) -> str:
        """One of the two, inside a page."""
        return data_uri(Image.fromarray(getattr(self, name)))


@dataclass(frozen=True)
class MeanPicture:
    """Mean image, mean heatmap, and one over the other, of a group of samples."""

    title: str
    count: int
    tiles: list[np.ndarray]  # uint8 [h, w, 3], enlarged

    @property
    def uri(self) -> str:
        """The three side by side, inside a page."""
        return data_uri(tile_grid(self.tiles, len(self.tiles)))


@dataclass(frozen=True)
class HeatmapPage:
    """What there is to show; parts may be empty."""

    facts: Mapping[str, object]  # what was compared, in words
    pictures: Sequence[HeatmapPicture] = ()
    means: Sequence[MeanPicture] = ()
    noise_results: Sequence[Result] = ()
    columns: int = 8  # of the grid


def _resize_picture(pixels: np.ndarray) -> np.ndarray:
    """uint8 [h, w, 3]: a small picture by a whole factor, a large one made smaller."""
    largest = max(pixels.shape[:2])
    if largest > _MAX_PICTURE_SIZE:
        picture = Image.fromarray(pixels)
        picture.thumbnail((_MAX_PICTURE_SIZE, _MAX_PICTURE_SIZE), Image.Resampling.LANCZOS)
        return np.asarray(picture)
    factor = -(-_MIN_PICTURE_SIZE // largest)
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def _heatmap_tiles(image: np.ndarray, heatmap: np.ndarray) -> list[np.ndarray]:
    """Image, heatmap, and one over the other, each uint8 [h, w, 3], of one size.

    Colours are laid over the enlarged image, so that they are smooth where its pixels are large.
    """
    large = _resize_picture(np.ascontiguousarray(image.transpose(1, 2, 0)))
    return [
        large,
        color_heatmap(heatmap, *large.shape[:2]),
        overlay(large.transpose(2, 0, 1), heatmap),
    ]


def heatmap_pictures(
    images: np.ndarray, heatmaps: Heatmaps, class_names: Sequence[str]
) -> list[HeatmapPicture]:
    """Those of single samples; names: of the classes."""
    new_pictures = []
    for row, sample_id in enumerate(heatmaps.sample_ids.tolist()):
        image, _, overlay_tile = _heatmap_tiles(images[row], heatmaps.maps[row])
        pairs = zip(
            heatmaps.classes[row].tolist(), heatmaps.probabilities[row].tolist(), strict=True
        )
        new_pictures.append(
            HeatmapPicture(
                sample_id, image, overlay_tile, [TopClass(class_names[c], p) for c, p in pairs]
            )
        )
    return new_pictures


def mean_pictures(averages: Averages, titles: Sequence[str]) -> list[MeanPicture]:
    """Those of groups that have samples; titles: of all groups."""
    return [
        MeanPicture(
            title, int(count), _heatmap_tiles(averages.mean_image(group), averages.mean_map(group))
        )
        for group, (title, count) in enumerate(zip(titles, averages.counts, strict=True))
        if count
    ]


def add_caption(pixels: np.ndarray, text: str) -> np.ndarray:
    """uint8 [h, w, 3] with a text in its upper left corner, as in Fig. 11."""
    canvas = Image.fromarray(pixels)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=max(11, canvas.width // 13))
    fitting_text = _shorten_to_width(
        escape_unprintable(text), lambda part: draw.textlength(part, font), canvas.width
    )
    draw.text(
        (_TEXT_MARGIN, _TEXT_MARGIN),
        fitting_text,
        "white",
        font,
        stroke_width=2,
        stroke_fill="black",
    )
    return np.asarray(canvas)


def _shorten_to_width(text: str, text_width: Callable[[str], float], width: int) -> str:
    """As much of a text as fits into a picture."""
    if text_width(text) <= width - 2 * _TEXT_MARGIN:
        return text
    while text and text_width(text + "...") > width - 2 * _TEXT_MARGIN:
        text = text[:-1]
    return text + "..."


def write_heatmap_page(page: HeatmapPage, to: str | Path) -> Path:
    """Writes index.html, overlays.png and means.png into a folder; the path of the page.

    The page holds all that it shows. StorageError if it cannot be written.
    """
    folder = Path(to)
    files: dict[str, bytes] = {}
    if page.pictures:
        tiles = [
            add_caption(p.overlay, p.top_classes[0].name if p.top_classes else "")
            for p in page.pictures
        ]
        files["overlays.png"] = _png_bytes(tile_grid(tiles, page.columns))
    if page.means:
        rows = [[add_caption(m.tiles[0], m.title), *m.tiles[1:]] for m in page.means]
        files["means.png"] = _png_bytes(
            tile_grid([tile for row in rows for tile in row], len(rows[0]))
        )
    files["index.html"] = _page_html(page).encode()
    for name, data in files.items():
        write_atomically(folder / name, data)
    return folder / "index.html"


def _page_html(page: HeatmapPage) -> str:
    """The page's HTML."""
    points = noise_points(page.noise_results)
    figure = noise_figure(points, page.noise_results[0].label) if points else None
    return render_template(
        "heatmap_page.html", page=page, noise=figure, sentences=noise_sentences(points)
    )


def _png_bytes(picture: Image.Image) -> bytes:
    """The bytes of a PNG."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
