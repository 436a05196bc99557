"""Features of another program: kept once as a shard set, and refused if they are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from raymetrics.errors import ShardError, StorageError
from raymetrics.shards.foreign.feature_files import FeatureFile, names_features, open_features
from raymetrics.shards.set_cache import cache_folder, list_cached_sets


@pytest.fixture
def features(rng: np.random.Generator) -> np.ndarray:
    x: np.ndarray = rng.normal(size=(30, 4))
    return x


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYMETRICS_CACHE", str(tmp_path / "cache"))


def write_npz(path: Path, **arrays: np.ndarray) -> str:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return str(path)


def test_any_of_its_forms_gives_the_same_rows(tmp_path: Path, features: np.ndarray) -> None:
    labels = np.arange(30)
    np.save(tmp_path / "a.npy", features.astype(np.float32))
    np.save(tmp_path / "fortran.npy", np.asfortranarray(features))
    (tmp_path / "folder").mkdir()
    np.save(tmp_path / "folder" / "1.npy", features[:10])
    np.save(tmp_path / "folder" / "2.npy", features[10:])
    write_npz(tmp_path / "one.npz", clips=features, labels=labels)
    write_npz(tmp_path / "two.npz", clips=features, others=features + 1)
    for name in (
        "a.npy", "fortran.npy", "one.npz", "two.npz?column=clips", "folder?space=features",
    ):  # fmt: skip
        text = f"{tmp_path}/{name}"
        assert names_features(text)
        view = open_features(text)
        assert (view.read("features_features") == features.astype(np.float32)).all()
        assert view.shards.spec.source == f"{tmp_path}/{name.partition('?')[0]}" + (
            "?column=clips&space=features" if "column" in name else "?space=features"
        )
    view = open_features(f"{tmp_path}/one.npz?space=i3d-k400")
    assert [column.name for column in view.shards.spec.columns] == ["i3d_k400_features"]


def test_it_is_kept_once(tmp_path: Path, features: np.ndarray) -> None:
    file = write_npz(tmp_path / "x.npz", clips=features)
    first, again = open_features(file), open_features(file)
    assert first.shards.uri == again.shards.uri
    assert len(list_cached_sets(cache_folder())) == 1
    write_npz(tmp_path / "x.npz", clips=features + 1)
    assert open_features(file).shards.uri != first.shards.uri
    assert (open_features(f"{file}?space=b").read("b_features")).shape == (30, 4)
    assert len(list_cached_sets(cache_folder())) == 3


def test_what_is_no_file_of_features(tmp_path: Path, features: np.ndarray) -> None:
    images = np.zeros((3, 8, 8, 3), np.uint8)
    np.save(tmp_path / "images.npy", images)
    for name, arrays in {
        "images.npz": {"arr_0": images},
        "both.npz": {"arr_0": images, "features": features},
        "two.npz": {"a": features, "b": features},
        "labels.npz": {"labels": np.arange(3)},
    }.items():
        write_npz(tmp_path / name, **arrays)
        assert not names_features(f"{tmp_path}/{name}")
    (tmp_path / "damaged.npy").write_bytes(b"\x93NUMPY\x01")
    for name in ("images.npy", "damaged.npy", "absent.npz", "images.npz?size=8", "dir?size=8"):
        assert not names_features(f"{tmp_path}/{name}")


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ({"a": np.ones((3, 2)), "b": np.ones((3, 2))}, "", r"2 arrays of floats \[n, d\].*a, b"),
        ({"a": np.ones((3, 2))}, "&column=c", "no array 'c'; it holds a: choose with .column=NAME"),
        (
            {"a": np.ones((3, 2), int)},
            "&column=a",
            r"int64 \[3, 2\], expected floats \[samples",
        ),
        ({"a": np.ones((3, 2, 1))}, "&column=a", r"float64 \[3, 2, 1\], expected floats"),
        ({"a": np.ones((0, 2))}, "&column=a", r"float64 \[0, 2\], expected floats"),
        ({"a": np.array([[1.0], [np.nan]])}, "", "in 1 of 2 rows, first row 1; remove those"),
        ({"a": np.array([[1e300]])}, "", "beyond float32 in 1 of 1 rows"),
        ({"a": np.ones((3, 2))}, "&size=8", "no option size; there are column, space"),
        ({"a": np.ones((3, 2))}, "&column=a&space=a.b", "cannot be called 'a.b_features'"),
    ],
)
def test_bad_files_write_nothing(
    tmp_path: Path, arrays: dict[str, np.ndarray], options: str, message: str
) -> None:
    file = write_npz(tmp_path / "x.npz", **arrays)
    space = "" if "space=" in options else "space=s"
    with pytest.raises(ShardError, match=message):
        open_features(f"{file}?{space}{options}".replace("?&", "?"))
    assert not cache_folder().exists()


def test_files_that_are_not_there_or_damaged(tmp_path: Path, features: np.ndarray) -> None:
    with pytest.raises(StorageError, match="there is no file .*x.npz; expected features as"):
        open_features(f"{tmp_path}/x.npz?space=s")
    (tmp_path / "x.npz").write_bytes(b"PK")
    with pytest.raises(ShardError, match="cannot read features from .*x.npz.*make the file again"):
        open_features(f"{tmp_path}/x.npz?space=s")
    np.save(tmp_path / "objects.npy", np.array([[{}]]), allow_pickle=True)
    with pytest.raises(ShardError, match="cannot read features from .*objects.npy"):
        open_features(f"{tmp_path}/objects.npy?space=s")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="there is no .npy file in"):
        open_features(f"{tmp_path}/folder?space=s")
    for name, dimension in (("a", 2), ("b", 3)):
        np.save(tmp_path / "folder" / f"{name}.npy", features[:, :dimension])
    with pytest.raises(ShardError, match=r"b.npy holds features of 3 dimensions, .*a.npy of 2"):
        open_features(f"{tmp_path}/folder?space=s")


def test_a_write_that_is_cut_off_leaves_nothing(
    tmp_path: Path, features: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_npz(tmp_path / "x.npz", clips=features)

    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("raymetrics.shards.write_features.seal_set", fail)
        with pytest.raises(KeyboardInterrupt):
            open_features(file)
    assert list_cached_sets(cache_folder()) == []
    assert len(open_features(file)) == 30


def test_a_file_says_where_it_is(tmp_path: Path) -> None:
    assert FeatureFile.parse("s3://b/x.npz?space=s").source == "s3://b/x.npz?space=s"
