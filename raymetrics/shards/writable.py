"""Places where files are to go, tried before anything is computed for them."""

from __future__ import annotations

from raymetrics.files import require_writable_file, require_writable_folder
from raymetrics.shards.selection_files import split_path
from raymetrics.shards.store import Store


def require_writable_store(uri: str) -> None:
    """Try a folder, or a prefix of an object store, which need not be there yet. StorageError if
    files cannot go there; of an object store if it cannot be listed."""
    store = Store(uri)
    if store.local:
        require_writable_folder(store.root)
    else:
        store.require_usable()


def require_writable_output(file: str) -> None:
    """Try the name of a file that is to be written, over an earlier one if there is one, in a
    folder or on an object store. StorageError as above."""
    folder, name = split_path(file)
    store = Store(folder)
    if store.local:
        require_writable_file(store.path(name))
    else:
        store.require_usable()
