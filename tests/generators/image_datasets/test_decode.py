"""How an image file becomes pixels: the table in raymetrics/generators/image_datasets/decode.py."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch_fidelity.datasets import ImagesPathDataset

from raymetrics.errors import SourceError
from raymetrics.generators import open_source
from raymetrics.generators.image_datasets.decode import (
    MAX_PIXELS,
    RESIZES,
    BrokenImage,
    DecodeOptions,
    decode,
)

CPU = torch.device("cpu")
RNG = np.random.default_rng(3)
RGB = RNG.integers(0, 256, (6, 8, 3), np.uint8)
GREY = RNG.integers(0, 256, (6, 8), np.uint8)
ALPHA = RNG.integers(0, 256, (6, 8), np.uint8)
AS_PEERS = DecodeOptions(exif=False)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def rgba() -> Image.Image:
    return Image.fromarray(np.dstack([RGB, ALPHA]))


def with_orientation(turn: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = turn
    return exif


def palette_with_transparency() -> bytes:
    return encoded(Image.fromarray(RGB).quantize(16), transparency=bytes(range(16)))


FILES = {
    "rgb.png": encoded(Image.fromarray(RGB)),
    "rgb.jpg": encoded(Image.fromarray(RGB), "JPEG"),
    "turned.jpg": encoded(Image.fromarray(RGB), "JPEG", exif=with_orientation(6)),
    "rgb.webp": encoded(Image.fromarray(RGB), "WEBP"),
    "rgb.bmp": encoded(Image.fromarray(RGB), "BMP"),
    "rgb.tif": encoded(Image.fromarray(RGB), "TIFF"),
    "rgb.ppm": encoded(Image.fromarray(RGB), "PPM"),
    "grey.png": encoded(Image.fromarray(GREY)),
    "bits.png": encoded(Image.fromarray(GREY).convert("1")),
    "alpha.png": encoded(rgba()),
    "grey-alpha.png": encoded(rgba().convert("LA")),
    "palette.png": palette_with_transparency(),
    "cmyk.jpg": encoded(Image.fromarray(RGB).convert("CMYK"), "JPEG"),
    "animated.webp": encoded(
        Image.fromarray(RGB), "WEBP", save_all=True, append_images=[Image.new("RGB", (8, 6))],
        lossless=True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_pixels_are_those_of_torch_fidelity(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(FILES[name])
    with warnings.catch_warnings():  # Pillow's, of transparency, which torch-fidelity lets through
        warnings.simplefilter("ignore")
        theirs = ImagesPathDataset([str(tmp_path / name)], lambda image: np.asarray(image))[0]
    np.testing.assert_array_equal(decode(FILES[name], AS_PEERS), theirs)


def test_the_first_frame_of_an_animation() -> None:
    np.testing.assert_array_equal(decode(FILES["animated.webp"], DecodeOptions()), RGB)
    frames = [Image.fromarray(GREY), Image.new("L", (8, 6))]
    gif = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(decode(gif, DecodeOptions()), np.dstack([GREY] * 3))


@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_rotation_is_applied_unless_it_is_to_be_ignored(turn: int) -> None:
    file = encoded(Image.fromarray(RGB), exif=with_orientation(turn))
    np.testing.assert_array_equal(decode(file, AS_PEERS), RGB)
    # EXIF 2.3: which side of the scene the 0th row is, and which the 0th column.
    upright = {
        1: RGB, 2: RGB[:, ::-1], 3: RGB[::-1, ::-1], 4: RGB[::-1],
        5: RGB.transpose(1, 0, 2), 6: RGB[::-1].transpose(1, 0, 2),
        7: RGB[::-1, ::-1].transpose(1, 0, 2), 8: RGB[:, ::-1].transpose(1, 0, 2),
    }  # fmt: skip
    np.testing.assert_array_equal(decode(file, DecodeOptions()), upright[turn])
    tiff = encoded(Image.fromarray(RGB), "TIFF", exif=with_orientation(turn))
    np.testing.assert_array_equal(decode(tiff, DecodeOptions()), upright[turn])


def test_alpha_is_dropped_or_composited() -> None:
    np.testing.assert_array_equal(decode(FILES["alpha.png"], DecodeOptions()), RGB)
    on_blue = decode(FILES["alpha.png"], DecodeOptions.parse(background="0000ff"))
    share = ALPHA[..., None] / 255
    np.testing.assert_allclose(on_blue, RGB * share + np.array([0, 0, 255]) * (1 - share), atol=1)
    opaque = decode(FILES["rgb.png"], DecodeOptions.parse(background="0000ff"))
    np.testing.assert_array_equal(opaque, RGB)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_of_grey_are_scaled_and_rounded(kind: str) -> None:
    values = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    actual = decode(encoded(Image.fromarray(values), kind), DecodeOptions())
    np.testing.assert_array_equal(actual, np.dstack([np.rint(values / 257).astype(np.uint8)] * 3))


def png_of(header: bytes, rows: bytes) -> bytes:
    """Encode a PNG file from the fields of its header and its rows before compression."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    data = zlib.compress(rows)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def test_sixteen_bits_of_colour_keep_the_high_byte() -> None:
    values = RNG.integers(0, 2**16, (6, 8, 3), np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    file = png_of(struct.pack(">IIBBBBB", 8, 6, 16, 2, 0, 0, 0), rows)
    np.testing.assert_array_equal(decode(file, DecodeOptions()), values // 256)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (encoded(Image.new("F", (4, 4)), "TIFF"), "it has 32-bit floats; convert it to 8 bits"),
        (encoded(Image.new("I", (4, 4)), "TIFF"), "it has 32-bit integers"),
        (b"", "no image of a format"),
        (b"GIF89a, but no more", "no image of a format"),
        (encoded(Image.fromarray(RGB), "ICO"), "no image of a format"),
        (FILES["rgb.png"][:-40], "truncated|unrecognized|Truncated"),
        (FILES["rgb.jpg"][:-40], "truncated"),
    ],
    ids=str,
)
def test_images_that_cannot_be_used(data: bytes, what: str) -> None:
    with pytest.raises(BrokenImage, match=what):
        decode(data, DecodeOptions())


@pytest.mark.parametrize("filters", ["error", "ignore", "default"])
def test_claims_of_many_pixels_are_refused_whatever_becomes_of_warnings(filters: str) -> None:
    side = int(MAX_PIXELS**0.5) + 1
    for width, height in ((50_000, 50_000), (side, side)):
        file = png_of(struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"")
        with warnings.catch_warnings(record=True):
            warnings.simplefilter(filters)  # type: ignore[arg-type]
            with pytest.raises(BrokenImage, match="pixels"):
                decode(file, DecodeOptions())


def test_the_limit_is_where_pillow_begins_to_warn() -> None:
    assert MAX_PIXELS == Image.MAX_IMAGE_PIXELS


def test_a_size_takes_the_largest_centred_square() -> None:
    wide = np.zeros((4, 10, 3), np.uint8)
    wide[:, 3:7] = 200
    file = encoded(Image.fromarray(wide))
    np.testing.assert_array_equal(decode(file, DecodeOptions(size=4)), np.full((4, 4, 3), 200))
    square = encoded(Image.fromarray(RGB[:, :6]))
    np.testing.assert_array_equal(decode(square, DecodeOptions(size=6)), RGB[:, :6])
    centre = (1, 0, 7, 6)
    small = Image.fromarray(RGB).resize((3, 3), Image.Resampling.LANCZOS, centre)
    np.testing.assert_array_equal(
        decode(FILES["rgb.png"], DecodeOptions(size=3)), np.asarray(small)
    )


def center_crop_arr(image: Image.Image, size: int) -> np.ndarray:
    """guided_diffusion/image_datasets.py of ADM, step by step."""
    while min(*image.size) >= 2 * size:
        image = image.resize(tuple(x // 2 for x in image.size), resample=Image.Resampling.BOX)
    scale = size / min(*image.size)
    image = image.resize(
        tuple(round(x * scale) for x in image.size), resample=Image.Resampling.BICUBIC
    )
    array = np.array(image)
    y, x = (array.shape[0] - size) // 2, (array.shape[1] - size) // 2
    return array[y : y + size, x : x + size]


@pytest.mark.parametrize("shape", [(90, 61), (33, 50), (24, 24), (130, 300)])
def test_published_resizes(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    image, file = Image.fromarray(pixels), encoded(Image.fromarray(pixels))

    def by(name: str) -> np.ndarray:
        return decode(file, DecodeOptions.parse(size="24", resize=name))

    np.testing.assert_array_equal(by("adm-centre"), center_crop_arr(image, 24))
    crop = min(shape)  # NVIDIA's dataset_tool.py, center_crop
    rows, columns = (slice((n - crop) // 2, (n + crop) // 2) for n in shape)
    square = Image.fromarray(np.ascontiguousarray(pixels[rows, columns]))
    theirs = np.asarray(square.resize((24, 24), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(by("nvidia-centre"), theirs)
    np.testing.assert_array_equal(
        by("whole"), np.asarray(image.resize((24, 24), Image.Resampling.LANCZOS))
    )
    assert {by(name).shape for name in RESIZES} == {(24, 24, 3)}
    described = {name: DecodeOptions(size=24, resize=name).spec["resize"] for name in RESIZES}
    assert len({*described.values()}) == len(RESIZES)
    assert described["lanczos"] == "centred square, Pillow's Lanczos"  # as sets have it


def test_a_resize_needs_a_size_and_a_known_name() -> None:
    for options in ({"resize": "box"}, {"size": "24", "resize": "sinc"}):
        with pytest.raises(SourceError, match="expected one of lanczos, box, .*with a size"):
            DecodeOptions.parse(**options)


def test_every_choice_is_in_the_spec(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(FILES["alpha.png"])
    queries = ("", "?size=4", "?size=5", "?background=ffffff", "?background=FF0000", "?exif=ignore")
    specs = [open_source(f"{tmp_path}{query}", CPU).spec for query in queries]
    assert len({str(spec) for spec in specs}) == len(queries)


@pytest.mark.parametrize(
    ("query", "what"),
    [
        ("size=0", "size is '0', expected pixels of a side"),
        ("size=x", "size is 'x'"),
        ("background=white", "background is 'white', expected six digits"),
        ("exif=no", "exif is 'no', expected apply or ignore"),
        ("x=1", "source '.*' has no option 'x'"),
        ("skip=1.png", r"has no image '1\.png' to skip; expected names as '0\.png'"),
        ("skip=0.png", "all 1 images of .* are skipped"),
    ],
)
def test_options_that_are_none(tmp_path: Path, query: str, what: str) -> None:
    (tmp_path / "0.png").write_bytes(FILES["rgb.png"])
    with pytest.raises(SourceError, match=what):
        open_source(f"{tmp_path}?{query}", CPU)


def test_mixed_sizes_need_a_size(tmp_path: Path) -> None:
    for i, width in enumerate((8, 8, 9)):
        (tmp_path / f"{i}.png").write_bytes(encoded(Image.new("RGB", (width, 6))))
    with pytest.raises(SourceError, match=r"2\.png is 9 x 6 pixels.*8 x 6.*\?size=256"):
        open_source(str(tmp_path), CPU)(np.arange(3))
    assert open_source(f"{tmp_path}?size=16", CPU)(np.arange(3)).shape == (3, 3, 16, 16)
