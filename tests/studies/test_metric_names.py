"""What a number is called, and which sets may be compared: by what their features are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import raymetrics as rm
from raymetrics.errors import ShardError, SpecMismatch
from raymetrics.shards import schema
from raymetrics.shards.schema import Column
from tests.conftest import write_set

pytestmark = pytest.mark.usefixtures("ray_session")

INCEPTION: dict[str, object] = {
    "name": "inception", "network": "inception", "columns": {}, "resize": "tf1-bilinear",
    "weights_sha256": "0", "precision": "float32",
}  # fmt: skip
PUBLISHED = {"inception": {"name": "pt_inception.pth", "sha256": "1", "published": True}}
UNKNOWN = {"inception": {"name": "inception.pt", "sha256": "2", "published": False}}


def sides(folder: Path, rng: np.random.Generator, real: Any, generated: Any) -> dict[str, str]:
    """Two sets of ("of Inception", its specification, the files, the outputs that it keeps)."""
    uris = {}
    for side, (changes, files, outputs) in {"real": real, "generated": generated}.items():
        features = {name: rng.normal(size=(12, 3)).astype(np.float32) for name in outputs}
        uris[side] = str(folder / side)
        spec = {**INCEPTION, **changes, "columns": dict.fromkeys(outputs, 3)}
        write_set(uris[side], features, extractor="inception", spec=spec, files=files)
    return uris


USUAL = ("pre_logits", "logits")


@pytest.mark.parametrize(
    ("changes", "files", "label"),
    [
        ({}, (PUBLISHED, PUBLISHED), "FID"),
        ({}, (UNKNOWN, PUBLISHED), "FID"),  # of the same tensors, so the same network
        ({}, (UNKNOWN, UNKNOWN), "FD inception"),
        ({}, ({}, {}), "FD inception"),
        ({"resize": "clean"}, (PUBLISHED, PUBLISHED), "FID (clean)"),
        ({"precision": "bfloat16"}, (PUBLISHED, PUBLISHED), "FD inception"),
        ({"network": "vgg16"}, (PUBLISHED, PUBLISHED), "FD inception"),
    ],
)
def test_only_its_own_space_makes_it_fid(tmp_path: Path, rng, changes, files, label) -> None:
    uris = sides(tmp_path, rng, *((changes, file, USUAL) for file in files))
    fid, precision, *_ = rm.evaluate(**uris, metrics=["fid", "pr"])
    assert (fid.label, precision.label) == (label, "precision inception")
    assert fid.space["resize"] == changes.get("resize", "tf1-bilinear")


def test_other_columns_of_it_are_not_fid(tmp_path: Path, rng) -> None:
    uris = sides(tmp_path, rng, *[({}, PUBLISHED, (*USUAL, "spatial"))] * 2)
    columns = ["inception_logits", "inception_spatial"]
    found = rm.evaluate(**uris, metrics=["fid"], columns=columns)
    assert [r.label for r in found] == ["FD inception logits", "FD inception spatial"]


def test_different_conventions_are_refused_and_named(tmp_path: Path, rng) -> None:
    uris = sides(tmp_path, rng, ({}, {}, USUAL), ({"resize": "clean"}, {}, USUAL))
    words = 'used inception differently.*resize: there "tf1-bilinear", on the other side "clean"'
    with pytest.raises(SpecMismatch, match=words):
        rm.evaluate(**uris, metrics=["fid"])


def test_a_set_may_keep_more_columns_than_the_other(tmp_path: Path, rng) -> None:
    more = (*USUAL, "logits_unbiased", "spatial")
    uris = sides(tmp_path, rng, ({}, {}, more), ({}, {}, ("pre_logits", "logits_unbiased")))
    found = rm.evaluate(**uris, metrics=["fid", "is"])
    assert [r.label for r in found] == ["FD inception", "Inception Score inception logits_unbiased"]
    with pytest.raises(SpecMismatch, match="column 'inception_spatial' is not in both"):
        rm.evaluate(**uris, metrics=["fid"], columns=["inception_spatial"])


def test_a_file_of_statistics_does_not_make_it_fid(tmp_path: Path, rng) -> None:
    uris = sides(tmp_path, rng, *[({}, PUBLISHED, USUAL)] * 2)
    mu, sigma = np.zeros(3), np.eye(3)
    np.savez(tmp_path / "foreign.npz", mu=mu, sigma=sigma)
    columns = ["inception_pre_logits"]
    (foreign,) = rm.evaluate(
        real=str(tmp_path / "foreign.npz"), generated=uris["generated"], columns=columns
    )
    assert foreign.label == "FD inception"
    rm.export(uris["real"], to=str(tmp_path / "ours.npz"), format="npz", columns=columns)
    (ours,) = rm.evaluate(real=str(tmp_path / "ours.npz"), generated=uris["generated"])
    assert ours.label == "FID"


def test_exported_by_another_ddof_than_the_protocol_s(tmp_path: Path, rng) -> None:
    uris = sides(tmp_path, rng, *[({}, PUBLISHED, ("pre_logits",))] * 2)
    rm.export(uris["real"], to=str(tmp_path / "x.npz"), format="npz", ddof=0)
    with pytest.raises(SpecMismatch, match=r"fid50k divides.*exported with ddof 0"):
        rm.evaluate(real=str(tmp_path / "x.npz"), generated=uris["generated"], protocol="fid50k")


def test_labels_with_other_names_are_not_compared(tmp_path: Path, rng) -> None:
    uris, labels = {}, np.arange(12) % 2
    for side, names in {"a": ("cat", "dog"), "b": ("dog", "fox"), "c": ()}.items():
        features = {"pre_logits": rng.normal(size=(12, 3)).astype(np.float32)}
        uris[side] = str(tmp_path / side)
        write_set(uris[side], features, labels=labels, label_names=names)
    with pytest.raises(SpecMismatch, match="labels 0, 1, .* are cat, dog, those of .* dog, fox"):
        rm.evaluate(real=uris["a"], generated=uris["b"], metrics=["fid"], by="label")
    found = rm.evaluate(real=uris["a"], generated=uris["c"], metrics=["fid"], by="label")
    labels_of_results = [r.label for r in found if "label" in r.subset]
    assert labels_of_results == ["FD made-up, label 0 (cat)", "FD made-up, label 1 (dog)"]


def test_clip_is_known_by_its_network_and_not_by_its_name(tmp_path: Path, rng) -> None:
    found = {}
    for network, name in (("clip-vit-b-32", "big"), ("inception", "clip-x")):
        uris = {}
        for side in ("real", "generated"):
            uris[side] = str(tmp_path / f"{name}-{side}")
            features = {"features": rng.normal(size=(12, 3)).astype(np.float32)}
            spec = {**INCEPTION, "name": name, "network": network, "columns": {"features": 3}}
            write_set(uris[side], features, extractor=name, spec=spec)
        found[name] = uris
    (cmmd,) = rm.evaluate(**found["big"], metrics=["cmmd"])
    assert cmmd.label == "CMMD big"
    with pytest.raises(rm.RaymetricsError, match="cmmd takes a column of clip"):
        rm.evaluate(**found["clip-x"], metrics=["cmmd"])


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ([Column("../../x", "y", 3)], r"cannot be called '../../x_y'; expected letters"),
        ([Column("a-b", "c", 3), Column("a", "b_c", 3)], "several columns are called a_b_c"),
    ],
)
def test_names_of_columns(columns: list[Column], what: str) -> None:
    with pytest.raises(ShardError, match=what):
        schema.require_distinct_names(columns)
