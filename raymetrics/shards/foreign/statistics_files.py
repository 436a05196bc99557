"""Statistics that other programs keep of a data set, as one side of a Frechet distance.

A file holds a mean and a finished covariance, by one of these layouts:

    mu, sigma                       npz of TTUR, pytorch-fid, clean-fid, EDM, StudioGAN; ours
    mu, sigma, mu_s, sigma_s        npz: ADM's reference batches (their arr_0, images, is not read)
    {fid: {mu, sigma}, ...}         pkl of EDM2, one pair for each feature space
    raw_mean, raw_cov, num_items    pkl: the cache of stylegan2-ada and stylegan3, sums
    mu, sigma                       pt: torch-fidelity's cache of statistics
    feats, reps, a matrix           features of clean-fid, dgm-eval and torch-fidelity: fitted here

None of them says how the features were made; only our own do (`ORIGIN_KEY`). Nothing in a file is
executed.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from scipy.linalg import LinAlgError, cholesky

from raymetrics import safe_pickle
from raymetrics.errors import ShardError, StorageError
from raymetrics.metrics import Gaussian
from raymetrics.npz_files import NpzArrays
from raymetrics.safe_archives.damage import require_undamaged
from raymetrics.shards.foreign.npz_export import ORIGIN_KEY
from raymetrics.shards.store import Store
from raymetrics.statistics import Moments

MU_SIGMA = "mu, sigma"
SPATIAL_MU_SIGMA = "mu_s, sigma_s"
_FEATURE_KEYS = ("feats", "reps")
_READ_BYTES = 2**23  # bytes to a request
_VARIANCE_SLACK = (
    1e-3  # of the largest variance: what rounding to float32 and less may leave below zero
)


@dataclass(frozen=True, eq=False)
class FileStatistics:
    """What a file's contents are, by the layout that they have."""

    layout: str
    gaussians: Mapping[str, Gaussian]  # by the place in the file: "mu, sigma", "fd_dinov2"
    count: int | None = None  # samples; None where the file does not say
    ddof: int | None = None  # likewise what covariances were divided by, count - ddof
    origin: Mapping[str, Any] | None = None  # likewise column, extractor and shard set


@dataclass(frozen=True, eq=False)
class ReferenceStatistics(FileStatistics):
    """A file of statistics, read and checked. Made by `read_statistics`."""

    uri: str = ""
    sha256: str = ""


def is_statistics(uri: object) -> bool:
    """Return whether this names a file of statistics, and not a shard set."""
    return isinstance(uri, str) and uri.endswith(tuple(_READERS))


def read_statistics(uri: str) -> ReferenceStatistics:
    """Read the statistics in a file: .npz, .pkl or .pt, at a path or on an object store.

    StorageError if there is none, ShardError if it holds something else, or a mean and a
    covariance that do not fit together, are not finite, not symmetric, or far from positive.
    """
    folder, _, name = uri.rpartition("/")
    store = Store(folder or ("/" if uri.startswith("/") else "."))
    reader = next((reader for suffix, reader in _READERS.items() if uri.endswith(suffix)), None)
    if reader is None:
        raise ShardError(f"{uri} is no file of statistics; expected {', '.join(_READERS)}")
    damage = require_undamaged(
        ShardError,
        f"cannot read statistics from {uri}",
        f"expected arrays of numbers as {', '.join(_READERS)} hold them: fetch or make the file "
        "again",
    )
    # Zip files are read in small parts, each of which would be a request.
    with damage, io.BufferedReader(_open_file(store, name, uri), _READ_BYTES) as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        statistics = reader(file, uri)
    return ReferenceStatistics(
        **vars(statistics), uri=f"{store.absolute_uri}/{name}", sha256=sha256
    )


def _open_file(store: Store, name: str, uri: str) -> io.RawIOBase:
    """Open the file. Raise StorageError if it does not exist."""
    try:
        return cast(io.RawIOBase, store.open(name))
    except FileNotFoundError:
        raise StorageError(
            f"there is no file {uri}; expected statistics of another program"
        ) from None


def _read_npz(file: Any, where: str) -> FileStatistics:
    """Read the needed arrays of a file, and no others, however large those are."""
    arrays = NpzArrays(file)
    statistics = _parse_contents(arrays, where)
    if ORIGIN_KEY not in arrays:
        return statistics
    origin = json.loads(arrays[ORIGIN_KEY].item())
    return replace(statistics, layout="raymetrics", count=origin["count"], ddof=origin["ddof"],
                   origin=origin)  # fmt: skip


def _read_pickle(file: Any, where: str) -> FileStatistics:
    """Read a pickle with the reader that executes nothing."""
    return _parse_contents(safe_pickle.read_pickle(file.read(), where), where)


def _read_torch(file: Any, where: str) -> FileStatistics:
    """Read what torch.save wrote, without torch."""
    with safe_pickle.TorchArchive(file) as archive:
        statistics = _parse_contents(safe_pickle.read_archive(archive, where), where)
    return (
        replace(statistics, layout="torch-fidelity")
        if statistics.layout == MU_SIGMA
        else statistics
    )


_READERS: Mapping[str, Callable[[Any, str], FileStatistics]] = {
    ".npz": _read_npz,
    ".pkl": _read_pickle,
    ".pt": _read_torch,
}


def _parse_contents(contents: Any, where: str) -> FileStatistics:
    """Find the layout of contents by their keys. Raise ShardError for an unknown layout."""
    if isinstance(contents, np.ndarray):
        return _fit_features(contents, "features", where)
    if not isinstance(contents, Mapping):
        raise ShardError(f"{where} holds a {type(contents).__name__}; {_EXPECTED}")
    if _is_pair(contents):
        return _parse_pairs(contents, where)
    if {"raw_mean", "raw_cov", "num_items"} <= contents.keys():
        return _parse_sums(contents, where)
    spaces: dict[str, Any] = {}
    if isinstance(contents, dict):  # the arrays of an npz need not all be read
        spaces = {name: value for name, value in contents.items() if _is_pair(value)}
    if spaces:
        gaussians = {
            k: _require_gaussian(v["mu"], v["sigma"], f"{k}: ", where) for k, v in spaces.items()
        }
        return FileStatistics("EDM2", gaussians, contents.get("num_images"))
    for name in _FEATURE_KEYS:
        if name in contents:
            return _fit_features(contents[name], name, where)
    raise ShardError(
        f"{where} holds {safe_pickle.describe_keys(contents) or 'nothing'}; {_EXPECTED}"
    )


def _is_pair(value: Any) -> bool:
    """Return whether these are arrays by name, mu and sigma among them."""
    return isinstance(value, Mapping) and {"mu", "sigma"} <= value.keys()


_EXPECTED = (
    "expected mu and sigma (pytorch-fid and its kin), pairs of them by feature space (EDM2), or "
    "features (feats, reps)"
)


def _parse_pairs(contents: Mapping[str, Any], where: str) -> FileStatistics:
    """Return the Gaussians of mu and sigma, and of mu_s and sigma_s where the file has them."""
    gaussians = {MU_SIGMA: _require_gaussian(contents["mu"], contents["sigma"], "", where)}
    if not {"mu_s", "sigma_s"} <= contents.keys():
        return FileStatistics(MU_SIGMA, gaussians)
    gaussians[SPATIAL_MU_SIGMA] = _require_gaussian(
        contents["mu_s"], contents["sigma_s"], "mu_s, sigma_s: ", where
    )
    return FileStatistics("ADM", gaussians)


def _parse_sums(contents: Mapping[str, Any], where: str) -> FileStatistics:
    """Return the Gaussian of NVIDIA's sums of x and of x x^T over num_items samples.

    Their program divides by num_items.
    """
    count = int(contents["num_items"])
    if contents["raw_mean"] is None and contents.get("all_features"):
        return _fit_features(np.concatenate(contents["all_features"]), "all_features", where)
    mean = np.asarray(contents["raw_mean"]) / max(1, count)
    covariance = np.asarray(contents["raw_cov"]) / max(1, count) - np.outer(mean, mean)
    return FileStatistics(
        "stylegan2-ada",
        {"raw_mean, raw_cov": _require_gaussian(mean, covariance, "", where)},
        count,
        0,
    )


def _fit_features(features: Any, name: str, where: str) -> FileStatistics:
    """Compute the mean and the covariance, by count - 1, of features [n, d]."""
    x = np.asarray(features)
    if x.ndim != 2 or len(x) < 2 or x.dtype.kind != "f":
        raise ShardError(
            f"{name} in {where} is {x.dtype} {list(x.shape)}, expected floats [samples, dimension] "
            "of two samples at least"
        )
    fitted = Gaussian.from_moments(Moments.from_samples(x), 1)
    return FileStatistics(
        "features", {name: _require_gaussian(fitted.mean, fitted.covariance, "", where)}, len(x), 1
    )


def _require_gaussian(mean: Any, covariance: Any, prefix: str, where: str) -> Gaussian:
    """Return a mean and a covariance in float64. ShardError for arrays that cannot be these."""
    m, s = np.asarray(mean), np.asarray(covariance)
    if {m.dtype.kind, s.dtype.kind} != {"f"} or m.ndim != 1 or s.shape != (len(m), len(m)):
        raise ShardError(
            f"{prefix}mu in {where} is {m.dtype} {list(m.shape)} and sigma {s.dtype} "
            f"{list(s.shape)}, expected floats [d] and [d, d]"
        )
    gaussian = Gaussian(m.astype(np.float64), s.astype(np.float64))
    problem = _find_problem(gaussian)
    if problem:
        raise ShardError(
            f"{prefix}{problem} in {where}, so it is no mean and covariance of features; make the "
            "file again"
        )
    return gaussian


def _find_problem(gaussian: Gaussian) -> str | None:
    """Say in words what is wrong with the values."""
    s = gaussian.covariance
    if not (np.isfinite(gaussian.mean).all() and np.isfinite(s).all()):
        return "mu or sigma holds NaN or infinite values"
    asymmetry = np.abs(s - s.T).max(initial=0)
    if asymmetry > 1e-5 * np.abs(s).max(initial=0):
        return f"sigma is not symmetric (entries differ by up to {asymmetry:.3g})"
    # Positive up to the slack, if and only if the root of what is shifted by it exists.
    slack = _VARIANCE_SLACK * s.diagonal().max(initial=0)
    try:
        if s.any():
            cholesky(s + slack * np.eye(len(s)), lower=True, check_finite=False)
    except LinAlgError:
        return (
            f"sigma has an eigenvalue below -{slack:.3g}, {_VARIANCE_SLACK} of the largest "
            "variance,"
        )
    return None
