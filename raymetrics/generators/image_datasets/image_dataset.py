"""Serve a data set of images as a source: sample k is image k of those that are not skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

from raymetrics import sample_ranges
from raymetrics.errors import InsufficientResources, SourceError, StorageError
from raymetrics.generators.image_datasets.decode import (
    BrokenImage,
    DecodeOptions,
    decode,
    header_size,
)
from raymetrics.generators.image_datasets.image_list import ImageList
from raymetrics.provenance import fingerprint

_IMAGES_AT_ONCE = 1024  # images queued for threads in a search for broken images
_MAX_HEADERS = 100_000  # images whose sizes are compared before anything is decoded
_MAX_UNIT_BYTES = 2**32  # of the images of one call: 64 of 4096 x 4096 pixels take 3 GiB
_MAX_NAMED = 10  # broken images that an error names


def skip_text(names: Iterable[str]) -> str:
    """Return the value of the option `skip`: names quoted as in a URL, with commas between."""
    return ",".join(quote(name) for name in names)


class ImageDataset:
    """The images of a list as samples, decoded by one rule.

    skip: the images to leave out before the others get ids, as `skip_text` writes them. The labels
    are those of the image list; names of classes become their indices in `classes`, the sorted
    names.

    threads: the number of threads that decode the images of a call. It changes no bit.
    """

    thread_safe = True
    threads = 1

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
                f"{image_list.location.uri} has no image {min(unknown)!r} to skip; expected names "
                f"as {image_list.names[0]!r}, quoted as in a URL"
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
        """The files of the set without the skipped ones, with their sizes in bytes."""
        left_out = set(self.skipped)
        return {f: size for f, size in self.image_list.files.items() if f not in left_out}

    @cached_property
    def spec(self) -> dict[str, object]:
        """A digest of the bytes of every file, so that a changed image gives another set."""
        files = list(self.files)
        with ThreadPoolExecutor() as pool:
            digests = dict(
                zip(files, pool.map(self.image_list.location.sha256, files), strict=True)
            )
        return {"files_sha256": fingerprint(digests), **self._choices}

    @property
    def quick_fingerprint(self) -> str:
        """A digest of the names and sizes of all files, which workers compare.

        Workers do not read all files, as the spec does.
        """
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
        """The sorted names of the classes; None unless every image has a class with a name."""
        labels = self._labels
        named = [label for label in labels if isinstance(label, str)]
        return sorted(set(named)) if labels and len(named) == len(labels) else None

    @cached_property
    def _labels(self) -> list[int | str | None]:
        """The labels of the images that are not skipped; empty unless each of them has one."""
        labels = [self.image_list.labels[i] for i in self.kept_indices]
        return [] if None in labels else labels

    @property
    def label_names(self) -> tuple[str, ...]:
        """The names of the classes 0, 1, ...; empty if they have no names."""
        return tuple(self.classes or ())

    def labels(self, sample_ids: np.ndarray) -> np.ndarray | None:
        """Return the classes of the samples, int64 [n]; None if the set has no labels.

        The class of a name is the name's index in `classes`.
        """
        if not self._labels:
            return None
        chosen = [self._labels[k] for k in sample_ids]
        if self.classes is not None:
            index = {name: i for i, name in enumerate(self.classes)}
            return np.array([index[str(name)] for name in chosen], np.int64)
        return np.array(chosen, np.int64)

    def prompts(self, sample_ids: np.ndarray) -> list[str] | None:
        """Return the prompts of the samples; None if they are not asked for."""
        prompts = self.image_list.prompts
        if prompts is None:
            return None
        return [prompts[self.kept_indices[k]] for k in sample_ids.tolist()]

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        """Decode the images uint8 [n, 3, h, w] of sample ids int64 [n].

        Raises SourceError, with their names, for broken images, SourceError for images of several
        sizes, and InsufficientResources for more pixels at once than a worker has memory for.
        """
        images = np.empty((0, 3, 0, 0), np.uint8)
        broken: dict[str, str] = {}
        ids = sample_ids.tolist()
        with self._map_function() as map_in_threads:
            for row, picture in enumerate(map_in_threads(self._image_or_reason, ids)):
                if isinstance(picture, str):
                    broken[self.names[ids[row]]] = picture
                if broken:  # from here on, the loop only looks for more broken images
                    continue
                self._require_shape(ids[row], picture)
                if row == 0:
                    images = self._allocate(len(ids))
                images[row] = picture.transpose(2, 0, 1)
        if broken:
            raise SourceError(self._broken_message(broken, len(sample_ids)))
        return images

    @contextmanager
    def _map_function(self) -> Iterator[Callable[..., Iterator[Any]]]:
        """Open a function like `map`, whose results come in order from `threads` threads."""
        if self.threads == 1:
            yield map
            return
        pool = ThreadPoolExecutor(self.threads)
        try:
            yield pool.map
        finally:
            pool.shutdown(cancel_futures=True)  # after an error nobody needs the other images

    def _image_or_reason(self, sample_id: int) -> np.ndarray | str:
        """Decode one image to uint8 [h, w, 3]; return the reason if it cannot be used."""
        try:
            return self.image(sample_id)
        except BrokenImage as error:
            return error.message

    def _allocate(self, count: int) -> np.ndarray:
        """Allocate images, uint8 [count, 3, h, w].

        Raises InsufficientResources if they would take more than `_MAX_UNIT_BYTES`.
        """
        height, width = self._first_shape
        size = count * 3 * height * width
        if size > _MAX_UNIT_BYTES:
            uri = self.image_list.location.uri
            raise InsufficientResources(
                f"{count} images of {width} x {height} pixels, as {uri} has them, take "
                f"{size / 2**30:.1f} GiB at once, at most {_MAX_UNIT_BYTES / 2**30:.0f} are given; "
                f"make them smaller: '{uri}?size=256', or ask for a smaller --batch"
            )
        return np.empty((count, 3, height, width), np.uint8)

    @cached_property
    def names(self) -> Sequence[str]:
        """The names of the images by sample id."""
        return [self.image_list.names[i] for i in self.kept_indices]

    @cached_property
    def encodings(self) -> tuple[str, ...]:
        """The endings of the image files, in lower case and sorted; "" for others is left out."""
        return tuple(sorted({PurePosixPath(name).suffix.lower() for name in self.names} - {""}))

    def image(self, sample_id: int) -> np.ndarray:
        """Decode one image to uint8 [h, w, 3]; raise BrokenImage if it cannot be used."""
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
            path = self._display_path(self.names[sample_id])
            raise SourceError(
                f"{path} is {width} x {height} pixels, the first image of the set "
                f"{self._first_shape[1]} x {self._first_shape[0]}; give one size for all: "
                f"'{self.image_list.location.uri}?size=256'"
            )

    @cached_property
    def _first_shape(self) -> tuple[int, int]:
        try:
            height, width, _rgb = self.image(0).shape
        except BrokenImage as error:
            raise SourceError(self._broken_message({self.names[0]: error.message}, 1)) from None
        return height, width

    def require_one_size(self, ids: Iterable[range]) -> None:
        """Raise SourceError if the headers of these images tell of several sizes.

        Reads headers of local files only, which takes seconds where decoding takes minutes. What a
        header does not tell, such as damage, is found when the image is decoded.
        """
        if self.decode_options.size is not None or not self.image_list.location.is_local:
            return
        numbers = [k for part in ids for k in part][:_MAX_HEADERS]
        with ThreadPoolExecutor() as pool:
            sizes = pool.map(self._header_size, numbers)
            first: tuple[int, tuple[int, int]] | None = None
            for k, size in zip(numbers, sizes, strict=True):
                if size is None:
                    continue
                first = first or (k, size)
                if size != first[1]:
                    (known, (width, height)), uri = first, self.image_list.location.uri
                    raise SourceError(
                        f"{uri} holds images of several sizes: {self.names[known]} is {width} x "
                        f"{height} pixels, {self.names[k]} {size[0]} x {size[1]}; give one size "
                        f"for all: '{uri}?size=256'"
                    )

    def _header_size(self, sample_id: int) -> tuple[int, int] | None:
        """Return width and height as an image's header tells them; None if it cannot be read."""
        try:
            data = self.image_list.read(self.kept_indices[sample_id])
            return header_size(data, self.decode_options)
        except (BrokenImage, StorageError):
            return None

    def find_broken(self) -> dict[str, str]:
        """Decode every image once; return the names of the broken ones, each with the reason."""

        def problem(sample_id: int) -> str | None:
            result = self._image_or_reason(sample_id)
            return result if isinstance(result, str) else None

        reasons = {}
        with ThreadPoolExecutor() as pool:
            for ids in sample_ranges.split_at_multiples(range(self.length), _IMAGES_AT_ONCE):
                for sample_id, why in zip(ids, pool.map(problem, ids), strict=True):
                    if why is not None:
                        reasons[self.names[sample_id]] = why
        return reasons


def require_few_broken(dataset: ImageDataset, max_broken: int) -> list[str]:
    """Return the names of the broken images; SourceError if they are more than `max_broken`."""
    reasons = dataset.find_broken()
    if len(reasons) > max_broken:
        first = [f"{name} ({why})" for name, why in list(reasons.items())[:_MAX_NAMED]]
        more = f", and {len(reasons) - _MAX_NAMED} more" if len(reasons) > _MAX_NAMED else ""
        raise SourceError(
            f"{len(reasons)} of {dataset.length} images of {dataset.image_list.location.uri} are "
            f"broken, at most {max_broken} may be left out: {', '.join(first)}{more}; mend or "
            "remove them"
        )
    return list(reasons)
