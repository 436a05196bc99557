"""A folder: every image below it, in the order of the paths (by code points, / between names).

The classes are those of a `dataset.json` as NVIDIA's tools write it; without one, the
first-level folders, where every image lies in one. Links to files are followed, links to
folders are not.
"""

from __future__ import annotations

from collections.abc import Sequence

from raymetrics.errors import SourceError
from raymetrics.generators.image_datasets.decode import MAX_BYTES, SUFFIXES
from raymetrics.generators.image_datasets.file_access import Place
from raymetrics.generators.image_datasets.image_list import (
    LABELS_FILE,
    Entries,
    checked_size,
    is_image,
    labels_by_file,
    labels_by_folder,
    require_label_bytes,
)


def open_folder(place: Place) -> Entries:
    """The images below a folder; SourceError if there are none."""
    names = sorted(filter(is_image, place.files))
    if not names:
        kinds = ", ".join(sorted(SUFFIXES))
        raise SourceError(
            f"no images in {place.uri}; expected files that end in {kinds}, .tar or .parquet"
        )
    files = {name: place.files[name] for name in names}
    labels: Sequence[int | str | None] = labels_by_folder(names)
    if LABELS_FILE in place.files:
        files[LABELS_FILE] = place.files[LABELS_FILE]
        where = place.where(LABELS_FILE)
        require_label_bytes(files[LABELS_FILE], names, where)
        labels = labels_by_file(place.read(LABELS_FILE), names, where)

    def read(index: int) -> bytes:
        checked_size(files[names[index]], MAX_BYTES)
        return place.read(names[index])

    return Entries("folder", place, files, names, labels, read)
