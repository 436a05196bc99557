"""Make files of statistics from a shard set, in the layouts that other programs read."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable, Mapping

import numpy as np

from raymetrics.errors import NotEnoughData, RaymetricsError, StorageError
from raymetrics.npz_files import npz_bytes
from raymetrics.output_names import NOT_FEATURES, SPATIAL
from raymetrics.provenance import software_environment
from raymetrics.shards.foreign.npz_export import ORIGIN_KEY, describe_origin, fold_moments
from raymetrics.shards.open_view import open_view
from raymetrics.shards.schema import Column
from raymetrics.shards.selection_files import split_path
from raymetrics.shards.store import Store
from raymetrics.shards.view import View

PROVENANCE_ENDING = ".json"  # of the file beside the statistics
_MIN_SAMPLES = 2


def make_statistics(
    shards: str,
    to: str,
    *,
    layout: str | None = None,
    column: str | None = None,
    samples: int | None = None,
    ddof: int = 1,
) -> None:
    """Write the mean and covariance of a column, and beside them how the features were made.

    layout: a name of LAYOUTS; by default by the ending of `to`. column: by default the only one of
    features. samples: only the first so many. ddof: the covariance is divided by count - ddof.

    RaymetricsError for an unknown layout, StorageError if `to` exists or cannot be written,
    ShardError for an incomplete set or an unknown column, NotEnoughData.
    """
    name = layout or _layout_of_ending(to)
    if name not in LAYOUTS:
        raise RaymetricsError(f"no layout {name!r}; there are {', '.join(LAYOUTS)}")
    view = open_view(shards)
    if samples is not None and not _MIN_SAMPLES <= samples <= len(view):
        raise NotEnoughData(
            f"the first {samples} samples are asked for, {shards} has {len(view)}; ask for "
            f"{_MIN_SAMPLES} to {len(view)}"
        )
    view = view if samples is None else view.first(samples)
    chosen = _choose_column(view, column)
    folder, file = split_path(to)
    store = Store(folder)
    if file in store.names():
        raise StorageError(f"{to} is there already; remove it, or write to another place")
    origin = describe_origin(view, chosen, ddof)
    content = LAYOUTS[name](view, chosen, ddof, json.dumps(origin))
    provenance = {**origin, "layout": name, **software_environment()}
    if not store.create(file, content):
        raise StorageError(f"{to} is there already; remove it, or write to another place")
    store.replace(file + PROVENANCE_ENDING, json.dumps(provenance, indent=1).encode())


def _layout_of_ending(to: str) -> str:
    for ending, layout in ((".npz", "npz"), (".pkl", "edm2"), (".pt", "torch-fidelity")):
        if to.endswith(ending):
            return layout
    raise RaymetricsError(f"{to} does not say its layout; end it with .npz, .pkl or .pt")


def _choose_column(view: View, name: str | None) -> Column:
    """Return the named column, or the only one of features. RaymetricsError otherwise."""
    columns = view.shards.columns
    features = [c for c in columns.values() if c.output not in (*NOT_FEATURES, SPATIAL)]
    if name is None and len(features) == 1:
        return features[0]
    if name not in columns:
        raise RaymetricsError(
            f"{view.shards.uri} has {', '.join(columns)}; name one of them (--column)"
        )
    return columns[name]


def _npz(view: View, column: Column, ddof: int, origin: str) -> bytes:
    """Return mu and sigma; also mu_s and sigma_s, as ADM does, of a set with spatial features."""
    moments = fold_moments(view, column)
    arrays = {"mu": moments.mean, "sigma": moments.covariance(ddof)}
    spatial = [
        c
        for c in view.shards.columns.values()
        if (c.extractor, c.output) == (column.extractor, SPATIAL)
    ]
    for spatial_column in spatial:
        spatial_moments = fold_moments(view, spatial_column)
        arrays |= {"mu_s": spatial_moments.mean, "sigma_s": spatial_moments.covariance(ddof)}
    return npz_bytes(arrays if spatial else {**arrays, ORIGIN_KEY: np.array(origin)})


def _edm2(view: View, column: Column, ddof: int, origin: str) -> bytes:
    """Return {num_images, fid: {mu, sigma}}, as EDM2's calculate_metrics.py reads it."""
    moments = fold_moments(view, column)
    pair = {"mu": moments.mean, "sigma": moments.covariance(ddof)}
    space = "fd_dinov2" if column.extractor.startswith("dinov2") else "fid"
    return pickle.dumps({"num_images": moments.count, space: pair})


def _stylegan2_ada(view: View, column: Column, ddof: int, origin: str) -> bytes:
    """Return the sums of x and of x x^T, as the cache of stylegan2-ada and stylegan3 has them."""
    moments = fold_moments(view, column)
    raw_cov = moments.scatter + moments.count * np.outer(moments.mean, moments.mean)
    return pickle.dumps(
        {
            "capture_all": False, "capture_mean_cov": True, "max_items": moments.count,
            "num_items": moments.count, "num_features": len(moments.mean), "all_features": None,
            "raw_mean": moments.mean * moments.count, "raw_cov": raw_cov,
        }
    )  # fmt: skip


def _torch_fidelity(view: View, column: Column, ddof: int, origin: str) -> bytes:
    """Return {mu, sigma} as torch.save writes it, as torch-fidelity's cache keeps it."""
    import torch

    moments = fold_moments(view, column)
    buffer = io.BytesIO()
    torch.save({"mu": moments.mean, "sigma": moments.covariance(ddof)}, buffer)
    return buffer.getvalue()


LAYOUTS: Mapping[str, Callable[[View, Column, int, str], bytes]] = {
    "npz": _npz,
    "edm2": _edm2,
    "stylegan2-ada": _stylegan2_ada,
    "torch-fidelity": _torch_fidelity,
}
