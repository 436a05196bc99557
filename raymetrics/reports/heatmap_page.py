"""A page of heatmaps, and its pictures as files: Kynkaanniemi et al. 2023, Fig. 3, 4b, 11, 12."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from raymetrics.files import write_atomically
from raymetrics.heatmaps import Averages, Heatmaps, coloured, overlay
from raymetrics.printable import printable
from raymetrics.reports.grids import data_uri, grid
from raymetrics.reports.html import rendered
from raymetrics.reports.noise import in_words, noise_figure, noise_points
from raymetrics.results import Result

SMALLEST, LARGEST = 192, 256  # pixels of a picture
MARGIN = 4  # of a text in a picture


@dataclass(frozen=True)
class Top:
    """A class that the network sees in an image."""

    name: str
    probability: float


@dataclass(frozen=True)
class Picture:
    """An image beside its heatmap, and what the network takes it for."""

    sample_id: int
    image: np.ndarray  # uint8 [h, w, 3], enlarged
    overlay: np.ndarray
    top: list[Top]

    def uri(self, name: str) -> str:
        """One of the two, inside a page."""
        return data_uri(Image.fromarray(getattr(self, name)))


@dataclass(frozen=True)
class Mean:
    """Mean image, mean heatmap, and one over the other, of a group of samples."""

    title: str
    count: int
    tiles: list[np.ndarray]  # uint8 [h, w, 3], enlarged

    @property
    def uri(self) -> str:
        """The three side by side, inside a page."""
        return data_uri(grid(self.tiles, len(self.tiles)))


@dataclass(frozen=True)
class HeatPage:
    """What there is to show; parts may be empty."""

    facts: Mapping[str, object]  # what was compared, in words
    pictures: Sequence[Picture] = ()
    means: Sequence[Mean] = ()
    noise: Sequence[Result] = ()
    columns: int = 8  # of the grid


def enlarged(pixels: np.ndarray) -> np.ndarray:
    """uint8 [h, w, 3]: a small picture by a whole factor, a large one made smaller."""
    largest = max(pixels.shape[:2])
    if largest > LARGEST:
        picture = Image.fromarray(pixels)
        picture.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
        return np.asarray(picture)
    factor = -(-SMALLEST // largest)
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def tiles_of(image: np.ndarray, heat: np.ndarray) -> list[np.ndarray]:
    """Image, heatmap, and one over the other, each uint8 [h, w, 3], of one size.

    Colours are laid over the enlarged image, so that they are smooth where its pixels are large.
    """
    large = enlarged(np.ascontiguousarray(image.transpose(1, 2, 0)))
    return [large, coloured(heat, *large.shape[:2]), overlay(large.transpose(2, 0, 1), heat)]


def pictures(images: np.ndarray, seen: Heatmaps, names: Sequence[str]) -> list[Picture]:
    """Those of single samples; names: of the classes."""
    found = []
    for row, sample_id in enumerate(seen.sample_ids.tolist()):
        image, _, over = tiles_of(images[row], seen.maps[row])
        pairs = zip(seen.classes[row].tolist(), seen.probabilities[row].tolist(), strict=True)
        found.append(Picture(sample_id, image, over, [Top(names[c], p) for c, p in pairs]))
    return found


def means(averages: Averages, titles: Sequence[str]) -> list[Mean]:
    """Those of groups that have samples; titles: of all groups."""
    return [
        Mean(title, int(count), tiles_of(averages.mean_image(group), averages.mean_map(group)))
        for group, (title, count) in enumerate(zip(titles, averages.counts, strict=True))
        if count
    ]


def annotated(pixels: np.ndarray, text: str) -> np.ndarray:
    """uint8 [h, w, 3] with a text in its upper left corner, as in Fig. 11."""
    canvas = Image.fromarray(pixels)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=max(11, canvas.width // 13))
    fitting = shortened(printable(text), lambda part: draw.textlength(part, font), canvas.width)
    draw.text((MARGIN, MARGIN), fitting, "white", font, stroke_width=2, stroke_fill="black")
    return np.asarray(canvas)


def shortened(text: str, length: Callable[[str], float], width: int) -> str:
    """As much of a text as fits into a picture."""
    if length(text) <= width - 2 * MARGIN:
        return text
    while text and length(text + "...") > width - 2 * MARGIN:
        text = text[:-1]
    return text + "..."


def heat_report(page: HeatPage, to: str | Path) -> Path:
    """Writes index.html, overlays.png and means.png into a folder; the path of the page.

    The page holds all that it shows. StorageError if it cannot be written.
    """
    folder = Path(to)
    files: dict[str, bytes] = {}
    if page.pictures:
        tiles = [annotated(p.overlay, p.top[0].name if p.top else "") for p in page.pictures]
        files["overlays.png"] = png(grid(tiles, page.columns))
    if page.means:
        rows = [[annotated(m.tiles[0], m.title), *m.tiles[1:]] for m in page.means]
        files["means.png"] = png(grid([tile for row in rows for tile in row], len(rows[0])))
    files["index.html"] = text_of(page).encode()
    for name, data in files.items():
        write_atomically(folder / name, data)
    return folder / "index.html"


def text_of(page: HeatPage) -> str:
    """The page's HTML."""
    points = noise_points(page.noise)
    figure = noise_figure(points, page.noise[0].label) if points else None
    return rendered("heatmap_page.html", page=page, noise=figure, sentences=in_words(points))


def png(picture: Image.Image) -> bytes:
    """The bytes of a PNG."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
