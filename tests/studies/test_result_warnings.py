"""Every warning is given where it is due, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import raymetrics as rm
from raymetrics.errors import SpecMismatch
from raymetrics.reports.terminal import results_table, warning_lines
from raymetrics.results import Result
from raymetrics.shards import layout
from raymetrics.shards.writer import commit_shard
from tests.conftest import write_set

pytestmark = pytest.mark.usefixtures("no_actors")

COUNT, CLASSES = 120, 4


def features(count: int = COUNT, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=(count, d)).astype(np.float32) for name, d in
            (("pre_logits", 6), ("logits", CLASSES))}  # fmt: skip


LABELS = {
    "sorted": np.repeat(np.arange(CLASSES), COUNT // CLASSES),
    "balanced": np.arange(COUNT) % CLASSES,
    "random": np.random.default_rng(1).integers(0, CLASSES, COUNT),
}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("sets")
    for seed, (name, labels) in enumerate(LABELS.items()):
        write_set(str(folder / name), features(seed=seed), labels=labels)
    write_set(str(folder / "fewer"), features(COUNT // 2))
    rm.export(str(folder / "random"), to=str(folder / "ours.npz"), format="npz",
              columns=["made-up_pre_logits".replace("-", "_")])  # fmt: skip
    np.savez(folder / "foreign.npz", mu=np.zeros(6), sigma=np.eye(6))
    return {path.name: str(path) for path in folder.iterdir()}


def warnings_of(sets: dict[str, str], real: str, generated: str, **asked: Any) -> str:
    results = rm.evaluate(real=sets[real], generated=sets[generated], **asked)
    return "\n".join(warning_lines(results))


@pytest.mark.parametrize(
    ("sides", "asked", "said", "unsaid"),
    [
        (("random", "sorted"), {"metrics": "is"}, ["sorted by class and the splits"], []),
        (("random", "sorted"), {"metrics": "is", "convention": "torch-fidelity"}, [], ["splits"]),
        (("random", "random"), {"metrics": "is"}, [], ["splits"]),
        (("random", "balanced"), {"metrics": "fid"}, ["exactly balanced"], []),
        (("sorted", "balanced"), {"metrics": "fid"}, [], ["balanced"]),
        (("random", "random"), {"metrics": "fid"}, ["is biased upwards"], ["singular", "balanced"]),
        (("random", "random"), {"metrics": "fid", "samples": 6}, ["covariance is singular"], []),
        (("random", "fewer"), {"metrics": "pr"}, ["120 real against 60 generated"], []),
        (("random", "random"), {"metrics": "pr"}, [], ["against"]),
        (("random", "sorted"), {"metrics": "fid", "samples": 80}, ["classes are missing"], []),
        (("random", "sorted"), {"metrics": "fid"}, [], ["missing"]),
        (("foreign.npz", "random"), {"metrics": "fid"}, ["do not say which network"], []),
        (("ours.npz", "random"), {"metrics": "fid"}, [], ["do not say"]),
    ],
)
def test_warnings_of_samples(
    sets: dict[str, str],
    sides: tuple[str, str],
    asked: dict[str, Any],
    said: list[str],
    unsaid: list[str],
) -> None:
    text = warnings_of(sets, *sides, **asked)
    for words in said:
        assert words in text
    for words in unsaid:
        assert words not in text


def write_pictures(folder: Path, ending: str, size: int) -> str:
    folder.mkdir()
    rng = np.random.default_rng(len(ending) + size)
    for k in range(12):
        Image.fromarray(rng.integers(0, 256, (size, size, 3), np.uint8)).save(
            folder / f"{k}{ending}"
        )
    return str(folder)


def test_warnings_of_images(tmp_path: Path) -> None:
    png = write_pictures(tmp_path / "png", ".png", 40)
    jpeg = write_pictures(tmp_path / "jpeg", ".JPG", 40)
    small = write_pictures(tmp_path / "small", ".png", 28)
    asked = {"extractors": "digits", "metrics": "fid", "any_size": True,
             "keep": str(tmp_path / "kept")}  # fmt: skip

    def text(real: str, generated: str) -> str:
        return "\n".join(warning_lines(rm.evaluate(real=real, generated=generated, **asked)))

    assert "the generated images are .jpg files" in text(png, jpeg)
    assert "files" not in text(jpeg, png)
    assert "real images have 40 x 40 pixels and generated ones 28 x 28" in text(png, small)
    assert "have" not in text(png, png)
    resized = text(f"{png}?size=20", f"{png}?size=20&resize=box")
    assert "resized by centred square, Pillow's Lanczos, generated ones by centred" in resized


def test_warnings_are_kept_and_printed_once(sets: dict[str, str]) -> None:
    results = rm.evaluate(real=sets["random"], generated=sets["fewer"], metrics="pr,fid")
    read = [Result.from_json(result.to_json()) for result in results]
    assert [result.warnings for result in read] == [result.warnings for result in results]
    table = results_table(read)
    assert table.count("precision and recall are defined for equal counts") == 1
    label = "warning: precision made-up, recall made-up, F-score made-up: 120 real against"
    assert label in table
    by_label = rm.evaluate(real=sets["random"], generated=sets["sorted"], metrics="fid", by="label")
    assert {result.warnings for result in by_label} == {()}


def test_shards_of_several_kinds_of_machine_are_told_and_refused_on_request(
    tmp_path: Path, sets: dict[str, str]
) -> None:
    folder = tmp_path / "mixed"
    shards = write_set(str(folder), features(), labels=LABELS["random"])
    tables = {ids: shards.table(ids) for ids in shards.present}
    for (ids, table), machine in zip(tables.items(), ["Zen 4", "Zen 5"], strict=True):
        (folder / layout.shard_name(ids)).unlink()
        commit_shard(shards.store, table, shards.spec.fingerprint, made_on=[machine])
    both = {**sets, "mixed": shards.uri}
    assert "generated shards were made on 2 kinds of machine" in warnings_of(
        both, "random", "mixed", metrics="fid"
    )
    assert "kinds" not in warnings_of(both, "random", "random", metrics="fid")
    with pytest.raises(SpecMismatch, match="made on 2 kinds of machine .*Zen 4; Zen 5"):
        rm.evaluate(real=sets["random"], generated=shards.uri, same_machines=True)
