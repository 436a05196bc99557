"""Add noise where a distance looks, and where it does not.

This is the check of Kynkäänniemi et al. (2023), appendix C, Fig. 10. The source

    raymetrics.heatmaps.noisy_source:NoisySource?of=SOURCE&maps=FILE&where=important&scale=0.05

returns the samples of SOURCE with Gaussian noise in one half of their pixels. SOURCE is
percent-encoded if it has options; `raymetrics.option_strings.format_options` writes such texts.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
import torch

from raymetrics.errors import SourceError
from raymetrics.generators import open_source
from raymetrics.generators.network_files import read_bytes
from raymetrics.heatmaps.overlay import upsample_heatmap
from raymetrics.npz_files import parse_npz
from raymetrics.safe_archives.damage import require_undamaged

NOISE_REGIONS = ("important", "unimportant", "everywhere")
_NOISE_STREAM = 0x6E6F697365  # keeps the noise apart from other draws with the same seed


class NoisySource:
    """The samples of a source with noise.

    of: the source.
    maps: an .npz with `sample_ids` int64 [n] and `maps` float [n, h, w], as
        `raymetrics heatmap --mean` writes it: a path that every machine can read, or a URI.
    where: "important", the half of the pixels where the upsampled map is largest; "unimportant",
        the other half; or "everywhere".
    scale: the standard deviation, of pixels in 0..1.
    device: where the source computes.

    The noise of a sample is the same in every region and at every scale, up to the factor. Raise
    SourceError for other values, and for samples without a map.
    """

    def __init__(self, of: str, maps: str, where: str, scale: str, device: str = "cpu") -> None:
        if where not in NOISE_REGIONS:
            raise SourceError(f"where is {where!r}, expected {', '.join(NOISE_REGIONS)}")
        self.where, self.scale = where, require_noise_scale(scale)
        self.inner = open_source(of, torch.device(device))
        data = read_bytes(maps)
        self.mapped_ids, self.maps = _read_maps(data, maps)
        self.sha256 = hashlib.sha256(data).hexdigest()

    @property
    def length(self) -> int | None:
        return self.inner.length

    @property
    def spec(self) -> dict[str, object]:
        """All that changes pixels."""
        inner_spec, maps = dict(self.inner.spec), self.sha256
        return {"of": inner_spec, "maps_sha256": maps, "where": self.where, "scale": self.scale}

    def labels(self, sample_ids: np.ndarray) -> np.ndarray | None:
        """Return the labels of the source."""
        return self.inner.labels(sample_ids)

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        """Return the images of samples, uint8 [n, 3, h, w]. sample_ids: int64 [n]."""
        maps = self._select_maps(sample_ids)
        images = self.inner(sample_ids)
        return np.stack(
            [
                _add_noise(image, noise_mask(heat, self.where, image.shape[1:]), self.scale, number)
                for image, heat, number in zip(images, maps, sample_ids.tolist(), strict=True)
            ]
        )

    def _select_maps(self, sample_ids: np.ndarray) -> np.ndarray:
        rows = np.searchsorted(self.mapped_ids, sample_ids).clip(max=len(self.mapped_ids) - 1)
        missing = sample_ids[self.mapped_ids[rows] != sample_ids]
        if len(missing):
            raise SourceError(
                f"there is no map of sample {missing[0]}, nor of {len(missing) - 1} more; there "
                f"are maps of {len(self.mapped_ids)} samples from {self.mapped_ids[0]} to "
                f"{self.mapped_ids[-1]}"
            )
        return self.maps[rows]


def _add_noise(image: np.ndarray, pixels: np.ndarray, scale: float, sample_id: int) -> np.ndarray:
    """Return an image with noise in some pixels, uint8 [3, h, w].

    image: uint8 [3, h, w]; pixels: bool [h, w], true for pixels with noise.

    Values are rounded, and clipped to 0..255.
    """
    field = np.random.default_rng([_NOISE_STREAM, sample_id]).standard_normal(
        image.shape, np.float32
    )
    return np.rint(image + field * pixels * (255 * scale)).clip(0, 255).astype(np.uint8)


def noise_mask(heat: np.ndarray, where: str, size: tuple[int, ...]) -> np.ndarray:
    """Return the pixels that get noise, bool [height, width]: all, or one of two equal halves.

    The median of the upsampled map separates the halves. Of pixels with equal values the earlier
    ones are less important; of an odd number of pixels one more is unimportant.
    """
    if where == "everywhere":
        return np.ones(size, bool)
    height, width = size
    order = np.argsort(upsample_heatmap(heat, height, width), axis=None, kind="stable")
    important = np.zeros(height * width, bool)
    important[order[(height * width + 1) // 2 :]] = True
    return (important if where == "important" else ~important).reshape(size)


def require_noise_scale(scale: str) -> float:
    """Return the scale as a number. Raise SourceError unless it is finite and not negative."""
    try:
        value = float(scale)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise SourceError(f"scale is {scale!r}, expected a number from 0 on, such as 0.05")
    return value


def _read_maps(data: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Return sample ids, ascending, and their maps. Raise SourceError if the file holds none."""
    remedy = "expected the maps.npz that raymetrics heatmap --mean writes"
    with require_undamaged(SourceError, f"{where} holds no heatmaps", remedy):
        arrays = parse_npz(data)
        sample_ids, maps = arrays["sample_ids"], arrays["maps"]
    if maps.ndim != 3 or sample_ids.shape != maps.shape[:1] or not len(maps):
        raise SourceError(
            f"{where} has sample_ids {list(sample_ids.shape)} and maps {list(maps.shape)}, "
            "expected [n] and [n, h, w]"
        )
    order = np.argsort(sample_ids)
    return sample_ids[order], maps[order]
