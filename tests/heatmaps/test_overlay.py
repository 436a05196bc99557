"""Maps as colours over images, and means of groups."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
import torch

from raymetrics.cli.heatmap import heatmap
from raymetrics.errors import RaymetricsError, SourceError
from raymetrics.heatmaps import (
    Averages,
    Heatmaps,
    OverlayStyle,
    color_heatmap,
    overlay,
    stretch_to_unit,
    upsample_heatmap,
)
from raymetrics.heatmaps.colors import COLOR_NAMES, color_stops, color_table, color_values
from raymetrics.heatmaps.overlay import BLENDS
from tests.helpers.fake_cuda import CUDA, fake_cuda


def test_lanczos_is_that_of_its_formula(rng: np.random.Generator) -> None:
    """A kernel of sin(pi x) sin(pi x / 3) / (pi^2 x^2 / 3) at pixel centres, cut at the borders."""
    heat = rng.random((5, 7)).astype(np.float32)

    def weights(there: int, wanted: int) -> np.ndarray:
        centres = (np.arange(wanted) + 0.5) * there / wanted - 0.5
        apart = np.arange(there) - centres[:, None]
        kernel = np.sinc(apart) * np.sinc(apart / 3) * (np.abs(apart) < 3)
        return kernel / kernel.sum(axis=1, keepdims=True)

    expected = weights(5, 24) @ heat @ weights(7, 30).T
    np.testing.assert_allclose(upsample_heatmap(heat, 24, 30), expected, atol=1e-5)


def test_stretched_ends_at_0_and_1_and_a_flat_map_is_0() -> None:
    np.testing.assert_array_equal(stretch_to_unit(np.array([3.0, 1, 2])), [1, 0, 0.5])
    np.testing.assert_array_equal(stretch_to_unit(np.full((2, 2), 7, np.float32)), np.zeros((2, 2)))
    assert color_heatmap(np.full((2, 2), 7, np.float32), 9, 11).shape == (9, 11, 3)
    assert (stretch_to_unit(np.array([0, 1e-30])) == [0, 1]).all()


def test_overlay_is_half_image_half_colours() -> None:
    heat = np.array([[0, 1], [0, 1]], np.float32)
    colours = color_heatmap(heat, 8, 10)
    assert tuple(colours[0, 0]) == (68, 1, 84)  # viridis begins dark blue, and ends yellow
    assert colours[0, -1, :2].min() > 200
    image = np.full((3, 8, 10), 101, np.uint8)
    np.testing.assert_array_equal(overlay(image, heat), np.rint((colours + 101.0) / 2))


def lightness(colors: np.ndarray) -> np.ndarray:
    """Return L* of CIELAB of colors in sRGB, uint8 [n, 3]."""
    values = colors / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    return 116 * np.cbrt(luminance) - 16  # none of the colors is nearly black


@pytest.mark.parametrize("name", COLOR_NAMES)
def test_colors_grow_lighter_from_blue_to_yellow(name: str) -> None:
    table = color_table(name)
    assert (table.shape, table.dtype) == ((256, 3), np.uint8)
    found = lightness(table)
    assert (np.diff(found) > -0.05).all()  # less than a step of red or green
    assert (np.diff(found[::8]) > 0.5).all()
    assert table[0].argmax() == 2
    assert table[-1].argmin() == 2
    assert np.abs(np.diff(table.astype(int), axis=0)).max() < 12  # smooth
    assert color_stops(name, 2) == ["#" + bytes(table[row]).hex() for row in (0, -1)]


def test_viridis_is_that_of_matplotlib(rng: np.random.Generator) -> None:
    values = np.concatenate([rng.random((40, 5)), [[0, 1, 0.5, 1 / 256, 255 / 256]]])
    expected = matplotlib.colormaps["viridis"](values, bytes=True)[..., :3]
    np.testing.assert_array_equal(color_values(values, "viridis"), expected)


def test_a_sum_is_twice_the_colors_and_the_image(rng: np.random.Generator) -> None:
    """Image and sum are stretched to 0..1, each by all of its channels together."""
    heat = rng.random((2, 3)).astype(np.float32)
    image = rng.integers(30, 200, (3, 8, 10), np.uint8)
    style = OverlayStyle("parula", "sum")
    colors = color_heatmap(heat, 8, 10, style)
    total = np.empty((8, 10, 3))
    for y, x, c in np.ndindex(total.shape):
        shade = (int(image[c, y, x]) - int(image.min())) / (int(image.max()) - int(image.min()))
        total[y, x, c] = 2 * int(colors[y, x, c]) / 255 + shade
    expected = 255 * (total - total.min()) / (total.max() - total.min())
    assert np.abs(overlay(image, heat, style) - expected).max() <= 0.5 + 1e-9
    flat = overlay(np.full((3, 8, 10), 9, np.uint8), heat, style)  # an image of one color
    assert (flat.min(), flat.max()) == (0, 255)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("jet",), "colors are 'jet'; there are viridis"),
        (("viridis", "x"), "blend is 'x'; there are half"),
    ],
)
def test_other_styles_are_refused(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(RaymetricsError, match=message):
        OverlayStyle(*words)


def test_the_options_are_the_words_of_the_styles() -> None:
    choices = {p.name: tuple(p.type.choices) for p in heatmap.params if hasattr(p.type, "choices")}
    assert choices == {"colors": COLOR_NAMES, "blend": tuple(BLENDS)}


def seen(classes: list[int], maps: np.ndarray) -> Heatmaps:
    count = len(classes)
    top = np.stack([np.array(classes), np.zeros(count, int)], axis=1)
    return Heatmaps(np.arange(count), maps, np.ones(count), top, np.ones((count, 2), np.float32))


def test_means_are_of_all_and_of_classes(rng: np.random.Generator, device: torch.device) -> None:
    images = rng.integers(0, 256, (9, 3, 4, 5), np.uint8)
    maps = rng.random((9, 2, 2)).astype(np.float32)
    classes = [1, 2, 1, 3, 1, 2, 0, 1, 0]
    on_device = torch.from_numpy(images).to(device)
    parts = [
        Averages.from_images(on_device[rows], seen(classes[rows], maps[rows]), (1, 2, 7))
        for rows in (slice(0, 4), slice(4, 9))
    ]
    found = parts[0].merge(parts[1]).to_numpy()
    assert found.counts.tolist() == [9, 4, 2, 0]
    for group, chosen in enumerate((np.arange(9), [0, 2, 4, 7], [1, 5])):
        np.testing.assert_array_equal(found.images[group], images[chosen].sum(axis=0, dtype=int))
        mean = images[chosen].astype(float).mean(axis=0)
        assert np.abs(found.mean_image(group) - mean).max() <= 0.5
        np.testing.assert_allclose(found.mean_map(group), maps[chosen].mean(axis=0), rtol=1e-6)
    assert found.mean_image(3).max() == 0


@pytest.mark.parametrize("count", [256, 257, 600])
def test_white_images_have_a_white_mean(device: torch.device, count: int) -> None:
    """Their sums take more than 16 bits."""
    white = torch.full((count, 3, 2, 2), 255, dtype=torch.uint8, device=device)
    found = Averages.from_images(white, seen([0] * count, np.zeros((count, 1, 1))), (0,))
    assert (found.to_numpy().images == 255 * count).all()
    assert (found.to_numpy().mean_image(1) == 255).all()


def test_sums_of_a_gpu_without_numbers_stay_there() -> None:
    """The sums themselves are not reached."""
    with fake_cuda():
        images = torch.zeros(4, 3, 5, 6, dtype=torch.uint8, device=CUDA)
        part = Averages.from_images(images, seen([1, 2, 1, 3], np.zeros((4, 2, 2))), (1, 7))
        both = part.merge(part)
        assert (both.images.device.type, both.images.dtype) == ("cuda", torch.int32)
        assert both.to_numpy().images.shape == (3, 3, 5, 6)
        assert both.counts.tolist() == [8, 4, 0]


def test_images_of_two_sizes_have_no_mean() -> None:
    parts = [
        Averages.from_images(np.zeros((1, 3, *size), np.uint8), seen([0], np.zeros((1, 2, 2))), ())
        for size in ((4, 5), (4, 6))
    ]
    with pytest.raises(SourceError, match="some images are 4 x 5, others 4 x 6"):
        parts[0].merge(parts[1])
