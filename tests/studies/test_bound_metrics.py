"""Metrics that are bound to an extractor or a column: pr:vgg16, fid:inception_logits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import raymetrics as rm
from raymetrics.errors import RaymetricsError
from raymetrics.metrics.registry import find_metric, find_metrics
from raymetrics.shards.schema import Column
from raymetrics.studies.comparison import find_space
from tests.conftest import write_set

pytestmark = pytest.mark.usefixtures("no_actors")

COLUMNS = [
    Column("clip-vit-b-32", "embedding", 512), Column("inception", "logits", 1008),
    Column("inception", "pre_logits", 2048), Column("inception-clean", "pre_logits", 2048),
    Column("vgg16", "fc2_relu", 4096),
]  # fmt: skip


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ("vgg16", ["vgg16_fc2_relu"]),
        ("vgg", ["vgg16_fc2_relu"]),
        ("clip", ["clip_vit_b_32_embedding"]),
        ("clip-vit-b-32_emb", ["clip_vit_b_32_embedding"]),
        ("inception", ["inception_logits", "inception_pre_logits"]),
        ("inception_logits", ["inception_logits"]),
        ("inception_l", ["inception_logits"]),
    ],
)
def test_spaces_by_name(space: str, expected: list[str]) -> None:
    assert [column.name for column in find_space(space, COLUMNS)] == expected


def test_spaces_that_cannot_be_meant() -> None:
    with pytest.raises(RaymetricsError, match="'inc' may be inception or inception-clean; write"):
        find_space("inc", COLUMNS)
    with pytest.raises(RaymetricsError, match="no space 'dino'; there are the extractors clip-vit"):
        find_space("dino", COLUMNS)
    with pytest.raises(RaymetricsError, match="the columns clip_vit_b_32_embedding, inception_log"):
        find_space("dino", COLUMNS)


def test_names_of_the_registry_come_before_modules() -> None:
    bound = find_metric("Precision:vgg16")
    assert (bound.name, bound.space, bound.text) == ("pr", "vgg16", "pr:vgg16")
    texts = ["fid:a", "fid", "fid:b", "FD:a"]
    assert [metric.text for metric in find_metrics(texts)] == ["fid:a", "fid", "fid:b"]
    assert find_metric("own_metrics:mean_distance").user_code
    with pytest.raises(RaymetricsError, match="no metric 'fid:'"):
        find_metric("fid:")


@pytest.fixture
def uris(tmp_path: Path, rng: np.random.Generator) -> dict[str, str]:
    uris = {}
    for side, shift in (("real", 0.0), ("generated", 0.5)):
        uris[side] = str(tmp_path / side)
        features = {
            name: rng.normal(shift, 1, (60, d)).astype(np.float32)
            for name, d in (("pre_logits", 4), ("logits", 3), ("spatial", 2))
        }
        write_set(uris[side], features)
    return uris


def numbers(results: list[rm.Result]) -> dict[tuple[str, object], float]:
    return {(result.metric, result.space["output"]): result.value for result in results}


def test_each_in_its_space(uris: dict[str, str]) -> None:
    names = ["pr:made_up_pre", "fid:made_up_logits", "fid:made-up", "top1"]
    found = numbers(rm.evaluate(**uris, metrics=names))
    whole = numbers(rm.evaluate(**uris, metrics="pr,fid,top1"))
    of_logits = numbers(rm.evaluate(**uris, metrics="fid", columns="made_up_logits"))
    assert found == {**whole, **of_logits}
    swept = rm.sweep(
        ["digits"], real_source="mnist", real_samples="0-39", extractors="digits",
        metrics=["fid:digits_logits", "pr:dig"], to=str(Path(uris["real"]).parent / "sweep"),
    )  # fmt: skip
    assert {key[0]: key[1] for key in numbers(swept.results)} == {
        "frechet_distance": "logits", "precision": "pre_logits", "recall": "pre_logits",
        "f_score": "pre_logits",
    }  # fmt: skip


def test_errors_name_the_metric(uris: dict[str, str]) -> None:
    with pytest.raises(RaymetricsError, match="no space 'vgg16'; there are the extr"):
        rm.evaluate(**uris, metrics="pr:vgg16,fid")
    with pytest.raises(RaymetricsError, match="top1:made_up_pre_logits takes a column of logits"):
        rm.evaluate(**uris, metrics="top1:made_up_pre_logits")


def test_sources_are_extracted_by_the_networks_that_are_named() -> None:
    found = rm.evaluate(
        real="mnist", generated="digits", samples=30, metrics="fid:digits,pr:digits"
    )
    assert {result.space["name"] for result in found} == {"digits"}


def test_an_evaluator(rng: np.random.Generator) -> None:
    images = rng.integers(0, 256, (40, 3, 28, 28), np.uint8)
    evaluator = rm.Evaluator(extractor="digits", metrics="fid:digits_pre,top1:digits")
    evaluator.update(images, real=True)
    evaluator.update(images[:20])
    assert set(evaluator.compute()) == {"frechet_distance", "top1_distance"}
