"""Open the sides of an evaluation as a user names them: shards, statistics, or a source."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from raymetrics import option_strings
from raymetrics.errors import NotEnoughData, RaymetricsError, ShardError
from raymetrics.generators import absolute_source
from raymetrics.npz_files import DAMAGE_ERRORS
from raymetrics.python_arguments import ARRAYS_HINT, require_text
from raymetrics.reference_statistics.catalogue import NAME_PREFIX
from raymetrics.reference_statistics.local_files import resolve_name
from raymetrics.sample_ranges import Ids
from raymetrics.shards.foreign import is_statistics, read_statistics
from raymetrics.shards.foreign.feature_files import names_features, open_features
from raymetrics.shards.layout import holds_shard_set
from raymetrics.shards.open_view import open_view
from raymetrics.shards.shard_files import shard_ranges
from raymetrics.shards.shard_set import ShardSet
from raymetrics.shards.store import Store
from raymetrics.shards.view import View
from raymetrics.studies.extract_sides import OpenSide, SourceSide

_SHARD_OPTIONS = {"ids", "partial", "random"}
_STATISTICS_KEYS = ({"mu", "sigma"}, {"feats"}, {"reps"})  # of which an .npz has one whole set
# With what pickles of networks of NVIDIA and Projected GAN begin, and those of statistics do not.
_NETWORK_MODULES = (b"torch_utils", b"dnnlib", b"training.networks", b"pg_modules")
_HEAD_BYTES = 4096


def open_side(side: str, value: object, ids: Ids | int | None) -> OpenSide | SourceSide:
    """Return a side as a view, as statistics, or as a source to be extracted.

    Features of another program are a view of the shard set that the cache keeps of them.

    value: a shard set or a view; or the text or path that names a shard set ("SHARDS?ids=FILE" or
    "SHARDS?random=N" for some of its samples), a file of statistics, features as
    "FILE.npz?column=NAME&space=NAME", or a source. ids: the samples
    to take; a number for the first ones.

    ShardError, with advice, for a value of another type, and for an incomplete shard set;
    NotEnoughData for samples that a set does not have.
    """
    if isinstance(value, View | ShardSet):
        view = value if isinstance(value, View) else open_view(value.uri)
        return take_ids(view, side, ids)
    if _holds_images(value):
        from raymetrics.generators.memory_images import register_images

        images = register_images(value)
        numbers = (range(ids),) if isinstance(ids, int) else ids
        return SourceSide(images.name, numbers, images)
    expected = "a shard set, a file of statistics or of features, or a source of images"
    text = require_text(side, value, ShardError, expected=expected, instead=ARRAYS_HINT)
    if text.startswith(NAME_PREFIX):
        return read_statistics(resolve_name(text))
    if names_shards(text):
        return take_ids(open_view(text), side, ids)
    if names_statistics(text):
        return read_statistics(text)
    if names_features(text):
        return take_ids(open_features(text), side, ids)
    return SourceSide(absolute_source(text), (range(ids),) if isinstance(ids, int) else ids)


def _holds_images(value: object) -> bool:
    """Return whether a value is an array of images or a Dataset, and no array of features."""
    if isinstance(value, str | os.PathLike):
        return False
    if hasattr(value, "shape"):
        return len(value.shape) == 4
    return hasattr(value, "__getitem__") and hasattr(value, "__len__")


def take_ids(view: View, side: str, ids: Ids | int | None) -> View:
    """Return the view of these samples, of the first so many, or of all.

    NotEnoughData if the view does not have them.
    """
    if ids is None:
        return view
    if not isinstance(ids, int):
        return view.take(ids)
    if not 1 <= ids <= len(view):
        raise NotEnoughData(
            f"the first {ids} samples are asked for, {view.shards.uri} has {len(view)} {side} "
            f"ones; ask for 1 to {len(view)}, or extract more"
        )
    return view.first(ids)


def names_shards(text: str) -> bool:
    """Return whether a text names a shard set, or a place that holds shards of one."""
    name, options = option_strings.parse_options(text, RaymetricsError)
    if options.keys() & _SHARD_OPTIONS:
        return True
    if options or ("://" not in name and not os.path.isdir(name)):
        return False
    store = Store(name)
    return holds_shard_set(store) or bool(shard_ranges(store.names()))


def names_statistics(text: str) -> bool:
    """Return whether a text names a file of statistics, and not images or a network.

    They have the same endings: .npz, .pkl and .pt. A file on another machine is taken for
    statistics, unless options follow it, which only sources have.
    """
    name, options = option_strings.parse_options(text, RaymetricsError)
    if options or not is_statistics(name):
        return False
    path = Path(name)
    if not path.is_file():
        return True
    if path.suffix == ".pkl":
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        return not any(module in head for module in _NETWORK_MODULES)
    return _zip_holds_statistics(path)


def _zip_holds_statistics(path: Path) -> bool:
    """Return whether an .npz or .pt holds statistics; also True for a file that is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (*DAMAGE_ERRORS, OSError):
        return True  # its reader says what is wrong
    if path.suffix == ".npz":
        keys = {name.removesuffix(".npy") for name in names}
        return any(needed <= keys for needed in _STATISTICS_KEYS)
    return not any("/code/" in name or name.endswith("constants.pkl") for name in names)
