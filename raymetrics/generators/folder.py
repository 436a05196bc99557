"""A folder of images as a data set: sample k is the k-th file in the order of their paths."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from raymetrics.errors import SourceError
from raymetrics.provenance import fingerprint

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
# Pillow would cut these off at 255 without a word.
DEEP_MODES = frozenset({"I", "F", "I;16", "I;16B", "I;16L", "I;16N"})


class Folder:
    """The images below a folder, all of one size, or cropped and resized to `size` pixels.

    Where every image lies in a sub-folder, the first-level sub-folders are the classes.
    """

    def __init__(self, path: str, size: int | None = None) -> None:
        self.root = Path(path)
        self.name = self.root.resolve().name
        self.size = None if size is None else int(size)
        self.files = sorted(
            file.relative_to(self.root).as_posix()
            for file in self.root.rglob("*")
            if file.suffix.lower() in SUFFIXES and file.is_file()
        )
        if not self.files:
            kinds = ", ".join(sorted(SUFFIXES))
            raise SourceError(f"no images in {path}; expected files that end in {kinds}")

    @property
    def length(self) -> int:
        return len(self.files)

    @cached_property
    def spec(self) -> dict[str, object]:
        """Covers the bytes of every file, so that a changed image makes another set."""

        def digest(file: str) -> str:
            with (self.root / file).open("rb") as opened:
                return hashlib.file_digest(opened, "sha256").hexdigest()

        with ThreadPoolExecutor() as pool:
            digests = dict(zip(self.files, pool.map(digest, self.files), strict=True))
        return {"name": "folder", "files_sha256": fingerprint(digests), "size": self.size}

    @property
    def listing(self) -> str:
        """Names and bytes of all files: what a worker compares, as it does not read them all."""
        sizes = {file: (self.root / file).stat().st_size for file in self.files}
        return fingerprint({"files": sizes, "size": self.size})

    @cached_property
    def classes(self) -> list[str] | None:
        """The names of the first-level sub-folders, if every image lies in one."""
        parents = {file.split("/")[0] for file in self.files if "/" in file}
        return sorted(parents) if all("/" in file for file in self.files) else None

    def labels(self, sample_ids: np.ndarray) -> np.ndarray | None:
        """The index of each image's class in `classes`, int64 [n]."""
        if self.classes is None:
            return None
        index = {name: i for i, name in enumerate(self.classes)}
        return np.array([index[self.files[k].split("/")[0]] for k in sample_ids], np.int64)

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        """sample_ids int64 [n] -> images uint8 [n, 3, h, w]. SourceError for a broken image."""
        images = [self._load(self.files[k]) for k in sample_ids]
        for k, image in zip(sample_ids, images, strict=True):
            if image.shape != self._shape:
                raise SourceError(
                    f"{self.root / self.files[k]} is {image.shape[1]} x {image.shape[0]} pixels, "
                    f"the first image of the folder {self._shape[1]} x {self._shape[0]}; give one "
                    f"size for all: '{self.root}?size=256'"
                )
        return np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2))

    @cached_property
    def _shape(self) -> tuple[int, ...]:
        return self._load(self.files[0]).shape

    def _load(self, file: str) -> np.ndarray:
        try:
            with Image.open(self.root / file) as image:
                if image.mode in DEEP_MODES:
                    raise SourceError(
                        f"{self.root / file} has more than 8 bits a channel (mode {image.mode}); "
                        "convert it to 8 bits as you want it measured"
                    )
                rgb = ImageOps.exif_transpose(image).convert("RGB")
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
            raise SourceError(
                f"cannot read {self.root / file}: {error}; mend or remove it"
            ) from None
        if self.size is not None:
            rgb = ImageOps.fit(rgb, (self.size, self.size), Image.Resampling.LANCZOS)
        return np.asarray(rgb)
