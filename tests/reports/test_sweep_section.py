"""Sweeps of truncation and of snapshots: what is compared, and what the page shows of it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import raymetrics as rm
from raymetrics import results
from raymetrics.generators.source_settings import distinguishing_names
from raymetrics.reports import comparison_page as pages
from raymetrics.reports.figures import Line, line_chart
from raymetrics.reports.sample_images import SampleImages
from raymetrics.reports.snapshots_section import frontier_charts, group_by_run
from raymetrics.reports.sweep_points import SourceSetting, group_sweeps
from raymetrics.reports.sweep_section import tradeoff_sections, tradeoffs_table
from raymetrics.reports.truncation_section import group_by_strategy, select_classes, strategy_lines
from raymetrics.results import Result, Side
from tests.reports.test_comparison_page import PHONE, a_result, seen

REAL = Side("nowhere", "mnist", ("0-79",), 80, "f", "real", {})
BALL: dict[str, object] = {"k": 3, "ball": "closed (<=)", "engine": "tiles"}
WAYS: dict[str, tuple[str, str, dict[str, object]]] = {
    "precision": ("precision", "higher", BALL),
    "recall": ("recall", "higher", BALL),
    "density": ("density", "higher", BALL),
    "coverage": ("coverage", "higher", BALL),
    "frechet_distance": ("FD", "lower", {"ddof": 1}),
    "prd_f_8": ("PRD F_8", "higher", {"clusters": 20}),
    "prd_f_1_8": ("PRD F_1/8", "higher", {"clusters": 20}),
}
ALL = tuple(WAYS)
SOME = ("precision", "recall", "frechet_distance")
NAMES = ["zero", "Unbrokenclassname" * 4]


def found(
    source: str, *values: float, of: Sequence[str] = SOME, space: str = "digits",
    label: int | None = None, **said: object,
) -> list[Result]:  # fmt: skip
    """Return the results of one generated set."""
    side = Side("nowhere", source, ("0-79",), 80, "f", source, {})
    by_label = {} if label is None else {"label": label}
    subset = {} if label is None else {"label": label, "name": NAMES[label % 2]}
    named = "" if label is None else f", label {label} ({NAMES[label % 2]})"
    made = []
    for metric, value in zip(of, values, strict=True):
        short, better, how = WAYS[metric]
        made.append(
            a_result(
                REAL, side, metric=metric, label=f"{short} {space}{named}", value=value,
                better=better, convention={**how, **by_label, **said},
                short_name=short, space_name=space, subset=subset,
                space={"name": space, "output": "pre_logits", "dimension": 64},
            )
        )  # fmt: skip
    return made


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("digits", SourceSetting("digits", None, 1, None, None)),
        ("digits?truncate=clamp:0.7", SourceSetting("digits", "C clamp", 0.7, None, None)),
        ("digits?truncate=C:0", SourceSetting("digits", "C clamp", 0, None, None)),
        ("x?truncate=D:1&mean=all", SourceSetting("x", "D interpolate-w, mean=all", 1, None, None)),
        ("digits?truncate=none:x", SourceSetting("digits?truncate=none:x", None, 1, None, None)),
        ("digits?truncate=C:nan", SourceSetting("digits?truncate=C:nan", None, 1, None, None)),
        ("a.pkl?psi=0.7&noise=const", SourceSetting("a.pkl?noise=const", "psi", 0.7, None, None)),
        ("a.pkl?psi=0.7&cutoff=8", SourceSetting("a.pkl", "psi, cutoff=8", 0.7, None, None)),
        ("a?b=1&b=2", SourceSetting("a?b=1&b=2", None, 1, None, None)),
        ("digits?snapshot=400", SourceSetting("digits?snapshot=400", None, 1, "digits", 400)),
        (
            "r/snapshot-000400.pkl?psi=1",
            SourceSetting("r/snapshot-000400.pkl", "psi", 1, "r/snapshot-*.pkl?psi=1", 400),
        ),
        ("at/000200-ema.pt", SourceSetting("at/000200-ema.pt", None, 1, "at/*-ema.pt", 200)),
        ("samples-psi0.7", SourceSetting("samples-psi0.7", None, 1, None, None)),
        ("run-3/last.pkl", SourceSetting("run-3/last.pkl", None, 1, None, None)),
    ],
)  # fmt: skip
def test_where_a_source_stands(source: str, expected: SourceSetting) -> None:
    (result,) = found(source, 1.0, of=("precision",))
    assert SourceSetting.from_result(result) == expected


def test_what_tells_sources_apart() -> None:
    assert distinguishing_names(["digits", "digits?truncate=C:0.5"]) == ["digits", "truncate=C:0.5"]
    assert distinguishing_names(["a?k=1&n=2", "a?n=2&k=3"]) == ["k=1", "k=3"]
    assert distinguishing_names(["r/x/n-*.pkl", "r/y/n-*.pkl"]) == ["x", "y"]
    assert distinguishing_names(["r/n1.pkl", "r/n2.pkl?psi=1"]) == ["n1.pkl", "n2.pkl?psi=1"]
    assert distinguishing_names(["r/a", "r/a/b"]) == ["a", "a/b"]


def test_only_the_comparable_is_compared() -> None:
    """One real set, one number of samples; neither draws nor chosen samples."""
    base = found("digits", 0.5, 0.5, 9)
    other = [dataclasses.replace(r, real=dataclasses.replace(REAL, digest="other")) for r in base]
    fewer = [
        dataclasses.replace(r, generated=dataclasses.replace(r.generated, samples=("0-9",)))
        for r in base
    ]
    chosen = dataclasses.replace(base[0].generated, selection={"file": "f", "digest": "d"})
    left_out = [
        dataclasses.replace(base[0], generated=chosen),
        dataclasses.replace(base[0], subset={"scheme": "random"}),
    ]
    kept = group_sweeps([*base, *left_out, *other, *fewer])
    assert [(len(s.points), len(s.names)) for s in kept] == [(1, 3)] * 3
    (again,) = group_sweeps([*base, *found("digits", 0.7, of=("precision",), engine="faiss-flat")])
    assert again.points[0].value(again.measures("precision")[0]) == 0.7  # the newest


def test_conventions_are_told_apart() -> None:
    several = [
        *found("digits", 0.5, 0.5, of=SOME[:2]),
        *found("digits", 0.6, 0.6, of=SOME[:2], k=5),
        *found("digits", 7, of=("frechet_distance",)),
    ]
    names = list(group_sweeps(several)[0].names.values())
    assert (names[2].metric, names[2].space) == ("precision", "digits, k=5")
    assert [name.full for name in names] == [
        "precision digits, k=3", "recall digits, k=3",
        "precision digits, k=5", "recall digits, k=5", "FD digits",
    ]  # fmt: skip


def test_table() -> None:
    table = tradeoffs_table(
        [
            *found("digits?truncate=C:0.5", 0.9, 0.25, 20),
            *found("digits?truncate=A:0.5", 0.75, of=("precision",)),
            *found("digits?snapshot=400", 0.9, 0.1, 30),
            *found("digits?snapshot=50", 0.2, 0.1, 40),
            *found("digits?snapshot=50", 0.3, of=("precision",), label=1),
            *found("digits", 0.5, 0.5, 10),
            *found("digits", 0.5, of=("precision",), space="other"),
        ]
    )
    assert [line.rstrip() for line in str(table).splitlines()] == [
        "                precision digits  recall digits  FD digits  precision other",
        "digits          0.50000           0.50000*       10.000*    0.50000",
        "snapshot=50     0.20000           0.10000        40.000",
        "snapshot=400    0.90000*          0.10000        30.000",
        "truncate=A:0.5  0.75000",
        "truncate=C:0.5  0.90000*          0.25000        20.000",
        "",
        "* the best of its column",
    ]


def test_the_source_itself_is_the_end_of_every_strategy() -> None:
    (swept,) = group_sweeps(
        [
            *found("digits?truncate=D:0", 0.9, 0.0, 50),
            *found("digits", 0.5, 0.4, 10),
            *found("digits?truncate=C:1", 0.6, 0.45, 9),
            *found("digits?truncate=clamp:0.25", 0.8, 0.2, 30),
            *found("digits?snapshot=50&truncate=B:0.5", 0.1, 0.1, 90),
            *found("digits?truncate=E:0.5", 0.7, of=("precision",)),
            # Of these the amount 1 is no generator without truncation.
            *found("digits?truncate=truncate-z-at:0.5", 0.8, 0.1, 30),
            *found("digits?truncate=scale-truncated-z:0.5", 0.8, 0.1, 30),
            *found("digits?truncate=scale-truncated-z:1", 0.6, 0.3, 20),
        ]
    )
    paths = group_by_strategy(swept.points, "digits")
    assert {name: [p.source_setting.amount for p in points] for name, points in paths.items()} == {
        "C clamp": [0.25, 1],
        "D interpolate-w": [0, 1],
        "E interpolate-z": [0.5, 1],
        "scale-truncated-z": [0.5, 1],
    }
    assert [p.source for p in paths["scale-truncated-z"]] == [
        "digits?truncate=scale-truncated-z:0.5",
        "digits?truncate=scale-truncated-z:1",
    ]
    (precision,) = swept.measures("precision")
    lines = strategy_lines(paths, precision.with_metric("recall"), precision)
    assert [(line.name, list(line.x), list(line.y), line.texts) for line in lines] == [
        ("C clamp", [0.2, 0.45], [0.8, 0.6], ["0.25", "1"]),
        ("D interpolate-w", [0.0, 0.4], [0.9, 0.5], ["0", ""]),  # E has no recall at 0.5
        ("scale-truncated-z", [0.1, 0.3], [0.8, 0.6], ["0.5", ""]),
    ]
    assert (
        group_by_strategy(swept.points, "digits?snapshot=50") == {}
    )  # of one set there is no line


def test_of_many_classes_the_easiest_and_the_hardest_are_drawn() -> None:
    precisions = np.random.default_rng(0).permutation(30) / 30
    swept_found = [*found("digits", 0.5, 0.5, 9), *found("digits?truncate=C:0.5", 0.6, 0.3, 9)]
    for label, value in enumerate(precisions):
        swept_found += found("digits", value, 0.5, 7, label=label)
        swept_found += found("digits?truncate=C:0.5", 1 - value, 0.3, 8, label=label)
    (swept,) = group_sweeps(swept_found)
    points = group_by_strategy(swept.points, "digits")["C clamp"]
    labels = select_classes(swept, points, swept.measures("precision")[0])
    assert sorted(precisions[labels]) == sorted(np.sort(precisions)[[*range(5), *range(-5, 0)]])
    (section,) = tradeoff_sections(swept_found)
    (part,) = (part for part in section.chart_groups if part.title == "Classes of digits")
    assert part.charts[0].note.endswith("of lowest precision; 20 more.")
    assert "Unbrokenclassname" not in part.charts[0].figure.replace("UnbrokenclassnameUn…", "")
    assert "zero FD 7" in part.charts[0].figure  # of the set that is truncated least


RUNS = {
    "a": [(0.5, 0.1, 9), (0.6, 0.3, 5), (0.4, 0.2, 6), (0.3, 0.5, 7)],
    "b": [(0.2, 0.1, 8), (0.1, 0.1, 4), (0.2, 0.2, 3)],
    "c": [(0.9, 0.9, 1), (0.8, 0.9, 2)],  # too few
}


def test_snapshots_and_their_frontiers() -> None:
    made = [
        result
        for run, values in RUNS.items()
        for number, of_snapshot in reversed(list(enumerate(values)))
        for result in found(f"runs/{run}/network-{number:06d}00.pkl", *of_snapshot)
    ]
    (swept,) = group_sweeps(made)
    runs = group_by_run(swept)
    assert {run: [p.source_setting.snapshot for p in points] for run, points in runs.items()} == {
        "a": [0, 100, 200, 300],
        "b": [0, 100, 200],
    }
    (drawn,) = frontier_charts(swept, runs)
    assert drawn.note == "On the frontier: a: 100, 300; b: 200."
    (section,) = tradeoff_sections(made)
    (part,) = section.chart_groups
    assert part.charts[1].note == "The best of a: 5.0000 at 100. The best of b: 3.0000 at 200."


def markers(figure: str) -> np.ndarray:
    """Where the points of a chart with one line are, in pixels, float64 [n, 2]; y goes down."""
    (line,) = re.findall(r'<g id="[0-9a-f]+-line2d_\d+">\s*<path [^>]*>\s*<defs>.*?</defs>\s*'
                         r'<g clip-path[^>]*>(.*?)</g>', figure, flags=re.DOTALL)  # fmt: skip
    found = re.findall(r'<use [^>]*x="([\d.]+)" y="([\d.]+)"', line)
    return np.array(found, np.float64)


@pytest.mark.parametrize(("flipped", "log"), [(False, False), (True, False), (False, True)])
def test_a_chart_is_where_its_numbers_are(flipped: bool, log: bool) -> None:
    x, y = np.array([1.0, 2.0, 8.0]), np.array([0.25, 1.0, 0.5])
    figure = line_chart([Line("", x.tolist(), y.tolist(), 0)], "x", "y", flipped=flipped, log=log)
    ElementTree.fromstring(figure)  # well-formed
    at = markers(figure)
    expected = np.column_stack([(-1 if flipped else 1) * (np.log(x) if log else x), -y])
    for column in (0, 1):
        assert np.corrcoef(at[:, column], expected[:, column])[0, 1] > 0.999999


def test_no_picture_refers_to_another() -> None:
    line = Line("one", [1, 2], [1, 2], 0)
    figures = [
        line_chart([line], "x", "y"),
        line_chart([line], "x", "z"),
        line_chart([line], "x", "y"),
    ]
    ids = [set(re.findall(r'\bid="([^"]+)"', figure)) for figure in figures]
    assert not ids[0] & ids[1]
    assert figures[0] == figures[2]  # the same numbers, the same text
    for figure, own in zip(figures, ids, strict=True):
        assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', figure)) <= own


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a page of a sweep with everything in it."""
    folder = tmp_path_factory.mktemp("tradeoffs")
    made = []
    for strategy in ("A", "clamp", "interpolate-w"):
        for amount in (0.3, 0.6):
            of = ALL if strategy == "A" else SOME
            values = (0.9 - amount / 5, amount / 2, 50 - 40 * amount, 1.2, 0.4, 0.8, 0.7)
            by_metric = dict(zip((*SOME, *(m for m in ALL if m not in SOME)), values, strict=True))
            source = f"digits?truncate={strategy}:{amount}"
            made += found(source, *(by_metric[m] for m in of), of=of)
    made += found("digits", 0.7, 0.5, 5)
    for label in (0, 1):
        made += found("digits", 0.7, 0.5, 5, label=label)
        made += found("digits?truncate=clamp:0.6", 0.8, 0.3 + 0.1 * label, 5, label=label)
    for step in (50, 400, 5000):
        made += found(f"digits?snapshot={step}", 0.3, 0.2 + step / 1e5, 99 - step / 100)
    results.append_results(made, folder / "results.jsonl")
    return rm.report(folder / "results.jsonl", to=folder / "page")


def test_the_page_begins_with_the_sweep(page: Path) -> None:
    text = page.read_text()
    titles = re.findall(r"<summary><b>(.*?)</b>|<h[23]>(.*?)</h", text)
    assert ["".join(title) for title in titles][:8] == [
        "10 generated sets of 80 samples against mnist",
        "Truncation of digits",
        "Classes of digits",
        "A reject-distance, digits",
        "C clamp, digits",
        "D interpolate-w, digits",
        "Snapshots",
        "All numbers",
    ]
    assert text.index("All numbers") < text.index("What the numbers were made of")
    assert text.count("<details>\n<summary class") == 10  # every comparison is folded away
    assert text.count("<details open>") == 3
    assert "<b>0.84000</b>" in text  # the best precision
    figures = re.findall("<svg.*?</svg>", text, flags=re.DOTALL)
    assert len(figures) == 2 + 1 + (3 + 2 + 2) + 2
    for figure in figures:
        ElementTree.fromstring(figure)


def test_nothing_of_it_overflows(page: Path, tmp_path: Path) -> None:
    shown = seen(page.read_text().replace("<details>", "<details open>"), tmp_path, PHONE)
    assert (shown["width"], shown["wide"], shown["requests"]) == (PHONE, [], [])
    assert shown["content"] <= PHONE


@pytest.mark.parametrize(
    ("sets", "shown"), [(4, pages.SAMPLES_SHOWN), (5, pages.SAMPLES_SHOWN_FOLDED)]
)
def test_many_comparisons_are_folded_and_show_few_samples(
    sets: int, shown: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(
        SampleImages, "sample_ids", lambda self, side, count: np.arange(min(80, count))
    )
    monkeypatch.setattr(
        SampleImages, "image_grid_uri", lambda self, side, ids: asked.append(len(ids))
    )
    made = [
        result
        for i in range(sets)
        for result in found(f"digits?truncate=C:0.{i + 1}", 0.9 - i / 10, i / 10, 9)
    ]
    results.append_results(made, tmp_path / "r.jsonl")
    text = rm.report(tmp_path / "r.jsonl", to=tmp_path).read_text()
    assert asked == [shown] * 2 * sets
    assert ("<summary class" in text) == (shown == pages.SAMPLES_SHOWN_FOLDED)
    assert '<p class="soft">' in text


def test_one_set_is_no_sweep(tmp_path: Path) -> None:
    results.append_results(found("digits?truncate=C:0.5", 0.6, 0.3, 9), tmp_path / "r.jsonl")
    assert "<svg" not in rm.report(tmp_path / "r.jsonl", to=tmp_path).read_text()
