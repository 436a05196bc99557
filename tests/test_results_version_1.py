"""Lines of results that earlier versions wrote: subset and setting are derived from texts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from raymetrics import results
from raymetrics.generators.source_settings import parse_setting
from raymetrics.reports.comparison_page import report
from raymetrics.results import Result, Side
from tests.reports.test_comparison_page import DRAWN, a_result, chosen
from tests.reports.test_sweep_section import ALL, found
from tests.reports.test_sweep_tables import PLAN

NEW_FIELDS = ("format", "short_name", "space_name", "subset", "setting")


def old_line(result: Result) -> str:
    """Return the line that an earlier version wrote for a result."""
    value = json.loads(result.to_json())
    return json.dumps({name: v for name, v in value.items() if name not in NEW_FIELDS})


def resampled() -> list[Result]:
    """Return ways of drawing in two spaces."""
    side = Side("nowhere", "digits", ("0-79",), 80, "f", "d", {})
    counts = {"n": 60, "seeds": 3, "candidates": 80}
    return [
        a_result(
            side, side, label=f"FD {space}, {way}", value=value, spread=0.5, space_name=space,
            space={"name": space, "output": "pre_logits", "dimension": 64},
            convention={"drawn": way, **counts, **how},
            subset={"scheme": way, **counts, **chosen(how)}, details={"shown": [1, 2], **more},
        )
        for way, value, how, more in DRAWN
        for space in ("digits", "other")
    ]  # fmt: skip


def sweep() -> list[Result]:
    """Return truncation with classes, snapshots, and metrics with names of several words."""
    sources = [
        "digits",
        "digits?truncate=C:0.5",
        "digits?truncate=D:0.25&mean=all",
        "a.pkl?psi=0.7",
    ]
    made = [
        result
        for i, source in enumerate(sources)
        for label in (None, 0, 1)
        for result in found(source, *(0.9 - i / (k + 2) for k in range(7)), of=ALL, label=label)
    ]
    return made + [r for n in (1, 2, 3) for r in found(f"run/net-{n}00.pkl", n / 9, 0.5, 9 - n)]


RESULTS = {"resampled": resampled(), "sweep": sweep(), "table": PLAN}


@pytest.mark.parametrize("kind", RESULTS)
def test_old_lines_are_read_as_new_ones(kind: str) -> None:
    for result in RESULTS[kind]:
        assert Result.from_json(old_line(result)) == result
        assert Result.from_json(result.to_json()) == result


@pytest.mark.parametrize("kind", RESULTS)
def test_old_lines_give_the_same_page(kind: str, tmp_path: Path) -> None:
    results.append_results(RESULTS[kind], tmp_path / "results.jsonl")
    page = report(tmp_path / "results.jsonl", to=tmp_path / "page").read_text()
    lines = "".join(old_line(result) + "\n" for result in RESULTS[kind])
    (tmp_path / "results.jsonl").write_text(lines)
    assert report(tmp_path / "results.jsonl", to=tmp_path / "page").read_text() == page


@pytest.mark.parametrize(
    ("metric", "label", "space", "expected"),
    [
        ("frechet_distance", "FD digits logits", ("digits", "logits"), ("FD", "digits logits")),
        ("frechet_distance", "FID", ("inception", "pre_logits"), ("FID", "")),
        ("kernel_distance", "KID (pil)", ("inception", "pre_logits"), ("KID", "(pil)")),
        ("prd_f_8", "PRD F_8 digits, label 3", ("digits", "pre_logits"), ("PRD F_8", "digits")),
        ("frechet_by_count", "FD at 50 digits", ("digits", "features"), ("FD at 50", "digits")),
    ],
)
def test_names_are_derived_from_the_label(
    metric: str, label: str, space: tuple[str, str], expected: tuple[str, str]
) -> None:
    side = Side("nowhere", "digits", ("0-79",), 80, "f", "d", {})
    name, output = space
    result = a_result(
        side, side, metric=metric, label=label, space={"name": name, "output": output}
    )
    old = Result.from_json(old_line(result))
    assert (old.short_name, old.space_name) == expected
    assert old.measure_name == re.sub(", label .*", "", label)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("digits", {}),
        ("digits?b=1&a=2", {"base": "digits?a=2&b=1"}),
        ("digits?truncate=C:0.4", {"truncate": "clamp", "amount": 0.4, "base": "digits"}),
        ("a.pkl?psi=0.7&cutoff=8",
         {"truncate": "psi", "amount": 0.7, "cutoff": "8", "base": "a.pkl"}),
        ("run/net-000800.pkl", {"run": "run/net-*.pkl", "snapshot": 800}),
        ("run/net-" + "9" * 16 + ".pkl", {}),
        ("m:N?where=important&scale=0.05",
         {"where": "important", "scale": 0.05, "base": "m:N?scale=0.05&where=important"}),
        ("m:N?where=important&scale=x", {"base": "m:N?scale=x&where=important"}),
        ("digits?truncate=C:x", {}),
        ("a?b=1&b=2", {}),
    ],
)  # fmt: skip
def test_parse_setting(source: str, expected: dict[str, object]) -> None:
    assert parse_setting(source) == expected


def test_a_secret_in_a_setting_is_not_kept() -> None:
    address = "https://host/net-000800.pkl?psi=1&key=hunter2"
    side = Side("nowhere", address, ("0-79",), 80, "f", "d", {})
    result = a_result(side, side, setting={"base": "https://host/x?key=hunter2"})
    assert "hunter2" not in result.to_json()
    assert "hunter2" not in Result.from_json(old_line(result)).to_json()
