"""Statistics of other programs: read as they wrote them, and refused where they cannot be right."""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics
from torch_fidelity.utils import cache_lookup_one_recompute_on_miss

from raymetrics.errors import RaymetricsError, ShardError, StorageError, UnsafePickle
from raymetrics.shards.foreign import read_statistics
from raymetrics.shards.foreign.statistics_files import (
    MU_SIGMA,
    SPATIAL_MU_SIGMA,
    ReferenceStatistics,
)

Arrays = dict[str, Any]


@pytest.fixture
def x(rng: np.random.Generator) -> np.ndarray:
    return (rng.normal(size=(40, 6)) * [1, 2, 3, 4, 5, 6] + 7).astype(np.float32)


def pair(x: np.ndarray) -> Arrays:
    """As the programs of the field compute it."""
    return {"mu": x.mean(axis=0, dtype=np.float64), "sigma": np.cov(x, rowvar=False)}


def same(found: ReferenceStatistics, place: str, x: np.ndarray, rel: float = 1e-12) -> bool:
    of = found.gaussians[place]
    expected = pair(x)
    assert of.mean.dtype == of.covariance.dtype == np.float64
    np.testing.assert_allclose(of.mean, expected["mu"], rel)
    np.testing.assert_allclose(of.covariance, expected["sigma"], rel, atol=1e-12)
    return True


def saved(path: Path, arrays: Any) -> str:
    """In the format of the file's suffix."""
    if path.suffix == ".npz":
        np.savez_compressed(path, **arrays)
    elif path.suffix == ".pkl":
        path.write_bytes(pickle.dumps(arrays))
    else:
        torch.save(arrays, path)
    return str(path)


def test_mu_and_sigma(tmp_path: Path, x: np.ndarray) -> None:
    uri = saved(tmp_path / "fid.npz", pair(x))
    found = read_statistics(uri)
    assert same(found, MU_SIGMA, x)
    assert (found.count, found.ddof, found.origin, found.uri) == (None, None, None, uri)
    assert found.sha256 == hashlib.sha256(Path(uri).read_bytes()).hexdigest()


def test_a_batch_of_adm(tmp_path: Path, x: np.ndarray) -> None:
    images = np.array([object()])  # what arr_0 holds is not looked at
    spatial = {f"{name}_s": value for name, value in pair(x[:, :4]).items()}
    found = read_statistics(saved(tmp_path / "adm.npz", {"arr_0": images, **pair(x), **spatial}))
    assert same(found, MU_SIGMA, x)
    assert same(found, SPATIAL_MU_SIGMA, x[:, :4])
    assert found.layout == "ADM"


def test_a_pickle_of_edm2(tmp_path: Path, x: np.ndarray) -> None:
    contents = {"num_images": 40, "fid": pair(x), "fd_dinov2": pair(x[:, :3])}
    found = read_statistics(saved(tmp_path / "img512.pkl", contents))
    assert same(found, "fid", x)
    assert same(found, "fd_dinov2", x[:, :3])
    assert (found.layout, found.count) == ("EDM2", 40)


@pytest.mark.parametrize("keeps_all", [False, True])
def test_the_cache_of_stylegan2_ada(tmp_path: Path, x: np.ndarray, keeps_all: bool) -> None:
    x64 = x.astype(np.float64)
    contents: Arrays = {"capture_all": keeps_all, "num_items": 40, "num_features": 6}
    if keeps_all:
        contents |= {"all_features": [x[:25], x[25:]], "raw_mean": None, "raw_cov": None}
    else:
        contents |= {"all_features": None, "raw_mean": x64.sum(axis=0), "raw_cov": x64.T @ x64}
    found = read_statistics(saved(tmp_path / "cache.pkl", contents))
    of = next(iter(found.gaussians.values()))
    np.testing.assert_allclose(of.covariance, np.cov(x, rowvar=False, ddof=found.ddof), rtol=1e-9)
    assert (found.count, found.ddof) == (40, 1 if keeps_all else 0)


def test_the_caches_of_torch_fidelity(tmp_path: Path, x: np.ndarray) -> None:
    """Written by that program itself."""
    kept: dict[str, Callable[[], Any]] = {
        "real-inception-v3-compat-stat-fid-2048": lambda: fid_features_to_statistics(
            torch.from_numpy(x)
        ),
        "real-inception-v3-compat-features-2048": lambda: torch.from_numpy(x),
    }
    for name, make in kept.items():
        cache_lookup_one_recompute_on_miss(name, make, cache_root=str(tmp_path))
    statistics, features = (read_statistics(str(tmp_path / f"{name}.pt")) for name in kept)
    assert same(statistics, MU_SIGMA, x, rel=1e-6)  # their mean is float32
    assert same(features, "features", x)
    assert (statistics.count, features.count) == (None, 40)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_tensors_without_torch(tmp_path: Path, x: np.ndarray, dtype: torch.dtype) -> None:
    """A part of a storage, as rows of a larger tensor are saved."""
    rows = torch.from_numpy(x).to(dtype)[10:]
    found = read_statistics(saved(tmp_path / "features.pt", rows))
    assert same(found, "features", rows.numpy().astype(np.float64))


def test_tensors_of_other_strides(tmp_path: Path, x: np.ndarray) -> None:
    columns = torch.from_numpy(x).T.contiguous().T
    assert same(read_statistics(saved(tmp_path / "a.pt", columns)), "features", x)
    repeated = torch.from_numpy(x[:1]).expand(40, 6)
    with pytest.raises(RaymetricsError, match=r"a tensor \[40, 6\] of 6 numbers"):
        read_statistics(saved(tmp_path / "b.pt", repeated))


def test_features_of_clean_fid_and_dgm_eval(tmp_path: Path, x: np.ndarray) -> None:
    for name in ("feats", "reps"):
        arrays = {name: x, "hparams": np.array([{}])}  # one that only pickle could read
        found = read_statistics(saved(tmp_path / f"{name}.npz", arrays))
        assert same(found, name, x)
        assert (found.count, found.ddof) == (40, 1)


def broken(x: np.ndarray, **changes: Any) -> Arrays:
    return {**pair(x), **changes}


def indefinite(x: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(np.cov(x, rowvar=False))
    return (vectors * np.where(values == values.min(), -1.0, values)) @ vectors.T


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mu": np.zeros(5)}, r"mu .* is float64 \[5\] and sigma float64 \[6, 6\], expected"),
        ({"sigma": np.zeros(6)}, r"sigma float64 \[6\], expected floats \[d\] and \[d, d\]"),
        ({"mu": np.zeros(6, int)}, r"mu in .* is int64 \[6\]"),
        ({"mu": np.full(6, np.nan)}, "mu or sigma holds NaN or infinite values in "),
        ({"sigma": np.triu(np.ones((6, 6)))}, "sigma is not symmetric .* by up to 1"),
        ({"sigma": indefinite}, "sigma has an eigenvalue below -0.0"),
        ({"mu_s": np.zeros(3), "sigma_s": np.eye(2)}, "mu_s, sigma_s: mu in .* float64 .2, 2."),
    ],
)
def test_what_cannot_be(tmp_path: Path, x: np.ndarray, changes: Arrays, message: str) -> None:
    made = {name: value(x) if callable(value) else value for name, value in changes.items()}
    with pytest.raises(ShardError, match=message):
        read_statistics(saved(tmp_path / "wrong.npz", broken(x, **made)))


def test_what_rounding_leaves_below_zero_is_read(tmp_path: Path, x: np.ndarray) -> None:
    """Fewer samples than dimensions, and float32."""
    few = pair(x[:4])
    sigma = few["sigma"].astype(np.float32)
    assert np.linalg.eigvalsh(sigma.astype(np.float64)).min() < 0
    found = read_statistics(saved(tmp_path / "few.npz", {**few, "sigma": sigma}))
    assert found.gaussians[MU_SIGMA].covariance.dtype == np.float64


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('executed')",)


@pytest.mark.parametrize(
    ("name", "contents", "error", "message"),
    [
        ("a.npz", {"x": np.zeros(3)}, ShardError, "a.npz holds x; expected mu and sigma"),
        ("a.npz", {"feats": np.zeros(3)}, ShardError, r"feats in .* is float64 \[3\], expected"),
        ("a.npz", {"mu": np.array([Malicious()]), "sigma": np.eye(1)}, ShardError, "OBJECT array"),
        ("a.pkl", Malicious(), UnsafePickle, "nothing of it was executed"),
        ("a.pkl", [1, 2], ShardError, "a.pkl holds a list; expected mu and sigma"),
        ("a.pt", Malicious(), UnsafePickle, "nothing of it was executed"),
        ("a.pt", [torch.zeros(2), Malicious()], UnsafePickle, "nothing of it was executed"),
        ("a.pt", torch.zeros(3, 4, dtype=torch.int64), ShardError, r"int64 \[3, 4\], expected"),
    ],
)
def test_other_contents(
    tmp_path: Path, name: str, contents: Any, error: type[RaymetricsError], message: str
) -> None:
    uri = saved(tmp_path / name, contents)
    with pytest.raises(error, match=message):
        read_statistics(uri)


def test_files_that_are_none(tmp_path: Path, x: np.ndarray) -> None:
    with pytest.raises(StorageError, match="there is no file .*nothing.npz"):
        read_statistics(str(tmp_path / "nothing.npz"))
    for suffix in (".npz", ".pt"):
        whole = Path(saved(tmp_path / f"whole{suffix}", pair(x))).read_bytes()
        cut = tmp_path / f"cut{suffix}"
        for data in (b"", b"hello", whole[:-200], whole.replace(whole[60:90], bytes(30))):
            cut.write_bytes(data)
            with pytest.raises(ShardError, match=f"cannot read statistics from .*cut{suffix}"):
                read_statistics(str(cut))


def claims(shape: tuple[int, ...], numbers: bytes = b"") -> bytes:
    """A .npy file whose header announces that."""
    file = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + numbers


@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_arrays_larger_than_their_files(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "large.npz"
    with zipfile.ZipFile(path, "w", kind) as file:
        file.writestr("mu.npy", claims((400_000,)))
        file.writestr("sigma.npy", claims((400_000, 400_000), bytes(80)))
    with pytest.raises(ShardError, match="cannot read statistics from .*large.npz"):
        read_statistics(str(path))


def test_arrays_and_storages_have_a_limit(
    tmp_path: Path, x: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raymetrics.npz_files.MAX_ARRAY_BYTES", 200)
    np.savez_compressed(tmp_path / "a.npz", feats=x)
    with pytest.raises(ShardError, match=r"feats would take \d+ bytes, at most 200"):
        read_statistics(str(tmp_path / "a.npz"))
    monkeypatch.setattr("raymetrics.safe_pickle.torch_zip.MAX_COMPRESSED_BYTES", 200)
    whole = saved(tmp_path / "whole.pt", torch.from_numpy(x))
    with zipfile.ZipFile(whole) as before, zipfile.ZipFile(tmp_path / "b.pt", "w", 8) as after:
        for name in before.namelist():
            after.writestr(name, before.read(name))
    with pytest.raises(ShardError, match=r"compressed bytes, expected 200 at most"):
        read_statistics(str(tmp_path / "b.pt"))
