"""Heatmaps of shard sets: few and all, kept and resumed; noise; the terminal."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from raymetrics.cli.heatmap import heatmap
from raymetrics.distributed.extraction.extract import extract
from raymetrics.distributed.session import session
from raymetrics.errors import (
    ExtractorError,
    RaymetricsError,
    SampleRangeError,
    ShardError,
    SourceError,
    SpecMismatch,
)
from raymetrics.generators import open_source
from raymetrics.heatmaps import OverlayStyle, overlay
from raymetrics.shards.open_view import open_view
from raymetrics.studies.heatmap import compute
from raymetrics.studies.heatmap.compute import heatmaps, heatmaps_if_added, mean_heatmaps
from raymetrics.studies.heatmap.request import (
    CPU,
    HeatmapRequest,
    make_heatmap_request,
    open_added_source,
)
from tests.helpers.tiny_networks import NAME, SPOTS, register_tiny

GENERATED = range(1000, 1080)


@pytest.fixture(scope="module", autouse=True)
def in_this_process() -> Iterator[None]:
    """Run without Ray; ranges of 32 samples; the network `tiny`."""
    with register_tiny(), session(local=True), pytest.MonkeyPatch.context() as patch:
        patch.setattr(compute, "SAMPLES_PER_RANGE", 32)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sets `real` and `generated`, both of spots, by the network `tiny`."""
    folder = tmp_path_factory.mktemp("sets")
    extract(SPOTS, [NAME], str(folder / "real"), range(100), shard_rows=64)
    extract(SPOTS, [NAME], str(folder / "generated"), GENERATED, shard_rows=40)
    return folder


@pytest.fixture(scope="module")
def asked(folder: Path) -> HeatmapRequest:
    return make_heatmap_request(
        real=str(folder / "real"), generated=str(folder / "generated"), run_code=True
    )


def test_the_column_is_the_only_mean_of_a_map(asked: HeatmapRequest, folder: Path) -> None:
    assert asked.column.name == "untrained_tiny_pre_logits"
    both: dict[str, Any] = {
        "real": str(folder / "real"), "generated": str(folder / "generated"), "run_code": True,
    }  # fmt: skip
    named = make_heatmap_request(**both, column="untrained_tiny_pre_logits")
    assert named.identity == asked.identity
    with pytest.raises(ExtractorError, match="untrained_tiny_logits' is not the mean of a map"):
        make_heatmap_request(**both, column="untrained_tiny_logits")


def test_the_features_seen_are_those_of_the_shards(asked: HeatmapRequest) -> None:
    """The norms are of the gradients at the features that were extracted."""
    rows = np.array([79, 3, 40])
    _, seen = heatmaps(asked, rows + GENERATED.start)
    features = asked.generated.read(asked.column.name)[rows].astype(np.float64)
    s = asked.member_sensitivity()
    gradients = s.shift + (features - s.mean) @ s.matrix
    np.testing.assert_allclose(seen.norms, np.linalg.norm(gradients, axis=1), rtol=1e-12)


def test_of_all_has_the_bits_of_a_few_and_a_rerun_makes_what_is_missing(
    asked: HeatmapRequest, tmp_path: Path
) -> None:
    classes = asked.most_common_classes()
    told: list[int] = []
    found = mean_heatmaps(
        asked, str(tmp_path), classes, progress=lambda progress: told.append(progress.rows)
    )
    assert (found.ranges_made, told) == (3, [24, 56, 80])
    rows = np.array([70, 0, 33])
    images, seen = heatmaps(asked, rows + GENERATED.start)
    for name in ("sample_ids", "maps", "norms", "classes", "probabilities"):
        np.testing.assert_array_equal(getattr(found.heatmaps, name)[rows], getattr(seen, name))
    everything = open_source(SPOTS, CPU)(np.array(GENERATED))
    np.testing.assert_array_equal(images, everything[rows])
    assert np.abs(found.averages.mean_image(0) - everything.mean(axis=0)).max() <= 0.5
    for group, number in enumerate(classes, 1):
        of_class = found.heatmaps.classes[:, 0] == number
        assert found.averages.counts[group] == of_class.sum() > 0
        mean = found.heatmaps.maps[of_class].mean(axis=0)
        np.testing.assert_allclose(found.averages.mean_map(group), mean, rtol=1e-5)

    first, second, _ = sorted((tmp_path / "ranges").iterdir())
    second.unlink()
    again = mean_heatmaps(asked, str(tmp_path), classes)
    assert again.ranges_made == 1
    np.testing.assert_array_equal(again.averages.maps, found.averages.maps)
    np.testing.assert_array_equal(again.heatmaps.maps, found.heatmaps.maps)
    assert mean_heatmaps(asked, str(tmp_path), classes[:1]).ranges_made == 3  # another question
    assert mean_heatmaps(asked, str(tmp_path), classes).ranges_made == 0
    first.write_bytes(first.read_bytes()[:-100])
    with pytest.raises(ShardError, match="is missing or damaged; remove it and run"):
        mean_heatmaps(asked, str(tmp_path), classes)


def test_commonest_classes_are_those_of_the_real_set(asked: HeatmapRequest) -> None:
    logits = asked.real.read("untrained_tiny_logits")
    counts = np.bincount(logits.argmax(axis=1), minlength=5)
    chosen = asked.most_common_classes(2)
    assert counts[chosen].tolist() == sorted(counts.tolist())[::-1][: len(chosen)]
    assert asked.class_numbers(["Bow Tie", "cat", "cat"]) == [4, 0]
    with pytest.raises(RaymetricsError, match="no class 'bow tye' among 5; did you mean bow tie"):
        asked.class_numbers(["bow tye"])


def test_an_image_that_is_added_is_a_member_of_the_set_with_it(
    asked: HeatmapRequest, folder: Path, tmp_path: Path
) -> None:
    ids = np.array(GENERATED[:-1])
    pq.write_table(pa.table({"sample_id": ids}), tmp_path / "ids.parquet")
    some = f"{folder / 'generated'}?ids={tmp_path / 'ids.parquet'}"
    base = make_heatmap_request(real=str(folder / "real"), generated=some, run_code=True)
    last = np.array(GENERATED[-1:])
    source, _ = open_added_source(SPOTS)
    _, exact = heatmaps_if_added(base, source, last, exact=True)
    _, near = heatmaps_if_added(base, source, last)
    _, member = heatmaps(asked, last)
    np.testing.assert_allclose(exact.maps, member.maps, rtol=1e-4)
    apart = np.linalg.norm(near.maps - member.maps) / np.linalg.norm(member.maps)
    assert 1e-5 < apart < 0.5


def test_what_cannot_be_seen_is_said(folder: Path, tmp_path: Path, asked: HeatmapRequest) -> None:
    real, generated = str(folder / "real"), str(folder / "generated")
    for side, source in (("a", "sources:noise"), ("b", "sources:Brightness")):
        extract(source, ["digits"], str(tmp_path / side), range(30))
    with pytest.raises(ExtractorError, match="means of a map are none of digits_pre_logits"):
        make_heatmap_request(real=str(tmp_path / "a"), generated=str(tmp_path / "b"), run_code=True)
    with pytest.raises(SpecMismatch, match="has features of digits"):
        make_heatmap_request(real=str(tmp_path / "a"), generated=generated, run_code=True)
    pq.write_table(pa.table({"sample_id": [1001, 1001, 1002]}), tmp_path / "twice.parquet")
    with pytest.raises(RaymetricsError, match="drawn with repetitions"):
        make_heatmap_request(real=real, generated=f"{generated}?ids={tmp_path / 'twice.parquet'}")
    with pytest.raises(SampleRangeError, match="lacks 5 of the samples 1075-1084"):
        asked.require_samples([range(1075, 1085)])
    with pytest.raises(
        SampleRangeError, match="lacks 2 of the samples 7, 1080; it has 80 from 1000"
    ):
        asked.require_samples([range(7, 8), range(1003, 1004), range(1080, 1081)])
    shutil.copytree(generated, tmp_path / "changed")
    text = (tmp_path / "changed/dataset.json").read_text()
    changed = text.replace(f'"source": "{SPOTS}"', '"source": "sources:noise"')
    (tmp_path / "changed/dataset.json").write_text(changed)
    assert changed != text
    with pytest.raises(SourceError, match="sources:noise is no longer what .* was made from"):
        make_heatmap_request(real=real, generated=str(tmp_path / "changed"), run_code=True)


def test_ids_stay_in_the_order_in_which_they_are_asked_for(asked: HeatmapRequest) -> None:
    wanted = [range(1079, 1080), range(1002, 1005), range(1079, 1080), range(1000, 1003)]
    assert asked.require_samples(wanted).tolist() == [1079, 1002, 1003, 1004, 1000, 1001]


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(heatmap, words, catch_exceptions=False)
    return done.exit_code, done.output


def test_terminal(folder: Path, tmp_path: Path) -> None:
    sets = [
        "--real", str(folder / "real"), "--generated", str(folder / "generated"), "--run-code",
    ]  # fmt: skip
    code, output = run(
        *sets, "--to", str(tmp_path), "--samples", "1004-1009", "--classes", "owl,bow tie"
    )
    assert code == 0, output
    assert "means   of 80 samples; 3 ranges made" in output
    names = {"heatmaps.npz", "index.html", "maps.npz", "means.npz", "means.png", "overlays.png"}
    assert {path.name for path in tmp_path.iterdir()} == {*names, "ranges"}
    with np.load(tmp_path / "heatmaps.npz") as file:
        assert file["sample_ids"].tolist() == [1004, 1005, 1006, 1007, 1008, 1009]
        assert (file["maps"].shape, file["maps"].dtype) == ((6, 3, 4), np.float32)
    page = (tmp_path / "index.html").read_text()
    assert page.count("<figure>") >= 6 + 1
    assert "sample 1009" in page
    assert "all classes" in page
    with Image.open(tmp_path / "overlays.png") as picture:
        assert picture.size == (8 * 192 + 7 * 2, 192)
    code, output = run(
        *sets, "--to", str(tmp_path / "b"), "--images", "sources:Brightness", "--samples", "0-2"
    )
    assert code == 0, output
    assert "as if it were added" in (tmp_path / "b/index.html").read_text()
    for words, message in (
        (["--exact"], "--exact is of --images"),
        (["--noise", "0"], "--noise is '0'; write numbers above 0"),
        (["--noise", "a,b"], "--noise is 'a,b'"),
        (["--samples", "1070-1099"], "lacks 20 of the samples 1070-1099"),
        (["--classes", "horse"], "the network has no class 'horse'"),
        (["--images", "sources:Brightness", "--samples", "0-9999"], "has samples 0-999"),
        (["--images", "sources:Brightness", "--samples", "5,1000"], "1000-1000 are asked for"),
        (["--samples", "1001,2,1000-999999999999"], "lacks 999999998921 of the samples 2, 1000-99"),
        (["--samples", "1001;2"], "is not a range"),
    ):
        code, output = run(*sets, "--to", str(tmp_path / "none"), *words)
        assert (code, (tmp_path / "none").exists()) == (2, False)
        assert output.startswith("error: ")
        assert message in output


def test_files_of_the_shown_images(folder: Path, tmp_path: Path) -> None:
    """Images and heatmaps of full size, and classes, of a list of ids in its order."""
    ids = [1007, 1040, 1001]
    code, output = run(
        "--real", str(folder / "real"), "--generated", str(folder / "generated"), "--run-code",
        "--to", str(tmp_path), "--samples", "1007,1040,1001", "--save-images",
        "--save-classifications", "--colors", "parula", "--blend", "sum",
    )  # fmt: skip
    assert code == 0, output
    assert f"images  6 in {tmp_path / 'images'}" in output
    with np.load(tmp_path / "heatmaps.npz") as file:
        saved = {name: file[name] for name in file.files}
    assert saved["sample_ids"].tolist() == ids
    assert saved["classes"].shape == (3, 3)
    pixels = open_source(SPOTS, CPU)(np.array(ids))
    for sample_id, image, heat in zip(ids, pixels, saved["maps"], strict=True):
        names = (f"images/id-{sample_id:06}.png", f"images/id-{sample_id:06}-heatmap.png")
        shown, colored = (np.asarray(Image.open(tmp_path / name)) for name in names)
        np.testing.assert_array_equal(shown.transpose(2, 0, 1), image)
        np.testing.assert_array_equal(colored, overlay(image, heat, OverlayStyle("parula", "sum")))

    rows = pq.read_table(tmp_path / "classifications.parquet")
    logits = open_view(str(folder / "generated")).read("untrained_tiny_logits").astype(np.float64)
    logits = logits[np.array(ids) - GENERATED.start]
    order = np.argsort(-logits, axis=1)  # of five classes, as the network has no more
    assert rows["sample_id"].to_pylist() == np.repeat(ids, 5).tolist()
    assert rows["rank"].to_pylist() == 3 * [1, 2, 3, 4, 5]
    assert rows["class"].to_pylist() == order.ravel().tolist()
    names = np.array(("cat", "dog", "owl", "fox", "bow tie"))
    assert rows["name"].to_pylist() == names[order].ravel().tolist()
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = np.take_along_axis(shares, order, axis=1).ravel()
    np.testing.assert_allclose(rows["probability"].to_numpy(), expected, rtol=1e-5)
    made_of = json.loads(rows.schema.metadata[b"raymetrics"])
    assert (made_of["source"], made_of["extractor"]["name"]) == (SPOTS, NAME)

    page = (tmp_path / "index.html").read_text()
    assert re.findall(r"sample (\d+)</div>", page) == [*map(str, ids)]
    bars = [float(width) for width in re.findall(r'class="bar" style="width: ([\d.]+)%', page)]
    np.testing.assert_allclose(bars, 100 * expected, atol=0.051)
    assert "image + 2 times the map, stretched to 0..255; the map is upsampled" in page
    assert "and has colors like parula" in page
    assert "#352a87, " in page


def test_classes_take_logits(folder: Path, tmp_path: Path) -> None:
    for side, ids in (("real", range(20)), ("generated", range(1000, 1020))):
        extract(SPOTS, [f"{NAME}?columns=pre_logits"], str(tmp_path / side), ids)
    code, output = run(
        "--real", str(tmp_path / "real"), "--generated", str(tmp_path / "generated"), "--run-code",
        "--to", str(tmp_path / "to"), "--save-classifications",
    )  # fmt: skip
    assert (code, (tmp_path / "to").exists()) == (2, False)
    assert "classifications take the logits of untrained-tiny; " in output
