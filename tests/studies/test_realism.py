"""Realism of single samples: their ranking, and its page."""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

import raymetrics as rm
from raymetrics import results
from raymetrics.cli.realism import realism
from raymetrics.distributed import neighbors
from raymetrics.distributed.neighbors import LocalSearch
from raymetrics.errors import RaymetricsError
from raymetrics.metrics import Convention
from raymetrics.permissions import Permission
from raymetrics.reports.realism_images import image_name, require_savable_images
from raymetrics.reports.realism_page import MAX_GROUPS, write_realism_page
from raymetrics.shards.open_view import open_view
from raymetrics.studies import realism as realism_study
from raymetrics.studies.realism import (
    highest_and_lowest,
    order_within_groups,
    survey_realism,
)
from tests.conftest import write_set
from tests.helpers import ring_world

COLUMN = "made_up_pre_logits"


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(realism, words, catch_exceptions=False)
    return done.exit_code, done.output


@pytest.fixture
def sides(tmp_path: Path, rng: np.random.Generator) -> dict[str, str]:
    """Two sets of features; some generated ones are copies of real ones."""
    real = rng.normal(size=(130, 4)).astype(np.float32)
    generated = rng.normal(scale=1.3, size=(110, 4)).astype(np.float32)
    generated[[7, 70]] = real[np.argsort(np.linalg.norm(real, axis=1))[:2]]
    logits = rng.normal(size=(110, 3)).astype(np.float32)
    write_set(str(tmp_path / "real"), {"pre_logits": real, "logits": logits[[0] * 130]})
    write_set(
        str(tmp_path / "generated"), {"pre_logits": generated, "logits": logits},
        labels=np.arange(110) % 4, label_names=("ant", "bee", "cat", "dog"), shard_rows=40,
    )  # fmt: skip
    return {side: str(tmp_path / side) for side in ("real", "generated")}


def features(sides: dict[str, str]) -> dict[str, np.ndarray]:
    return {side: rm.open_shards(uri).read(COLUMN) for side, uri in sides.items()}


def test_scores_and_both_ends(sides: dict[str, str], tmp_path: Path) -> None:
    """Against Equation 3 by its text, and against the program's own `realism` of arrays."""
    found = realism_study.realism(**sides, to=str(tmp_path / "to"), count=5).results
    expected = ring_world.realism(**features(sides))
    kept = pq.read_table(tmp_path / "to" / "realism.parquet")
    np.testing.assert_array_equal(kept["sample_id"], np.arange(110))
    np.testing.assert_allclose(kept[f"realism_{COLUMN}"], expected, rtol=1e-12)
    np.testing.assert_array_equal(
        kept[f"realism_{COLUMN}"], rm.in_memory.realism(**features(sides))
    )

    share, median = found
    assert (share.metric, share.value) == ("realistic", (expected >= 1).mean())
    assert median.value == pytest.approx(np.median(expected))
    assert (share.real.count, share.generated.count) == (130, 110)
    order = np.argsort(-expected, kind="stable")
    highest, lowest = share.details["highest"], share.details["lowest"]
    assert [i for i, _ in highest] == order[:5].tolist()
    assert [i for i, _ in lowest] == order[::-1][:5].tolist()
    assert [r for _, r in highest[:2]] == [None, None]  # on top of real samples
    np.testing.assert_allclose([r for _, r in lowest], expected[order[::-1][:5]])


def test_the_survey_is_the_same_in_parts(
    sides: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    views = [open_view(sides[side]) for side in ("real", "generated")]
    whole = survey_realism(*views, COLUMN, Convention())
    for folder in sides.values():
        for file in Path(folder, "neighbours").iterdir():
            file.unlink()
    for module in (realism_study, neighbors):
        monkeypatch.setattr(module, "fits_in_driver", lambda *_: False)
    monkeypatch.setattr(neighbors, "partition_rows", lambda *_: 50)
    monkeypatch.setattr(neighbors, "ActorSearch", LocalSearch)
    monkeypatch.setattr(realism_study, "session", lambda **_: nullcontext())
    parts = survey_realism(*views, COLUMN, Convention())
    np.testing.assert_array_equal(parts.generated_in_real.realism, whole.generated_in_real.realism)
    assert not parts.real_in_generated.hits.any()  # no generated sample has a ball


@pytest.mark.parametrize(
    ("by", "names"), [("label", ["0 (ant)", "1 (bee)", "2 (cat)", "3 (dog)"]),
                      ("class", ["class 0", "class 1", "class 2"])],
)  # fmt: skip
def test_by_group(sides: dict[str, str], tmp_path: Path, by: str, names: list[str]) -> None:
    share = realism_study.realism(**sides, to=str(tmp_path / "to"), by=by).results[0]
    expected = ring_world.realism(**features(sides))
    of = {
        "label": np.arange(110) % 4,
        "class": rm.open_shards(sides["generated"]).read("made_up_logits").argmax(axis=1),
    }[by]
    assert share.value == (expected >= 1).mean()
    groups = share.details["groups"]
    assert [group["name"] for group in groups] == names
    for number, group in enumerate(groups):
        ids = np.flatnonzero(of == number)
        order = ids[np.argsort(-expected[ids], kind="stable")]
        assert [i for i, _ in group["highest"]] == order[:2].tolist()
        assert [i for i, _ in group["lowest"]] == order[::-1][:2].tolist()
        assert group["count"] == len(ids)
        assert group["realistic"] == (expected[ids] >= 1).mean()


def test_orders_of_equal_and_infinite_scores() -> None:
    scores = np.array([1.0, np.inf, 0.0, 1.0, np.inf, 2.0])
    ids = np.array([10, 11, 12, 13, 14, 15])
    (one,) = order_within_groups(ids, scores, np.zeros(6, int))
    assert ids[one].tolist() == [11, 14, 15, 10, 13, 12]
    even, odd = order_within_groups(ids, scores, ids % 2)
    assert (ids[even].tolist(), ids[odd].tolist()) == ([14, 10, 12], [11, 15, 13])
    ends = highest_and_lowest(ids[one], scores[one], 2)
    assert ends == {"highest": [[11, None], [14, None]], "lowest": [[12, 0.0], [13, 1.0]]}
    assert (
        len(highest_and_lowest(ids[one], scores[one], 9)["highest"]) == 3
    )  # no sample at both ends
    assert highest_and_lowest(ids[:1], scores[:1], 2) == {
        "highest": [[10, 1.0]],
        "lowest": [[10, 1.0]],
    }


def test_the_page_shows_the_samples_of_the_ids(tmp_path: Path) -> None:
    with ring_world.disable_ray():
        uris = ring_world.write_sets(tmp_path, 60)
    to = tmp_path / "to"
    words = ["--real", uris["real"], "--generated", uris["generated"], "--to", str(to)]
    code, output = run(*words, "--count", "3", "--run-code")
    assert code == 0, output
    share = results.read_results(to / "results.jsonl")[0]
    assert f"Place: {100 * share.value:.1f} % of 60 samples have R >= 1" in output
    text = (to / "index.html").read_text()
    pairs = [*share.details["highest"], *share.details["lowest"]]
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", text)
    assert captions == ["\u221e" if r is None else f"{r:.2f}" for _, r in pairs]
    from raymetrics.reports.realism_page import realism_tile

    expected = [
        realism_tile(image, 0).image
        for image in ring_world.LatentSource()(np.array([i for i, _ in pairs]))
    ]
    assert re.findall(r'<img src="(.*?)"', text) == expected


@pytest.mark.parametrize(("words", "folders"), [([], [""]), (["--by", "label"], ["0", "1", "2"])])
def test_saved_images_are_those_of_the_generator(
    tmp_path: Path, words: list[str], folders: list[str]
) -> None:
    with ring_world.disable_ray():
        uris = ring_world.write_sets(tmp_path, 60)
    to = tmp_path / "to"
    words += ["--real", uris["real"], "--generated", uris["generated"], "--save-images"]
    code, output = run(*words, "--to", str(to), "--count", "2")
    assert (code, to.exists()) == (2, False)
    assert "add --run-code" in output

    code, output = run(*words, "--to", str(to), "--count", "2", "--run-code")
    assert code == 0, output
    details = results.read_results(to / "results.jsonl")[0].details
    groups = details.get("groups", [details])
    names = set()
    for folder, group in zip(folders, groups, strict=True):
        for sample_id, value in [*group["highest"], *group["lowest"]]:
            number = "inf" if value is None else f"{value:.4f}"
            names.add(Path("images/Place_pre_logits", folder, f"R-{number}-id-{sample_id:06}.png"))
    found = {path.relative_to(to) for path in to.rglob("*.png")}
    assert found == names
    assert f"images  {4 * len(folders)} in {to / 'images'}" in output
    for name in found:
        (expected,) = ring_world.LatentSource()(np.array([int(name.stem.split("-")[-1])]))
        with Image.open(to / name) as picture:
            np.testing.assert_array_equal(np.asarray(picture).transpose(2, 0, 1), expected)


def test_images_are_saved_into_a_local_folder_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(RaymetricsError, match="a local folder; --to is s3://bucket/to"):
        require_savable_images(str(tmp_path), "s3://bucket/to", Permission())
    assert image_name(7, None) == "R-inf-id-000007.png"


def test_many_groups_and_a_source_that_is_gone(sides: dict[str, str], tmp_path: Path) -> None:
    share: Any = realism_study.realism(**sides, to=str(tmp_path / "to"), by="label").results[0]
    share.details["groups"] *= 30
    text = write_realism_page([share], to=tmp_path).read_text()
    assert "not shown: no source 'numbers'" in text.replace("&#39;", "'")
    from raymetrics.reports.realism_page import grouping_note

    assert "of 120 are shown, evenly spaced" in grouping_note("label", MAX_GROUPS, 120)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--k", "130"], "the 130 nearest neighbours of each of 130 real samples; it takes"),
        (["--k", "0"], "k is 0, expected at least 1"),
        (["--count", "0"], "count is 0, expected at least 1"),
        (["--column", "x"], "column 'x' is not in both sets"),
        (["--by", "class", "--classes", "x"], "has no logits 'x'; it has made_up_logits"),
        (["--generated", "nowhere"], "no shard set at nowhere"),
    ],
)
def test_errors_are_one_line_and_nothing_is_written(
    sides: dict[str, str], tmp_path: Path, words: list[str], message: str
) -> None:
    to = tmp_path / "to"
    asked = ["--real", sides["real"], "--generated", sides["generated"], "--to", str(to)]
    code, output = run(*asked, *words)
    assert (code, output.count("\n"), to.exists()) == (2, 1, False)
    assert output.startswith("error: ")
    assert message in output


def test_by_label_takes_labels(sides: dict[str, str], tmp_path: Path) -> None:
    words = ["--real", sides["generated"], "--generated", sides["real"], "--by", "label"]
    code, output = run(*words, "--to", str(tmp_path / "to"))
    assert (code, output.count("\n")) == (2, 1)
    assert "has no labels; extract from a source that knows the classes" in output
