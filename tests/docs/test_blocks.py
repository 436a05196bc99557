"""Every command of README and docs is run by a test, or says why not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.blocks import PAGES, ROOT, names_of, text_of

TESTS = [*sorted((ROOT / "tests" / "docs").glob("test_*.py"))]
TESTS += [ROOT / "tests" / "shards" / "foreign" / "test_export.py"]
RUN_BY = "\n".join(file.read_text() for file in TESTS if file != Path(__file__))


@pytest.mark.parametrize("page", PAGES)
def test_console_blocks_have_a_name_or_a_reason(page: str) -> None:
    lines = text_of(page).splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        if line.strip() == "```console":
            assert re.fullmatch(r" *<!-- (run: [\w-]+|not run: .+) -->", before), (
                f"before a console block of {page} there is {before!r}, "
                "expected <!-- run: NAME --> or <!-- not run: WHY -->"
            )


@pytest.mark.parametrize("page", [page for page in PAGES if names_of(page)])
def test_named_blocks_are_run(page: str) -> None:
    names = names_of(page)
    assert len(names) == len(set(names)), page
    for name in names:
        assert f'"{name}"' in RUN_BY, f"no test runs the block {name} of {page}"


def test_commands_of_make_exist() -> None:
    makefile = text_of("Makefile")
    for page in (*PAGES, "CONTRIBUTING.md"):
        for target in re.findall(r"(?:^|`)make ([\w-]+)", text_of(page), flags=re.MULTILINE):
            assert f"\n{target}:" in makefile, f"{page} says make {target}"


def test_modules_of_the_pages_exist() -> None:
    """Names of files and folders in code, as `neighbors/` or `metrics/conventions.py`."""
    folders = {path.name for path in (ROOT / "raymetrics").iterdir() if path.is_dir()}
    for page in PAGES:
        for name in re.findall(r"`(?:raymetrics/)?([a-z_]+/[\w/]*(?:\.py)?)`", text_of(page)):
            if name.split("/")[0] in folders and "mine" not in name and "word" not in name:
                path = ROOT / "raymetrics" / name
                assert path.exists() or path.with_suffix(".py").exists(), f"{page} names {name}"
