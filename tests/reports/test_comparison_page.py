"""The report page, as a browser shows it."""

from __future__ import annotations

import base64
import dataclasses
import html
import io
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import raymetrics as rm
from raymetrics import results
from raymetrics.generators.source_settings import parse_setting
from raymetrics.reports.sample_images import MAX_TILE_SIZE, thumbnail, tile_grid
from raymetrics.reports.terminal import format_value, results_table
from raymetrics.results import Result, Side
from raymetrics.shards import schema
from raymetrics.shards.layout import DatasetSpec, create_or_extend_spec
from raymetrics.shards.seal import seal_set
from raymetrics.shards.shard_set import open_shards
from raymetrics.shards.store import Store
from raymetrics.shards.writer import commit_shard

PHONE, DESK = 390, 1280


def a_set(uri: str, source: str, spec: dict[str, object]) -> Side:
    """Make a sealed set that says it was made from this source."""
    columns = schema.make_columns("digits", {"logits": 10})
    made_of = DatasetSpec(
        source, spec, [{"name": "digits"}], columns, {"digits": list("0123456789")}, False, 100,
        (range(80),),
    )  # fmt: skip
    store = Store(uri)
    create_or_extend_spec(store, made_of)
    zeros = {columns[0].name: np.zeros((80, 10), np.float32)}
    commit_shard(store, schema.to_table(columns, np.arange(80), None, zeros), made_of.fingerprint)
    shards = seal_set(open_shards(uri))
    return Side(
        uri, source, ("0-79",), 80, made_of.fingerprint, shards.digest, {}, image_size=(28, 30)
    )


def a_result(real: Side, generated: Side, **changes: object) -> Result:
    """Return a result with plausible contents."""
    fields: dict[str, object] = {
        "metric": "frechet_distance", "label": "FD digits", "value": 12.345678, "spread": None,
        "better": "lower", "space": {"name": "digits", "output": "pre_logits", "dimension": 64},
        "convention": {"ddof": 1}, "real": real, "generated": generated,
        "provenance": {"versions": {"python": "3.11"}}, "seconds": 0.5, "details": {},
        "short_name": "FD", "space_name": "digits", "setting": parse_setting(generated.source),
    }  # fmt: skip
    return Result(**{**fields, **changes})  # type: ignore[arg-type]


BY = {"matched_by": "digits"}
WEIGHTS = {"smallest": list(range(20)), "largest": list(range(20, 40))}
DRAWN: tuple[tuple[str, float, dict[str, object], dict[str, object]], ...] = (
    ("random", 20.0, {}, {}),
    ("Top-1 matched", 19.5, {**BY, "draws": 900}, {}),
    ("reweighted by top_n:1", 12.0, {**BY, "match": "top_n:1"}, {}),
    ("reweighted by top_n:5", 6.0, {**BY, "match": "top_n:5"}, WEIGHTS),
)


def chosen(convention: dict[str, object]) -> dict[str, object]:
    """Return the fields of a subset that a convention has as texts."""
    fields = {name: convention[name] for name in ("matched_by", "match") if name in convention}
    kind, colon, classes = str(fields.get("match", "")).partition(":")
    return {**fields, "match": kind, "classes": int(classes)} if colon else fields


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a page of all kinds of contents, with long words where they may come."""
    folder = tmp_path_factory.mktemp("report")
    import torch

    from raymetrics.generators.digits import Digits
    from raymetrics.generators.mnist import Mnist

    real = a_set(str(folder / "real"), "mnist", Mnist().spec)
    generated = a_set(str(folder / "generated"), "digits", Digits(torch.device("cpu")).spec)
    counts = {"real": [8] * 10, "generated": [44, 4, 4, 4, 4, 4, 4, 4, 4, 4]}
    names = ["a very long class name, " * 3, "Unbrokenclassname" * 5, *"23456789"]
    found = [
        a_result(real, generated),
        a_result(real, generated, label="KD digits", short_name="KD", value=0.00123, spread=0.0004,
                 convention={"subsets": 100, "subset_size": 1000, "seed": 0}),
        a_result(real, generated, metric="top1_distance", label="Top-1 distance digits",
                 short_name="Top-1 distance",
                 value=0.45, details={**counts, "class_names": names}),
    ]  # fmt: skip
    found += [
        a_result(real, generated, label=f"FD digits, {way}", value=value, spread=0.5,
                 convention={"drawn": way, "n": 60, "seeds": 3, "candidates": 80, **how},
                 subset={"scheme": way, "n": 60, "seeds": 3, "candidates": 80, **chosen(how)},
                 details={"shown": list(range(30)), "values": [value] * 3, **more})
        for way, value, how, more in DRAWN
    ]  # fmt: skip
    results.append_results([a_result(real, generated, value=99.0)], folder / "results.jsonl")
    results.append_results(found, folder / "results.jsonl")
    return rm.report(folder / "results.jsonl", to=folder / "page")


def chromium(profile: Path, *arguments: str) -> str:
    """Return what headless Chromium prints."""
    known = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, known)), None)
    assert found, "this test needs Chromium: `make browser` installs it, or set CHROMIUM"
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--hide-scrollbars", f"--user-data-dir={profile}")  # fmt: skip
    command = [found, *flags, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


PROBE = """<script>
addEventListener("load", () => {
  const wide = [...document.querySelectorAll("body *")].filter(
    e => !e.closest(".wide, svg") && (e.getBoundingClientRect().right > innerWidth + 1
         || e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display != "inline"));
  document.title = JSON.stringify({
    width: innerWidth, content: document.documentElement.scrollWidth,
    wide: wide.map(e => e.tagName + "." + e.className),
    images: [...document.images].map(i => i.naturalWidth),
    requests: performance.getEntriesByType("resource").filter(r => !r.name.startsWith("data:"))
      .map(r => r.name),
  });
});
</script>"""


def seen(text: str, tmp_path: Path, width: int) -> dict[str, Any]:
    """Return what PROBE finds in a page in a frame of this width.

    A frame is needed, as Chromium's own windows are at least 500 pixels wide.
    """
    probed = tmp_path / "page.html"
    text = text.replace("</body>", PROBE + "</body>")
    text = text.replace("document.title =", 'parent.document.getElementById("out").textContent =')
    frame = f'<iframe width="{width}" height="3000" srcdoc="{html.escape(text)}"></iframe>'
    probed.write_text(f"<!doctype html>{frame}<pre id=out></pre>")
    dom = chromium(
        tmp_path / "profile", "--virtual-time-budget=5000", "--dump-dom", probed.as_uri()
    )
    out = re.search(r'<pre id="out">(.*?)</pre>', dom)
    assert out, dom[-500:]
    found: dict[str, Any] = json.loads(html.unescape(out[1]))
    return found


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_nothing_overflows_and_no_request_leaves(page: Path, tmp_path: Path, width: int) -> None:
    found = seen(page.read_text(), tmp_path, width)
    assert found["width"] == width
    assert found["content"] <= width
    assert found["wide"] == []
    assert found["requests"] == []
    assert len(found["images"]) == 2 + len(DRAWN) + len(WEIGHTS)
    assert all(found["images"])


def test_screenshot(page: Path, tmp_path: Path) -> None:
    shot = tmp_path / "page.png"
    chromium(
        tmp_path / "profile", f"--screenshot={shot}", f"--window-size={DESK},3600", page.as_uri()
    )
    pixels = np.asarray(Image.open(shot).convert("RGB"))
    assert pixels.shape == (3600, DESK, 3)
    for colour in ((0x2B, 0x6C, 0xB0), (0xD9, 0x82, 0x2B)):  # the bars of both sides
        assert (pixels == colour).all(axis=2).sum() > 1000
    assert (pixels == 0).all(axis=2).sum() > 10_000  # the digits' black ground


def test_the_page_is_one_file_that_names_no_other(page: Path) -> None:
    assert [p.name for p in page.parent.iterdir()] == ["index.html"]
    text = page.read_text()
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:|#)""", text)
    assert not re.findall(r"url\((?!#)", text)
    assert "http" not in re.sub(r"data:[^\"]*|xmlns(:xlink)?=\"[^\"]*", "", text)


def test_the_newest_of_repeated_results_is_shown(page: Path) -> None:
    text = page.read_text()
    assert "12.346" in text
    assert "99.0" not in text
    assert "0.0012300 ± 0.0004000" in text


def test_the_samples_are_those_of_the_ids(page: Path) -> None:
    pictures = re.findall(r'src="data:image/png;base64,([^"]*)"', page.read_text())
    shown = [np.asarray(Image.open(io.BytesIO(base64.b64decode(p)))) for p in pictures]
    from raymetrics.generators.mnist import Mnist

    ids = np.linspace(0, 79, 60).astype(int)
    expected = np.asarray(tile_grid([thumbnail(image) for image in Mnist()(ids)], 10))
    np.testing.assert_array_equal(shown[-2], expected)
    assert shown[-1].shape == expected.shape


def test_what_cannot_be_shown_is_said(tmp_path: Path) -> None:
    real = a_set(str(tmp_path / "real"), "mnist", {"name": "mnist", "images_sha256": "other"})
    generated = Side(str(tmp_path / "gone"), "digits", ("0-79",), 80, "f", "d", {})
    results.append_results([a_result(real, generated)], tmp_path / "r.jsonl")
    again = dataclasses.replace(a_set(str(tmp_path / "b"), "mnist", {}), fingerprint="earlier")
    results.append_results([a_result(again, again)], tmp_path / "r.jsonl")
    text = rm.report(tmp_path / "r.jsonl", to=tmp_path).read_text()
    assert text.count("is no longer the set that was measured") == 2
    assert "not shown: mnist is no longer what the shards were made from" in text
    assert "not shown: no shard set at" in text


def test_markup_in_names_is_text(tmp_path: Path) -> None:
    side = Side("nowhere", "<script>alert(1)</script>", ("0-79",), 80, "f", "d", {})
    results.append_results([a_result(side, side)], tmp_path / "r.jsonl")
    text = rm.report(tmp_path / "r.jsonl", to=tmp_path).read_text()
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


def test_table_and_numbers() -> None:
    side = Side("uri", "source", ("0-79",), 80, "f", "d", {})
    lines = results_table([a_result(side, side)]).splitlines()
    assert lines[0].split() == ["metric", "value", "real", "generated", "convention"]
    assert lines[2].split("  ")[0] == "FD digits"
    assert "12.346" in lines[2]
    assert "lower is better" in lines[2]
    assert format_value(0.5) == "0.50000"
    assert format_value(1234.5678, 2.0) == "1234.6 ± 2.0"


def test_grid_of_small_images_is_enlarged_evenly() -> None:
    images = np.arange(3 * 3 * 20 * 28, dtype=np.uint32).reshape(3, 3, 20, 28).astype(np.uint8)
    picture = np.asarray(tile_grid([thumbnail(image) for image in images], 2))
    assert picture.shape == (2 * 40 + 2, 2 * 56 + 2, 3)
    np.testing.assert_array_equal(picture[:40:2, :56:2], images[0].transpose(1, 2, 0))
    np.testing.assert_array_equal(picture[1:40:2, 1:56:2], images[0].transpose(1, 2, 0))
    assert (picture[42:, 58:] == 255).all()


def test_large_images_are_made_smaller_and_keep_their_shape() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 512, 1024), np.uint8)
    assert thumbnail(noise).shape == (MAX_TILE_SIZE // 2, MAX_TILE_SIZE, 3)


def test_the_size_of_the_images_is_kept_and_shown(page: Path) -> None:
    assert page.read_text().count("<dt>image size</dt><dd>28 x 30</dd>") == 2
    found = results.read_results(page.parent.parent / "results.jsonl")[0]
    assert found.real.image_size == (28, 30)
    assert Result.from_json(found.to_json()) == found
    older = json.loads(found.to_json())
    del older["real"]["image_size"]
    assert Result.from_json(json.dumps(older)).real.image_size is None
