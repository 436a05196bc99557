"""Open data sets of images as sources: folders, zip, tars, Parquet, TFRecords, numpy arrays.

Each format is a function from a location to an ordered list of images (`image_list`). All formats
share the decoding of images (`decode`), and the sample ids, labels and skipped images
(`image_dataset`). Nothing is extracted to a disk, and the index of an archive is read once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import PurePosixPath

from raymetrics.errors import SourceError
from raymetrics.generators.image_datasets.decode import DecodeOptions
from raymetrics.generators.image_datasets.file_access import DataLocation
from raymetrics.generators.image_datasets.folder import FOLDER_ENDINGS, open_folder
from raymetrics.generators.image_datasets.image_dataset import ImageDataset
from raymetrics.generators.image_datasets.image_list import ImageList, is_image
from raymetrics.generators.image_datasets.numpy_arrays import open_npy, open_npz
from raymetrics.generators.image_datasets.parquet import open_parquet
from raymetrics.generators.image_datasets.tfrecords import ENDINGS as TFRECORDS_ENDINGS
from raymetrics.generators.image_datasets.tfrecords import open_tfrecords
from raymetrics.generators.image_datasets.webdataset import open_tars
from raymetrics.generators.image_datasets.zip import open_zip

# What opens a file, by the ending of the file's name: the only list of these endings.
OPENERS: dict[str, Callable[..., ImageList]] = {
    ".zip": open_zip,
    ".tar": open_tars,
    ".parquet": open_parquet,
    **dict.fromkeys(TFRECORDS_ENDINGS, open_tfrecords),
    ".npz": open_npz,
    ".npy": open_npy,
}

__all__ = ["OPENERS", "ImageDataset", "open_dataset"]


def open_dataset(
    uri: str,
    *,
    size: str | None = None,
    background: str | None = None,
    exif: str = "apply",
    resize: str | None = None,
    skip: str = "",
    **options: str,
) -> ImageDataset:
    """Open the data set at a path or a URI; `options` are those of its format.

    Raises SourceError if it is no data set, StorageError if it cannot be read, TypeError for an
    option that the format does not have.
    """
    decode_options = DecodeOptions.parse(size, background, exif, resize)
    location = DataLocation(uri)
    return ImageDataset(_find_opener(location)(location, **options), decode_options, skip)


def _find_opener(location: DataLocation) -> Callable[..., ImageList]:
    """Return the function that opens a location, chosen by its ending or the folder's files.

    Raises SourceError for an unknown ending, and for a folder of files of several formats.
    """
    if not location.is_folder:
        suffix = PurePosixPath(
            location.root if "" in location.files else min(location.files)
        ).suffix
        if suffix not in OPENERS:
            raise SourceError(
                f"{location.uri} is no data set; expected a folder, or a file that ends in "
                f"{', '.join(OPENERS)}"
            )
        return OPENERS[suffix]
    kinds = Counter(
        next((ending for ending in FOLDER_ENDINGS if name.endswith(ending)), "images")
        for name in location.files
        if is_image(name) or name.endswith(FOLDER_ENDINGS)
    )
    if len(kinds) > 1:
        contents = " and ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        raise SourceError(f"{location.uri} holds {contents}; name a folder of one kind")
    return OPENERS.get(next(iter(kinds), ""), open_folder)
