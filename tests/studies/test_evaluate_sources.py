"""One command from two sources to numbers: the same as extracting first, found again next time."""

from __future__ import annotations

import gc
import logging
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import raymetrics as rm
from raymetrics.cli import main
from raymetrics.distributed.extraction import extract as extraction
from raymetrics.distributed.resources import Resources
from raymetrics.errors import (
    NotEnoughData,
    RaymetricsError,
    ShardError,
    SourceError,
    SpecMismatch,
    StorageError,
)
from raymetrics.generators import open_source
from raymetrics.metrics import Protocol, conventions, get_convention
from raymetrics.reports.comparison_page import report
from raymetrics.results import append_results
from raymetrics.shards.set_cache import cache_folder, list_cached_sets
from raymetrics.studies.open_sides import names_shards, names_statistics

pytestmark = pytest.mark.usefixtures("refuse_ray")

SIDES = {"real": "mnist", "generated": "digits", "extractors": "digits"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAYMETRICS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def values(results: list[rm.Result]) -> dict[str, float]:
    return {result.label: result.value for result in results}


def test_sources_give_the_numbers_of_their_shards(tmp_path: Path) -> None:
    evaluated = rm.evaluate(**SIDES, metrics="fid,pr", samples=60)
    for side in ("real", "generated"):
        rm.extract(SIDES[side], "digits", str(tmp_path / side), "0-59")
    from_shards = rm.evaluate(
        real=str(tmp_path / "real"), generated=str(tmp_path / "generated"), metrics="fid,pr"
    )
    assert values(evaluated) == values(from_shards)
    assert [result.real.digest for result in evaluated] == [r.real.digest for r in from_shards]


def test_what_was_extracted_is_found_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = rm.evaluate(**SIDES, metrics="fid", samples=60)
    assert {cached.samples for cached in list_cached_sets(cache)} == {60}
    with monkeypatch.context() as patch:
        patch.setattr(extraction, "stream", lambda *arguments: pytest.fail("it is made again"))
        again = rm.evaluate(**SIDES, metrics="fid", samples=60)
        fewer = rm.evaluate(**SIDES, metrics="fid", samples=40)
    assert values(again) == values(first)
    assert [fewer[0].real.count, fewer[0].generated.count] == [40, 40]
    more = rm.evaluate(**SIDES, metrics="fid", samples="20-89", real_samples="0-49")
    assert (more[0].real.count, more[0].generated.samples) == (50, ("20-89",))
    assert sorted(cached.samples for cached in list_cached_sets(cache)) == [60, 90]


def test_a_changed_source_is_another_set(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for k in range(12):
        Image.new("RGB", (28, 28), (k, 2 * k, 0)).save(folder / f"{k:02}.png")
    both = {"real": str(folder), "generated": "digits", "extractors": "digits", "metrics": "fid"}
    before = rm.evaluate(**both)
    assert (before[0].real.count, before[0].generated.count) == (12, 12)
    Image.new("RGB", (28, 28), "white").save(folder / "05.png")
    assert values(rm.evaluate(**both)) != values(before)
    assert len(list_cached_sets(cache)) == 3


def test_a_source_beside_shards_is_extracted_as_they_were(tmp_path: Path, cache: Path) -> None:
    real = str(tmp_path / "real")
    rm.extract("mnist", "digits", real, "0-59")
    (result,) = rm.evaluate(real=real, generated="digits", metrics="fid")
    assert result.space["name"] == "digits"
    assert result.generated.count == 60  # as many as there are real ones
    with pytest.raises(SpecMismatch, match="with the same extractor"):
        rm.evaluate(real=real, generated="digits", metrics="fid", extractors="efficientnet-lite0")
    assert [cached.extractors for cached in list_cached_sets(cache)] == [("digits",)]


def test_a_source_beside_statistics(tmp_path: Path, cache: Path) -> None:
    real, file = str(tmp_path / "real"), str(tmp_path / "real.npz")
    rm.extract("mnist", "digits", real, "0-79")
    rm.export(real, to=file, format="npz")
    of_file = rm.evaluate(real=file, generated="digits", extractors="digits", samples="0-79")
    of_shards = rm.evaluate(real=real, generated="digits", metrics="fid", samples="0-79")
    assert of_file[0].value == pytest.approx(of_shards[0].value, rel=1e-12)
    with pytest.raises(RaymetricsError, match="pr cannot be computed from"):
        rm.evaluate(real=file, generated="faces", extractors="digits", metrics="pr", samples=50)
    assert len(list_cached_sets(cache)) == 1  # nothing was extracted in vain


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"metrics": "kid", "samples": 60}, NotEnoughData, "kid takes at least 1000 samples"),
        ({"metrics": "pr", "samples": "0-2", "real_samples": 30}, NotEnoughData, "3 generated"),
        ({"real": "nothing-here"}, SourceError, "no source 'nothing-here'"),
        ({"real": "faces"}, RaymetricsError, "faces never ends, so say which samples"),
        ({"metrics": "is", "columns": "digits_pre_logits"}, RaymetricsError, "takes a column of"),
        ({"samples": "5-1"}, RaymetricsError, "samples '5-1' is empty"),
        ({"by": "class"}, RaymetricsError, "there is only 'label'"),
    ],
)
def test_errors_come_before_anything_is_extracted(
    cache: Path, changes: dict[str, str], error: type[RaymetricsError], message: str
) -> None:
    with pytest.raises(error, match=message):
        rm.evaluate(**{**SIDES, **changes})
    assert list_cached_sets(cache) == []


def test_a_default_metric_that_takes_more_samples_is_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, logger="raymetrics"):
        results = rm.evaluate(**SIDES, samples=60)
    assert {result.metric for result in results} == {
        "frechet_distance", "precision", "recall", "f_score", "top1_distance",
    }  # fmt: skip
    said = [record.getMessage() for record in caplog.records]
    kid = "kid is left out: it takes 1000 samples of each side, there are 60 and 60"
    assert said.count(kid) == 1
    assert said.count("120 samples: in this process, without Ray") == 1


def test_a_protocol_says_what_to_extract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = Protocol("few", ("fid",), get_convention("nvidia"), 70, 80, extractor="digits")
    monkeypatch.setitem(conventions.PROTOCOLS, "few", protocol)  # type: ignore[arg-type]
    kept = str(tmp_path / "kept")
    (result,) = rm.evaluate(real="mnist", generated="digits", protocol="few", keep=kept)
    assert (result.real.count, result.generated.count) == (80, 70)
    assert result.real.uri.startswith(f"{kept}/mnist-")
    assert "changed" not in result.convention
    asked = {"real": "mnist", "generated": "digits", "protocol": "few", "keep": kept}
    (changed,) = rm.evaluate(**asked, changes={"ddof": 1})
    assert (changed.convention["ddof"], changed.convention["changed"]) == (1, "ddof=1")
    assert changed.value != result.value
    assert result.convention["protocol"] == "few"


def test_names_of_sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Endings are not enough: statistics, images and networks share them."""
    monkeypatch.chdir(tmp_path)
    np.savez("images.npz", arr_0=np.zeros((2, 4, 4, 3), np.uint8))
    np.savez("moments.npz", mu=np.zeros(2), sigma=np.eye(2))
    np.savez("adm.npz", mu=np.zeros(2), sigma=np.eye(2), arr_0=np.zeros((2, 4, 4, 3), np.uint8))
    np.savez("features.npz", feats=np.zeros((3, 2)))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated")
        torch.jit.script(torch.nn.Linear(2, 3)).save("network.pt")
    torch.save({"mu": torch.zeros(2), "sigma": torch.eye(2)}, "moments.pt")
    Path("moments.pkl").write_bytes(pickle.dumps({"fid": {"mu": np.zeros(2)}}))
    Path("network.pkl").write_bytes(b"\x80\x04ctorch_utils.persistence\n_reconstruct\n")
    Path("damaged.npz").write_bytes(b"no zip file")
    statistics = {"moments.npz", "adm.npz", "features.npz", "moments.pt", "moments.pkl",
                  "damaged.npz"}  # fmt: skip
    for path in tmp_path.iterdir():
        assert names_statistics(path.name) == (path.name in statistics), path.name
        assert not names_shards(path.name)
    assert not names_statistics("moments.npz?size=8")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "dataset.json").write_text('{"labels": [["0.png", 3]]}')  # as NVIDIA writes it
    assert not names_shards("folder")
    rm.extract("mnist", "digits", "shards", "0-9")
    assert names_shards("shards")
    (tmp_path / "shards" / "dataset.json").unlink()
    assert names_shards("shards")
    with pytest.raises(StorageError, match="2 files but no dataset"):
        rm.evaluate(real="shards", generated="digits")


def test_the_command(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    line = ["evaluate", "--real", "mnist", "--generated", "digits", "--generated",
            "digits?snapshot=50", "--extractor", "digits", "--samples", "60", "--metrics", "fid",
            "--to", "results.jsonl", "--page", "page"]  # fmt: skip
    done = CliRunner().invoke(main, line, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert sum(line.startswith("FD digits") for line in done.output.splitlines()) == 2
    assert Path("results.jsonl").read_text() == Path("page/results.jsonl").read_text()
    assert "<html" in Path("page/index.html").read_text()
    listed = CliRunner().invoke(main, ["cache", "list"], catch_exceptions=False).output
    assert listed.splitlines()[0].startswith(f"{cache_folder()}: 3 sets, ")
    assert "60 samples" in listed
    assert "digits?snapshot=50 by digits" in listed
    name = list_cached_sets(cache)[0].path.name
    refused = CliRunner().invoke(main, ["cache", "clear", "nothing"])
    assert (refused.exit_code, name in refused.output) == (2, True)
    assert "1 sets removed" in CliRunner().invoke(main, ["cache", "clear", name]).output
    (cache / "own").mkdir()
    (cache / "own" / "notes.txt").write_text("not a shard set\n")
    assert "2 sets removed" in CliRunner().invoke(main, ["cache", "clear"]).output
    assert [path.name for path in cache.iterdir()] == ["own"]


def test_a_damaged_set_in_the_cache_is_named(cache: Path) -> None:
    rm.evaluate(**SIDES, metrics="fid", samples=20)
    damaged = list_cached_sets(cache)[0].path
    (damaged / "dataset.json").write_text("{")
    problems = {cached.path: cached.problem for cached in list_cached_sets(cache)}
    assert "is damaged" in problems[damaged]
    with pytest.raises(ShardError, match=f"{damaged.name}/dataset.json is damaged"):
        rm.evaluate(**SIDES, metrics="fid", samples=20)


def test_workers_are_no_small_work() -> None:
    assert Resources(actors=2).in_process is False
    assert Resources().in_process is None
    assert Resources(local=True).in_process is True


def test_lists_of_ids(cache: Path) -> None:
    asked = {**SIDES, "metrics": "fid", "real_samples": 30}
    (listed,) = rm.evaluate(**asked, samples="7,40, 10-29,8")
    assert listed.generated.samples == ("7-8", "10-29", "40-40")
    assert listed.generated.count == 23
    of_ranges = rm.evaluate(**asked, samples="7-8,10-29,40")
    assert of_ranges[0].value == listed.value
    with pytest.raises(RaymetricsError, match="samples 'x-x' is not a range|'x' is not a range"):
        rm.evaluate(**asked, samples="7,x")


def test_ids_at_random(tmp_path: Path) -> None:
    real = str(tmp_path / "real")
    rm.extract("mnist", "digits", real, "0-199")
    asked = {"real": real, "generated": real, "metrics": "fid", "samples": 50}
    first, chosen, again, other = (
        rm.evaluate(**asked, random_ids=seed)[0] for seed in (None, 3, 3, 4)
    )
    assert first.real.samples == ("0-49",)
    assert chosen.real.selection["file"] == "50 of 200 at random, seed 3"
    assert chosen.real.selection == again.real.selection != other.real.selection
    with pytest.raises(NotEnoughData, match="ask for 1 to 200"):
        rm.evaluate(**{**asked, "samples": 201}, random_ids=0)


def test_a_data_set_is_extracted_whole_before_ids_are_chosen(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for k in range(40):
        Image.new("RGB", (28, 28), (k, 2 * k, 0)).save(folder / f"{k:02}.png")
    protocol = Protocol("few", ("fid",), get_convention("nvidia"), 20, 30, extractor="digits")
    monkeypatch.setitem(conventions.PROTOCOLS, "few", protocol)  # type: ignore[arg-type]
    (result,) = rm.evaluate(real=str(folder), generated="digits", protocol="few", random_ids=1)
    assert result.real.selection["file"] == "30 of 40 at random, seed 1"
    assert result.generated.samples == ("0-19",)
    assert sorted(cached.samples for cached in list_cached_sets(cache)) == [20, 40]


class Pictures:
    """A Dataset of pairs, as torch.utils.data has them."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(self.images[index]), index % 10


def test_images_in_memory(cache: Path, tmp_path: Path) -> None:
    images = open_source("digits", torch.device("cpu"))(np.arange(50))
    asked = {"real": "mnist", "real_samples": 50, "extractors": "digits", "metrics": "fid,pr"}
    expected = values(rm.evaluate(generated="digits", samples=50, **asked))
    for memory in (images, torch.from_numpy(images), images.transpose(0, 2, 3, 1),
                   Pictures(images)):  # fmt: skip
        results = rm.evaluate(generated=memory, **asked)
        assert values(results) == expected
    assert results[0].generated.source.startswith("in-memory:")
    names = [cached.source for cached in list_cached_sets(cache)]
    assert (
        len([name for name in names if name.startswith("in-memory:")]) == 2
    )  # one array, a Dataset
    append_results(results, tmp_path / "results.jsonl")
    del memory
    gc.collect()
    page = report(tmp_path / "results.jsonl", to=tmp_path).read_text()
    assert "was in the memory of a program" in page


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((4, 3, 8, 8), np.float32), r"is float32 \[4, 3, 8, 8\], expected images uint8"),
        (np.zeros((4, 2, 8, 8), np.uint8), r"uint8 \[4, 2, 8, 8\], expected images"),
        (np.zeros((4, 8)), "expected a shard set, a file of statistics or of features"),
        (7, "generated is int 7, expected a shard set"),
    ],
)
def test_what_is_no_images(images: object, message: str) -> None:
    with pytest.raises(RaymetricsError, match=message):
        rm.evaluate(real="mnist", generated=images, extractors="digits", metrics="fid")


def test_mixed_sizes_are_said_before_anything_is_extracted(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for k in range(30):
        Image.new("RGB", (28, 28 if k < 29 else 30), (k, 0, 0)).save(folder / f"{k:02}.png")
    asked = {"generated": "digits", "extractors": "digits", "metrics": "fid"}
    with pytest.raises(
        SourceError, match=r"00.png is 28 x 28 pixels, 29.png 28 x 30; .*photos\?size=256"
    ):
        rm.evaluate(real=str(folder), **asked)
    assert list_cached_sets(cache) == []
    rm.evaluate(real=f"{folder}?size=28", **asked)
    rm.evaluate(real=str(folder), real_samples="0-28", **asked)


def test_other_sizes_are_refused_before_anything_is_extracted(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for k in range(12):
        Image.new("RGB", (40, 40), (k, 0, 0)).save(folder / f"{k:02}.png")
    asked = {"real": str(folder), "generated": "digits", "extractors": "digits", "metrics": "fid"}
    with pytest.raises(SpecMismatch, match=r"photos are 40 x 40 pixels, generated images of digi"):
        rm.evaluate(**asked)
    real = str(tmp_path / "real")
    rm.extract("mnist", "digits", real, "0-29")
    with pytest.raises(SpecMismatch, match="real images are 28 x 28 pixels, generated images of"):
        rm.evaluate(**{**asked, "real": real, "generated": str(folder)})
    assert list_cached_sets(cache) == []
    assert rm.evaluate(**asked, any_size=True)


def test_the_page_shows_samples_that_were_chosen_at_random(tmp_path: Path) -> None:
    asked = {"real": "mnist", "generated": "mnist", "real_samples": 300, "samples": 200}
    results = rm.evaluate(**asked, extractors="digits", metrics="fid", random_ids=5)
    append_results(results, tmp_path / "results.jsonl")
    page = report(tmp_path / "results.jsonl", to=tmp_path).read_text()
    assert "not shown" not in page
    ids = sorted(np.random.default_rng(5).choice(5000, 200, replace=False))
    assert f'<span title="sample {ids[0]}">' in page
    assert f'<span title="sample {ids[-1]}">' in page


def test_both_sides_of_one_source_are_one_set(cache: Path) -> None:
    asked = {"real": "digits", "generated": "digits", "extractors": "digits", "metrics": "fid"}
    (result,) = rm.evaluate(**asked, real_samples="0-39", samples="30-79")
    assert (result.real.count, result.generated.count) == (40, 50)
    assert [cached.samples for cached in list_cached_sets(cache)] == [80]
