"""Exports, read by the programs that they are for; and shards, read by programs as they are."""

from __future__ import annotations

import errno
import gc
import os
from glob import glob
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest
from pytorch_fid.fid_score import compute_statistics_of_path

from raymetrics.errors import NotEnoughData, RaymetricsError, ShardError, StorageError
from raymetrics.shards.foreign import read_statistics
from raymetrics.shards.foreign.export import export
from raymetrics.shards.open_view import open_view
from raymetrics.shards.shard_set import ShardSet
from raymetrics.statistics import Moments
from tests.conftest import write_set
from tests.docs.blocks import block

NAME = "made_up_pre_logits"
LOGITS = "made_up_logits"


@pytest.fixture
def features(rng: np.random.Generator) -> np.ndarray:
    return (rng.normal(size=(250, 6)) + 3).astype(np.float32)


@pytest.fixture
def shard_set(tmp_path: Path, features: np.ndarray) -> ShardSet:
    both = {"pre_logits": features, "logits": np.ascontiguousarray(features[:, :2])}
    return write_set(str(tmp_path / "set"), both, labels=np.arange(250) % 3)


@pytest.mark.parametrize(("ddof", "samples"), [(1, None), (0, 130)])
def test_npz(
    tmp_path: Path, shard_set: ShardSet, features: np.ndarray, ddof: int, samples: int | None
) -> None:
    to = str(tmp_path / "sub" / "stats.npz")
    export(shard_set, to=to, format="npz", ddof=ddof, samples=samples)
    mu, sigma = compute_statistics_of_path(to, None, 1, 6, "cpu")
    x = features[:samples].astype(np.float64)
    assert mu.dtype == sigma.dtype == np.float64
    np.testing.assert_allclose(mu, x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(sigma, np.cov(x, rowvar=False, ddof=ddof), rtol=1e-10, atol=1e-12)
    found = read_statistics(to)
    assert (found.layout, found.count, found.ddof) == ("raymetrics", len(x), ddof)
    assert found.origin is not None
    assert found.origin["extractor"] == shard_set.spec.extractors[0]
    assert found.origin["samples"] == [f"0-{len(x) - 1}"]
    again = tmp_path / "again.npz"
    export(shard_set, to=str(again), format="npz", ddof=ddof, samples=samples)
    assert again.read_bytes() == Path(to).read_bytes()


def test_npz_on_an_object_store(shard_set: ShardSet) -> None:
    to = "memory://exports/stats.npz"
    export(shard_set, to=to, format="npz", columns=[LOGITS])
    assert len(read_statistics(to).gaussians["mu, sigma"].mean) == 2
    with pytest.raises(StorageError, match="is there already"):
        export(shard_set, to=to, format="npz")
    with pytest.raises(StorageError, match="export to a local folder and copy it"):
        export(shard_set, to="memory://exports/npy", format="npy")


def test_npy(tmp_path: Path, shard_set: ShardSet, features: np.ndarray) -> None:
    folder = tmp_path / "npy"
    export(shard_set.uri, to=str(folder), format="npy", samples=130)
    files = {path.stem: np.load(path, mmap_mode="r") for path in folder.iterdir()}
    assert sorted(files) == ["label", LOGITS, NAME, "sample_id"]
    assert files[NAME].dtype == np.float32
    np.testing.assert_array_equal(files[NAME], features[:130])
    np.testing.assert_array_equal(files[LOGITS], features[:130, :2])
    np.testing.assert_array_equal(files["sample_id"], np.arange(130))
    np.testing.assert_array_equal(files["label"], np.arange(130) % 3)


def test_huggingface(
    tmp_path: Path, shard_set: ShardSet, features: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # read when the library is loaded
    import datasets

    folder = tmp_path / "hf"
    export(shard_set, to=str(folder), format="huggingface", samples=130)
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"), split="train")
    assert loaded.features == datasets.Features(
        {
            "sample_id": datasets.Value("int64"),
            "label": datasets.Value("int64"),
            NAME: datasets.List(datasets.Value("float32"), length=6),
            LOGITS: datasets.List(datasets.Value("float32"), length=2),
        }
    )
    rows = loaded.with_format("numpy")[:]
    np.testing.assert_array_equal(rows[NAME], features[:130])
    assert rows["sample_id"].tolist() == list(range(130))
    assert rows["label"].tolist() == [i % 3 for i in range(130)]
    names = sorted(path.name for path in (folder / "data").iterdir())
    assert names[-1] == "samples-000000000100-000000000129.parquet"
    card = (folder / "README.md").read_text()
    assert "130 samples" in card
    assert '"name": "numbers"' in card


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_webdataset(tmp_path: Path, shard_set: ShardSet, features: np.ndarray) -> None:
    import webdataset

    folder = tmp_path / "tars"
    export(shard_set, to=str(folder), format="webdataset", columns=[NAME], samples=130)
    urls = sorted(map(str, folder.iterdir()))
    assert [Path(url).name for url in urls] == [
        "samples-000000000000-000000000099.tar",
        "samples-000000000100-000000000129.tar",
    ]
    rows = list(webdataset.WebDataset(urls, shardshuffle=False).decode())
    gc.collect()  # it leaves its files open
    np.testing.assert_array_equal([row[f"{NAME}.npy"] for row in rows], features[:130])
    assert [row["__key__"] for row in rows] == [f"{i:012d}" for i in range(130)]
    assert [row["cls"] for row in rows] == [i % 3 for i in range(130)]
    assert [row["json"]["sample_id"] for row in rows] == list(range(130))
    assert {row["json"]["fingerprint"] for row in rows} == {shard_set.spec.fingerprint}


def test_shards(tmp_path: Path, shard_set: ShardSet, features: np.ndarray) -> None:
    ids = np.array([3, 99, 100, 150, 160, *range(170, 249)])
    file = str(tmp_path / "chosen.parquet")
    pd.DataFrame({"sample_id": ids}).to_parquet(file)
    uri = f"{shard_set.uri}?ids={file}"
    for to in ("new", "again"):
        export(uri, to=str(tmp_path / to), format="shards", columns=[NAME])
    new = open_view(str(tmp_path / "new"))
    assert new.shards.seal is not None
    assert [*new.shards.columns] == [NAME]
    np.testing.assert_array_equal(new.sample_ids, np.arange(len(ids)))
    np.testing.assert_array_equal(new.read(NAME), features[ids])
    np.testing.assert_array_equal(new.labels(), ids % 3)
    assert new.shards.spec.fingerprint != shard_set.spec.fingerprint
    for name, data in ((p.name, p.read_bytes()) for p in (tmp_path / "new").iterdir()):
        assert (tmp_path / "again" / name).read_bytes() == data


def test_a_set_holds_no_sample_twice(tmp_path: Path, shard_set: ShardSet) -> None:
    file = str(tmp_path / "drawn.parquet")
    pd.DataFrame({"sample_id": [4, 4, 5]}).to_parquet(file)
    with pytest.raises(ShardError, match="each sample once, .*drawn.parquet names some repeatedly"):
        export(f"{shard_set.uri}?ids={file}", to=str(tmp_path / "new"), format="shards")
    assert not (tmp_path / "new").exists()


def test_without_labels(tmp_path: Path, features: np.ndarray) -> None:
    plain = write_set(str(tmp_path / "plain"), {"pre_logits": features})
    for form in ("npy", "huggingface", "webdataset", "shards"):
        export(plain, to=str(tmp_path / form), format=form)
    assert not (tmp_path / "npy" / "label.npy").exists()
    assert '"label"' not in (tmp_path / "huggingface" / "README.md").read_text()


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"format": "csv"}, RaymetricsError, "no format 'csv'; there are npz, npy, hugging"),
        ({"columns": ["x"]}, ShardError, f"has no column 'x'; it has {NAME}, {LOGITS}"),
        ({"columns": [NAME, LOGITS], "to": "x"}, StorageError, "x is no name of a .npz file"),
        ({"samples": 251}, NotEnoughData, "the first 251 samples are asked for, .* has 250"),
        ({"samples": 0}, NotEnoughData, "ask for 1 to 250"),
        ({"samples": 1}, NotEnoughData, "it takes at least 2"),
    ],
)
def test_refusals(
    tmp_path: Path, shard_set: ShardSet, asked: dict[str, Any], error: type[RaymetricsError],
    message: str, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(error, match=message):
        export(shard_set, **{"to": "x.npz", "format": "npz", **asked})
    assert sorted(tmp_path.iterdir()) == before


def test_several_columns_are_not_guessed(tmp_path: Path, features: np.ndarray) -> None:
    two = write_set(str(tmp_path / "two"), {"pre_logits": features, "fc2": features})
    with pytest.raises(ShardError, match="has made_up_pre_logits, made_up_fc2; name one"):
        export(two, to=str(tmp_path / "x.npz"), format="npz")


@pytest.mark.parametrize("form", ["npz", "npy", "huggingface", "webdataset", "shards"])
class TestWholeOrNotAtAll:
    def to(self, tmp_path: Path, form: str) -> Path:
        return tmp_path / "out" / ("x.npz" if form == "npz" else "x")

    def test_what_is_there_stays(self, tmp_path: Path, shard_set: ShardSet, form: str) -> None:
        to = self.to(tmp_path, form)
        to.parent.mkdir()
        to.write_text("mine")
        with pytest.raises(StorageError, match="is there already; remove it, or"):
            export(shard_set, to=str(to), format=form)
        assert to.read_text() == "mine"
        assert list(to.parent.iterdir()) == [to]

    def test_an_incomplete_set(self, tmp_path: Path, shard_set: ShardSet, form: str) -> None:
        os.remove(shard_set.store.path("samples-000000000100-000000000199.parquet"))
        with pytest.raises(ShardError, match="lacks samples 100-199; make them with"):
            export(shard_set, to=str(self.to(tmp_path, form)), format=form)
        assert not (tmp_path / "out").exists()

    def test_a_damaged_shard_half_way(self, tmp_path: Path, shard_set: ShardSet, form: str) -> None:
        last = Path(shard_set.store.path("samples-000000000200-000000000249.parquet"))
        last.write_bytes(last.read_bytes()[:-50])
        with pytest.raises(ShardError, match="cannot read .*249.parquet"):
            export(shard_set, to=str(self.to(tmp_path, form)), format=form)
        assert not list(tmp_path.glob("out/*"))
        assert not list(tmp_path.glob("out/.*"))

    def test_a_full_disk(
        self, tmp_path: Path, shard_set: ShardSet, form: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        # Of folders the last step fails, when all of it has been written.
        monkeypatch.setattr(os, "fsync" if form == "npz" else "rename", full)
        with pytest.raises(StorageError, match="(?i)no space left"):
            export(shard_set, to=str(self.to(tmp_path, form)), format=form)
        assert not list(tmp_path.glob("out/*"))
        assert not list(tmp_path.glob("out/.*"))


def test_memory_is_that_of_a_shard(
    tmp_path: Path, shard_set: ShardSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never more than one shard is asked for at a time, and each once."""
    asked = []
    of = ShardSet.block

    def block(self: ShardSet, ids: range, columns: list[str]) -> Any:
        asked.append(ids)
        return of(self, ids, columns)

    monkeypatch.setattr(ShardSet, "block", block)
    export(shard_set, to=str(tmp_path / "npy"), format="npy")
    assert asked == list(shard_set.present)


# Lines for users, in a folder where `shards` is a set with the column digits_logits: the mean of
# its first dimension for every label, and the whole column as a matrix.
BLOCK = block("docs/guides/other-programs.md", "shards-elsewhere")
LINES = dict(zip(("duckdb", "polars", "pandas"), BLOCK.split("\n\n"), strict=True))


@pytest.mark.parametrize("program", LINES)
def test_lines_for_other_programs(
    tmp_path: Path, features: np.ndarray, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    monkeypatch.chdir(tmp_path)
    labels = np.arange(250) % 3
    write_set("shards", {"logits": features}, extractor="digits", labels=labels)
    found: dict[str, Any] = {"duckdb": duckdb, "pl": pl, "pd": pd, "np": np, "glob": glob}
    exec(LINES[program], found)
    assert found["x"].dtype == np.float32
    np.testing.assert_array_equal(found["x"], features)
    expected = {k: Moments.from_samples(features[labels == k]).mean[0] for k in range(3)}
    assert dict(found["mean"]) == pytest.approx(expected, rel=1e-6)
