"""The bytes of a network's file, wherever it lies."""

from __future__ import annotations

import fsspec

from raymetrics.errors import SourceError
from raymetrics.files import require_file_or_folder


def read_bytes(path: str) -> bytes:
    """Of a local path, or of any URI that fsspec opens. SourceError if it cannot be read,
    StorageError for a device or a pipe."""
    require_file_or_folder(path)
    try:
        with fsspec.open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError, ImportError) as error:
        raise SourceError(f"cannot read {path}: {type(error).__name__}: {error}") from None
