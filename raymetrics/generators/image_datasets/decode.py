"""Decode image files to pixels, always by the same rules.

| what | rule |
|---|---|
| formats | PNG, JPEG, WebP, BMP, TIFF, GIF, PGM and PPM, known by their first bytes |
| sizes | all images of one size; with `size=N`, the largest centered square, resized to N x N |
| filter | Pillow's Lanczos, antialiased, beyond the square's borders; else `resize=NAME` |
| colors | as they are stored: no gamma, no color profiles |
| grey, 1 bit, palette | three equal channels; 0 and 255; the palette's colors |
| alpha | dropped, the colors behind it are kept; `background=ffffff` composites on that color |
| CMYK, YCbCr | Pillow's conversion, which uses no color profile |
| 16-bit grey | value / 257, rounded to nearest |
| 16-bit color | value // 256, the high byte: Pillow reads no more |
| 32-bit integers, floats | refused: programs disagree on their range |
| EXIF rotation | applied; `exif=ignore` ignores it, except in a TIFF, which Pillow always rotates |
| animations, pages | the first frame |
| above 89,478,485 pixels | refused from the header, before memory is taken |

torch-fidelity, clean-fid and pytorch-fid call Pillow's convert("RGB") and ignore EXIF: their pixels
are those of `exif=ignore`, except for 16-bit grey, which they clip at 255.
"""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from raymetrics.errors import SourceError

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".pgm", ".ppm"}
)
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
# Pillow warns of larger images. Here they are refused, so that filters of warnings do not matter.
MAX_PIXELS = 2**30 // 12  # 89,478,485, which is 9459 x 9459
_MAX_PIXELS_AT_ONCE = 2**24  # 4096 x 4096; larger images are decoded one at a time
MAX_BYTES = 2**30  # of one encoded image
_LARGE_IMAGE = threading.Lock()
_SIXTEEN_BIT_MODES = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})


class BrokenImage(SourceError):
    """The error of one image that cannot be used, in a set whose other images may be fine."""


@dataclass(frozen=True)
class DecodeOptions:
    """The options of decoding; see the table of the module.

    size: pixels of a side, or None. resize: a name of RESIZES. background: red, green, blue in
    0..255, or None. exif: whether the EXIF rotation is applied.
    """

    size: int | None = None
    background: tuple[int, int, int] | None = None
    exif: bool = True
    resize: str = "lanczos"

    @classmethod
    def parse(
        cls,
        size: str | int | None = None,
        background: str | None = None,
        exif: str = "apply",
        resize: str | None = None,
    ) -> DecodeOptions:
        """Parse the options of a source; raise SourceError for a value that is not allowed."""
        if size is not None and not re.fullmatch(r"[1-9]\d{0,4}", str(size)):
            raise SourceError(f"size is {size!r}, expected pixels of a side, as 256")
        if background is not None and not re.fullmatch(r"[0-9a-fA-F]{6}", background):
            raise SourceError(f"background is {background!r}, expected six digits, as ffffff")
        if exif not in ("apply", "ignore"):
            raise SourceError(f"exif is {exif!r}, expected apply or ignore")
        if resize is not None and (resize not in RESIZES or size is None):
            raise SourceError(
                f"resize is {resize!r}, expected one of {', '.join(RESIZES)}, with a size: "
                "?size=256&resize=adm-centre"
            )
        color = None if background is None else tuple(bytes.fromhex(background))
        side = None if size is None else int(size)
        return cls(side, color, exif == "apply", resize or "lanczos")  # type: ignore[arg-type]

    @property
    def spec(self) -> dict[str, object]:
        """The rules of decoding that the pixels depend on, as text and numbers."""
        background = None if self.background is None else bytes(self.background).hex()
        return {
            "size": self.size,
            "resize": None if self.size is None else RESIZES[self.resize].description,
            "alpha": "dropped" if background is None else f"composited on {background}",
            "exif rotation": "applied" if self.exif else "ignored",
            "16-bit grey": "value / 257, rounded",
        }


def decode(data: bytes | np.ndarray, options: DecodeOptions) -> np.ndarray:
    """Decode an image file's bytes, or pixels uint8 [h, w, 3], to uint8 [h, w, 3].

    Raises BrokenImage, without the image's name, if the image is damaged or if the table of the
    module does not allow it.
    """
    if isinstance(data, np.ndarray):
        rgb = Image.fromarray(data)
    else:
        try:
            image = _open_image(data)
            with _large_image_lock(image):
                rgb = _to_rgb(image, options)
        except BrokenImage:
            raise
        except Exception as error:  # a decoder may raise anything on foreign bytes
            raise BrokenImage(f"{error or type(error).__name__}") from None
    if options.size is not None:
        rgb = RESIZES[options.resize].apply(rgb, options.size)
    return np.asarray(rgb)


def header_size(data: bytes | np.ndarray, options: DecodeOptions) -> tuple[int, int]:
    """Return the width and height that `decode` would give, without decoding any pixel.

    Raises BrokenImage if the header cannot be read.
    """
    if isinstance(data, np.ndarray):
        return data.shape[1], data.shape[0]
    try:
        image = _open_image(data)
        turned = options.exif and _exif_orientation(image) >= _FIRST_QUARTER_TURN
    except BrokenImage:
        raise
    except Exception as error:  # a decoder may raise anything on foreign bytes
        raise BrokenImage(f"{error or type(error).__name__}") from None
    return (image.height, image.width) if turned else (image.width, image.height)


class Resize(NamedTuple):
    """A way to make an image a square of a size, as it was published."""

    description: str  # which a shard set records
    apply: Callable[[Image.Image, int], Image.Image]


def _fit_with(filter: Image.Resampling) -> Callable[[Image.Image, int], Image.Image]:
    """Return a resize of the largest centred square by one of Pillow's filters."""
    return lambda image, size: ImageOps.fit(image, (size, size), filter)


def _adm_centre(image: Image.Image, size: int) -> Image.Image:
    """Halve by boxes, resize the shorter side bicubically, crop the centre, as ADM does.

    Dhariwal & Nichol (2021), guided_diffusion/image_datasets.py, center_crop_arr.
    """
    while min(image.size) >= 2 * size:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = size / min(image.size)
    shape = round(image.width * scale), round(image.height * scale)
    image = image.resize(shape, Image.Resampling.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))


def _nvidia_centre(image: Image.Image, size: int) -> Image.Image:
    """Crop the largest centred square and resize it, as NVIDIA's dataset_tool.py does.

    The crop comes first, so the filter sees no pixel beyond it.
    """
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    return square.resize((size, size), Image.Resampling.LANCZOS)


RESIZES: Mapping[str, Resize] = {
    "lanczos": Resize("centred square, Pillow's Lanczos", _fit_with(Image.Resampling.LANCZOS)),
    "box": Resize("centred square, Pillow's box", _fit_with(Image.Resampling.BOX)),
    "bilinear": Resize("centred square, Pillow's bilinear", _fit_with(Image.Resampling.BILINEAR)),
    "bicubic": Resize("centred square, Pillow's bicubic", _fit_with(Image.Resampling.BICUBIC)),
    "adm-centre": Resize("ADM's centre crop: boxes, then bicubic", _adm_centre),
    "nvidia-centre": Resize("NVIDIA's centre crop, then Lanczos", _nvidia_centre),
    "whole": Resize(
        "the whole image, Pillow's Lanczos",
        lambda image, size: image.resize((size, size), Image.Resampling.LANCZOS),
    ),
}


def _open_image(data: bytes) -> Image.Image:
    """Read the header of an image, but no pixels.

    Raises BrokenImage for an unknown format, and for more than `MAX_PIXELS` pixels.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        raise BrokenImage("it is no image of a format that is read here") from None
    if image.width * image.height > MAX_PIXELS:
        raise BrokenImage(
            f"it claims {image.width} x {image.height} pixels, at most {MAX_PIXELS} are read"
        )
    return image


def _large_image_lock(image: Image.Image) -> AbstractContextManager[object]:
    """Return a lock if the image is large: threads decode large images one at a time.

    Otherwise many threads might take a gigabyte each at once.
    """
    return _LARGE_IMAGE if image.width * image.height > _MAX_PIXELS_AT_ONCE else nullcontext()


def _to_rgb(image: Image.Image, options: DecodeOptions) -> Image.Image:
    """Convert an image to eight bits of red, green and blue, and apply its EXIF rotation.

    Raises BrokenImage for 32-bit integers and floats.
    """
    turn = _exif_orientation(image) if options.exif else 1
    if image.mode in _SIXTEEN_BIT_MODES or (image.mode == "I" and image.format in ("PNG", "PPM")):
        rgb = _sixteen_bits_to_eight(image).convert("RGB")
    elif image.mode in ("I", "F"):
        kind = "integers" if image.mode == "I" else "floats"
        raise BrokenImage(f"it has 32-bit {kind}; convert it to 8 bits as you want it measured")
    elif image.has_transparency_data:
        rgb = _flatten_alpha(image.convert("RGBA"), options.background)
    else:
        rgb = image.convert("RGB")
    return rgb.transpose(_TURNS[turn]) if turn in _TURNS else rgb


def _sixteen_bits_to_eight(image: Image.Image) -> Image.Image:
    """Convert grey values from 0..65535 to 0..255 by value / 257, rounded to the nearest."""
    values = np.asarray(image).astype(np.int64)
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _flatten_alpha(image: Image.Image, background: tuple[int, int, int] | None) -> Image.Image:
    """Convert an RGBA image to RGB, composited on a background or with alpha dropped."""
    if background is None:
        return image.convert("RGB")
    canvas = Image.new("RGB", image.size, background)
    canvas.paste(image, mask=image.getchannel("A"))
    return canvas


# EXIF 2.3, tag 0x0112: the operation that undoes each orientation.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


_FIRST_QUARTER_TURN = 5  # the orientations from here on exchange width and height


def _exif_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation; 1, upright, if the image has none or it cannot be read."""
    if image.format == "TIFF":
        return 1  # Pillow rotates it while loading
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # a damaged EXIF block does not mean damaged pixels
        return 1
