"""A data set of images as a source: sample k is the k-th image that is not left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from urllib.parse import quote, unquote

import numpy as np

from raymetrics import sample_ranges
from raymetrics.errors import InsufficientResources, SourceError
from raymetrics.generators.image_datasets.decode import BrokenImage, DecodeOptions, decode
from raymetrics.generators.image_datasets.image_list import ImageList
from raymetrics.provenance import fingerprint

_IMAGES_AT_ONCE = 1024  # images that threads have in hand while a set is searched for broken ones
_MAX_UNIT_BYTES = 2**32  # of the images of one call: 64 of 4096 x 4096 pixels take 3 GiB
_MAX_NAMED = 10  # of the broken images in an error


def skip_text(names: Iterable[str]) -> str:
    """Names as the option `skip` has them: quoted as in a URL, with commas between."""
    return ",".join(quote(name) for name in names)


class ImageDataset:
    """Images from any kind of place, decoded by one rule.

    skip: what is left out before ids are given, as `skip_text` writes it. labels are those of
    the entries; names of classes become their indices in sorted order, in `classes`.
    """

    def __init__(
        self, image_list: ImageList, decode_options: DecodeOptions, skip: str = ""
    ) -> None:
        self.image_list, self.decode_options = image_list, decode_options
        self.name = image_list.location.uri.rsplit("/", 1)[-1]
        self.skipped = sorted({unquote(name) for name in skip.split(",") if name})
        left_out = set(self.skipped)
        unknown = left_out.difference(image_list.names)
        if unknown:
            raise SourceError(
                f"{image_list.location.uri} has no image {min(unknown)!r} to skip; expected names as "
                f"{image_list.names[0]!r}, quoted as in a URL"
            )
        self.kept_indices = [i for i, name in enumerate(image_list.names) if name not in left_out]
        if not self.kept_indices:
            raise SourceError(
                f"all {len(left_out)} images of {image_list.location.uri} are skipped"
            )

    @property
    def length(self) -> int:
        return len(self.kept_indices)

    @property
    def files(self) -> dict[str, int]:
        """The files that the set is made of, and their bytes."""
        left_out = set(self.skipped)
        return {f: size for f, size in self.image_list.files.items() if f not in left_out}

    @cached_property
    def spec(self) -> dict[str, object]:
        """Covers the bytes of every file, so that a changed image makes another set."""
        files = list(self.files)
        with ThreadPoolExecutor() as pool:
            digests = dict(
                zip(files, pool.map(self.image_list.location.sha256, files), strict=True)
            )
        return {"files_sha256": fingerprint(digests), **self._choices}

    @property
    def quick_fingerprint(self) -> str:
        """Names and bytes of all files: what a worker compares, as it does not read them all."""
        return fingerprint({"files": self.files, **self._choices})

    @property
    def _choices(self) -> dict[str, object]:
        return {
            "name": self.image_list.kind,
            "decoding": self.decode_options.spec,
            "options": dict(self.image_list.options),
            "skipped": self.skipped,
        }

    @cached_property
    def classes(self) -> list[str] | None:
        """The names of the classes, if they have names and every image has one."""
        labels = self._labels
        named = [label for label in labels if isinstance(label, str)]
        return sorted(set(named)) if labels and len(named) == len(labels) else None

    @cached_property
    def _labels(self) -> list[int | str | None]:
        """The labels of the images that are kept; none at all unless each has one."""
        labels = [self.image_list.labels[i] for i in self.kept_indices]
        return [] if None in labels else labels

    @property
    def label_names(self) -> tuple[str, ...]:
        """What the labels 0, 1, ... stand for; empty if they have no names."""
        return tuple(self.classes or ())

    def labels(self, sample_ids: np.ndarray) -> np.ndarray | None:
        """int64 [n]: the class, or the index of its name in `classes`."""
        if not self._labels:
            return None
        chosen = [self._labels[k] for k in sample_ids]
        if self.classes is not None:
            index = {name: i for i, name in enumerate(self.classes)}
            return np.array([index[str(name)] for name in chosen], np.int64)
        return np.array(chosen, np.int64)

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        """sample_ids int64 [n] -> images uint8 [n, 3, h, w]. SourceError names broken
        images; PlanTooLarge for more pixels at once than a worker can give room for."""
        images = np.empty((0, 3, 0, 0), np.uint8)
        broken: dict[str, str] = {}
        for row, k in enumerate(sample_ids):
            try:
                picture = self.image(int(k))
            except BrokenImage as error:
                broken[self.names[k]] = error.message
                continue
            if broken:  # only the names of the others are still wanted
                continue
            self._require_shape(int(k), picture)
            if row == 0:
                images = self._allocate(len(sample_ids))
            images[row] = picture.transpose(2, 0, 1)
        if broken:
            raise SourceError(self._broken_message(broken, len(sample_ids)))
        return images

    def _allocate(self, count: int) -> np.ndarray:
        """Room for images, uint8 [count, 3, h, w]; PlanTooLarge for more than a worker can give."""
        height, width = self._first_shape
        size = count * 3 * height * width
        if size > _MAX_UNIT_BYTES:
            raise InsufficientResources(
                f"{count} images of {width} x {height} pixels, as {self.image_list.location.uri} has "
                f"them, take {size / 2**30:.1f} GiB at once, at most {_MAX_UNIT_BYTES / 2**30:.0f} "
                f"are given; make them smaller: '{self.image_list.location.uri}?size=256', or ask for a "
                "smaller --batch"
            )
        return np.empty((count, 3, height, width), np.uint8)

    @cached_property
    def names(self) -> Sequence[str]:
        """The names of the images by sample id."""
        return [self.image_list.names[i] for i in self.kept_indices]

    def image(self, sample_id: int) -> np.ndarray:
        """uint8 [h, w, 3]; BrokenImage if it cannot be used."""
        return decode(self.image_list.read(self.kept_indices[sample_id]), self.decode_options)

    def _display_path(self, name: str) -> str:
        return f"{self.image_list.location.uri}/{name}"

    def _broken_message(self, broken: dict[str, str], count: int) -> str:
        each = "; ".join(f"{self._display_path(name)}: {why}" for name, why in broken.items())
        return (
            f"cannot read {len(broken)} of {count} images: {each}; mend or remove what is "
            f"broken, or leave out up to N images with --skip-broken N, which makes another set: "
            f"extract it to another place"
        )

    def _require_shape(self, sample_id: int, image: np.ndarray) -> None:
        height, width = image.shape[:2]
        if (height, width) != self._first_shape:
            raise SourceError(
                f"{self._display_path(self.names[sample_id])} is {width} x {height} pixels, the first "
                f"image of the set {self._first_shape[1]} x {self._first_shape[0]}; give one size "
                f"for all: '{self.image_list.location.uri}?size=256'"
            )

    @cached_property
    def _first_shape(self) -> tuple[int, int]:
        try:
            height, width, _rgb = self.image(0).shape
        except BrokenImage as error:
            raise SourceError(self._broken_message({self.names[0]: error.message}, 1)) from None
        return height, width

    def find_broken(self) -> dict[str, str]:
        """The names of all images that cannot be used, and why; decodes every image once."""

        def problem(sample_id: int) -> str | None:
            try:
                self.image(sample_id)
            except BrokenImage as error:
                return error.message
            return None

        reasons = {}
        with ThreadPoolExecutor() as pool:
            for ids in sample_ranges.split_at_multiples(range(self.length), _IMAGES_AT_ONCE):
                for sample_id, why in zip(ids, pool.map(problem, ids), strict=True):
                    if why is not None:
                        reasons[self.names[sample_id]] = why
        return reasons


def require_few_broken(dataset: ImageDataset, max_broken: int) -> list[str]:
    """The names of the broken images; SourceError if there are more than `at_most`."""
    reasons = dataset.find_broken()
    if len(reasons) > max_broken:
        first = [f"{name} ({why})" for name, why in list(reasons.items())[:_MAX_NAMED]]
        more = f", and {len(reasons) - _MAX_NAMED} more" if len(reasons) > _MAX_NAMED else ""
        raise SourceError(
            f"{len(reasons)} of {dataset.length} images of {dataset.image_list.location.uri} are broken, "
            f"at most {max_broken} may be left out: {', '.join(first)}{more}; mend or remove them"
        )
    return list(reasons)
