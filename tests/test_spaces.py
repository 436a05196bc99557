"""What a number is called, and which sets may be compared: by what their features are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import raymetrics as rm
from raymetrics.errors import SpecMismatch
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
