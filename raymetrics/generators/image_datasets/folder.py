"""Open a folder of images as a data set.

The set holds every image below the folder, in the order of the paths (by code points, with "/"
between names). The classes are those of a `dataset.json` as NVIDIA's tools write it. Without that
file, the classes are the first-level folders, if every image lies in one. Links to files are
followed, links to folders are not. The option `prompts` reads the texts that the images were made
from, see `raymetrics.generators.image_datasets.prompts`.
"""

from __future__ import annotations

from collections.abc import Sequence

from raymetrics.errors import SourceError
from raymetrics.generators.image_datasets.decode import IMAGE_SUFFIXES
from raymetrics.generators.image_datasets.file_access import DataLocation
from raymetrics.generators.image_datasets.image_list import (
    LABELS_FILE,
    ImageList,
    is_image,
    labels_by_file,
    labels_by_folder,
    require_encoded_size,
    require_label_bytes,
)
from raymetrics.generators.image_datasets.prompts import prompts_beside_images

# How the files end that a folder may hold instead of images, each with many images.
FOLDER_ENDINGS = (".tar", ".parquet", ".tfrecords", ".tfrecord")


def open_folder(location: DataLocation, prompts: str | None = None) -> ImageList:
    """List the images below a folder; raise SourceError if it holds none.

    prompts: where their prompts are, see `image_datasets.prompts`.
    """
    names = sorted(filter(is_image, location.files))
    if not names:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        archives = " or ".join(FOLDER_ENDINGS)
        raise SourceError(
            f"no images in {location.uri}; expected files that end in {kinds}, {archives}"
        )
    files = {name: location.files[name] for name in names}
    labels: Sequence[int | str | None] = labels_by_folder(names)
    if LABELS_FILE in location.files:
        files[LABELS_FILE] = location.files[LABELS_FILE]
        where = location.display_path(LABELS_FILE)
        require_label_bytes(files[LABELS_FILE], names, where)
        labels = labels_by_file(location.read(LABELS_FILE), names, where)

    def read(index: int) -> bytes:
        require_encoded_size(files[names[index]])
        return location.read(names[index])

    if prompts is None:
        return ImageList("folder", location, files, names, labels, read)
    texts, holders = prompts_beside_images(
        prompts, names, location.files, location.read, location.uri
    )
    files |= {name: location.files[name] for name in holders}
    options = {"prompts": prompts}
    return ImageList("folder", location, files, names, labels, read, options, texts)
