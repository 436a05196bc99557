"""Metrics of scores in an evaluation, of both sides or of one; and the images of protocols."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from raymetrics.distributed.extraction.extract import extract
from raymetrics.errors import ExtractorError, RaymetricsError, SpecMismatch
from raymetrics.metrics import Protocol, conventions, get_convention
from raymetrics.metrics.conventions import ImageRule
from raymetrics.reports.number_cards import make_cards
from raymetrics.shards.shard_set import open_shards
from raymetrics.studies.evaluate import evaluate
from raymetrics.studies.protocol_images import require_images
from tests.helpers import prompted_sources

pytestmark = pytest.mark.usefixtures("no_actors")
SOURCE = "tests.helpers.prompted_sources:Spots"
SCORES = ["score:tests.helpers.prompted_sources:brightness"]
SCORES += ["score:tests.helpers.prompted_sources:Darkness"]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory, no_actors: None) -> dict[str, str]:
    """Return a set with scores, one of other samples, and one without scores."""
    folder = tmp_path_factory.mktemp("scores")
    places = {name: str(folder / name) for name in ("generated", "real", "plain")}
    extract(SOURCE, [*SCORES, "digits"], places["generated"], "0-29", shard_rows=8)
    extract(SOURCE, [*SCORES, "digits"], places["real"], "20-39", shard_rows=8)
    extract(SOURCE, "digits", places["plain"], "20-39")
    return places


def test_the_mean_of_both_sides(sets: dict[str, str]) -> None:
    results = evaluate(real=sets["real"], generated=sets["generated"], metrics="score")
    bright, dark = sorted(results, key=lambda result: result.better)
    assert (bright.label, bright.better) == ("score brightness", "higher")
    assert (dark.label, dark.better) == ("score Darkness", "lower")
    notes = [note for card in make_cards(results) for note in card.notes]
    assert notes.count("± is the standard error of the mean") == 2
    assert notes.count("the real side's own: 29.500 ± 1.323") == 2
    colors = np.arange(30)
    for result in results:
        assert result.value == pytest.approx(colors.mean())
        assert result.spread == pytest.approx(colors.std(ddof=1) / np.sqrt(30))
        assert result.details["real"]["mean"] == pytest.approx(29.5)
        assert result.convention["spread"] == "standard error of the mean"


def test_the_generated_side_alone(sets: dict[str, str]) -> None:
    """The real side lacks the column; features are compared as ever."""
    results = evaluate(real=sets["plain"], generated=sets["generated"], metrics="score,fid")
    by_label = {result.label: result for result in results}
    assert {"score brightness", "score Darkness", "FD digits"} == set(by_label)
    assert by_label["score brightness"].value == pytest.approx(14.5)
    assert "real" not in by_label["score brightness"].details
    with pytest.raises(RaymetricsError, match="score takes a column of score; there are digits"):
        evaluate(real=sets["generated"], generated=sets["plain"], metrics="score")


def test_by_label(sets: dict[str, str]) -> None:
    """The groups of prompts: even and odd colors."""
    results = evaluate(real=sets["real"], generated=sets["generated"], metrics="score", by="label")
    values = {r.label: r.value for r in results if "brightness" in r.label and "label" in r.subset}
    assert values == {"score brightness, label 0": 14.0, "score brightness, label 1": 15.0}


def test_scores_are_no_features(sets: dict[str, str]) -> None:
    """But for a user who names the column."""
    results = evaluate(real=sets["real"], generated=sets["generated"], metrics="fid")
    assert [result.label for result in results] == ["FD digits"]
    (named,) = evaluate(
        real=sets["real"], generated=sets["generated"], metrics="fid", columns="brightness_score"
    )
    assert named.space["dimension"] == 1


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("clipscore", "clipscore takes a column of cosine; there are"),
        ("aesthetic", "aesthetic takes a column of clip-vit-l-14; there are"),
        ("score?of=x", "score has no setting 'of'"),
    ],
)
def test_columns_of_other_kinds(sets: dict[str, str], metric: str, message: str) -> None:
    with pytest.raises(RaymetricsError, match=message):
        evaluate(real=sets["real"], generated=sets["generated"], metrics=metric)


def test_a_missing_head_is_told_before_anything_is_read(
    sets: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The column of `digits` stands for one of CLIP, whose weights are not here."""
    from raymetrics.metrics import registry

    def refuse() -> None:
        raise ExtractorError("no head")

    changed = registry.METRICS["aesthetic"].__class__(
        **{
            **registry.METRICS["aesthetic"].__dict__,
            "requires_space": "digits",
            "require_files": refuse,
        }
    )
    monkeypatch.setitem(registry.METRICS, "aesthetic", changed)
    monkeypatch.setattr(open_shards(sets["real"]).__class__, "block", lambda *_: 1 / 0)
    with pytest.raises(ExtractorError, match="no head"):
        evaluate(real=sets["real"], generated=sets["generated"], metrics="aesthetic")


def small_protocol(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    protocol = Protocol(
        "few", ("fid",), get_convention("clean-fid"), 20, 20, extractor="digits",
        images=ImageRule(size, "nvidia-centre"),
    )  # fmt: skip
    monkeypatch.setattr(conventions, "PROTOCOLS", {"few": protocol})


def test_images_of_a_protocol(sets: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    small_protocol(monkeypatch, 8)
    (result,) = evaluate(real=sets["real"], generated=sets["generated"], protocol="few")
    assert result.convention["images"] == "8, nvidia-centre"
    small_protocol(monkeypatch, 16)
    message = r"few compares images of 16 x 16 pixels, the real ones of .* are 8 x 8; generate"
    with pytest.raises(SpecMismatch, match=message):
        evaluate(real=sets["real"], generated=sets["generated"], protocol="few")
    with pytest.raises(SpecMismatch, match=message):  # before anything is extracted
        evaluate(real=sets["plain"], generated=f"{SOURCE}?length=20", protocol="few")


@pytest.mark.parametrize(
    ("decoding", "size", "message"),
    [
        (None, (256, 256), None),
        (None, None, None),
        ({"size": None, "resize": None}, (256, 256), None),
        ({"size": 256, "resize": "NVIDIA's centre crop, then Lanczos"}, (256, 256), None),
        (
            {"size": None, "resize": None},
            (480, 640),
            r"are 480 x 640; name the source as 'p\?prompts=txt&size=256&resize=nvidia-centre'",
        ),
        (
            {"size": 256, "resize": "centred square, Pillow's box"},
            (256, 256),
            r"resizes images by: NVIDIA's .* were resized by: centred square, Pillow's box; name",
        ),
    ],
)
def test_crops_of_a_protocol(
    decoding: dict[str, object] | None, size: tuple[int, int] | None, message: str | None
) -> None:
    protocol = conventions.PROTOCOLS["coco30k"]
    if message is None:
        require_images(protocol, "real", "p?prompts=txt&size=256", decoding, size)
        return
    with pytest.raises(SpecMismatch, match=message):
        require_images(protocol, "real", "p?prompts=txt&size=256", decoding, size)


def test_helpers_give_what_they_say() -> None:
    ids = np.arange(3)
    assert prompted_sources.fit(prompted_sources.Spots()(ids), ["color 0"] * 3).tolist() == [
        0, -1, -2,
    ]  # fmt: skip
