"""Project files agree with each other: versions, the licence, Pythons, the image of clusters."""

from __future__ import annotations

import json
import re
import tomllib

import yaml

from tests.docs.blocks import ROOT, text_of

PROJECT = tomllib.loads(text_of("pyproject.toml"))["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))


def test_licence_is_the_one_that_is_declared() -> None:
    assert PROJECT["license"] == "Apache-2.0"
    assert "Apache License\n" in text_of("LICENSE")
    assert "END OF TERMS AND CONDITIONS" in text_of("LICENSE")


def test_citation_has_the_version_and_both_papers() -> None:
    citation = yaml.safe_load(text_of("CITATION.cff"))
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert [paper["year"] for paper in citation["references"]] == [2019, 2023]


def test_changelog_has_the_version() -> None:
    assert f"## [{PROJECT['version']}]" in text_of("CHANGELOG.md")


def test_image_has_the_ray_of_the_clusters() -> None:
    (of_image,) = re.findall(r"^ARG BASE=(\S+)$", text_of("Dockerfile"), flags=re.MULTILINE)
    assert of_image == yaml.safe_load(text_of("cluster.yaml"))["docker"]["image"]
    assert f"rayVersion: {of_image.partition(':')[2].partition('-')[0]}\n" in text_of("rayjob.yaml")


def test_workflows_run_what_make_has() -> None:
    makefile = text_of("Makefile")
    for file in WORKFLOWS:
        jobs = yaml.safe_load(file.read_text())["jobs"]
        for target in re.findall(r"run: make ([a-z]+)", file.read_text()):
            assert f"\n{target}:" in makefile, f"{file.name} runs make {target}"
        for what in jobs.get("slow", {}).get("strategy", {}).get("matrix", {}).get("what", []):
            assert f"\n{what}:" in makefile, f"{file.name} runs make {what}"


def test_every_python_that_is_declared_is_tested() -> None:
    tests = yaml.safe_load(text_of(".github/workflows/tests.yaml"))["jobs"]["tests"]
    declared = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert tests["strategy"]["matrix"]["python"] == declared
    assert PROJECT["requires-python"] == f">={declared[0]}"


def test_hooks_fetch_nothing() -> None:
    repos = yaml.safe_load(text_of(".pre-commit-config.yaml"))["repos"]
    assert [repo["repo"] for repo in repos] == ["local"]


def test_versions_that_are_locked_name_no_host() -> None:
    for line in text_of("requirements-dev.lock").splitlines():
        assert line.startswith("#") or re.fullmatch(r"[\w.-]+==[\w.+!]+", line), line


def test_the_notebook_has_no_output() -> None:
    """What it printed on somebody's machine is not kept."""
    cells = json.loads(text_of("examples/read_shards.ipynb"))["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


def test_every_page_is_in_the_navigation() -> None:
    navigation = text_of("mkdocs.yml")
    for page in (ROOT / "docs").rglob("*.md"):
        assert f": {page.relative_to(ROOT / 'docs')}\n" in navigation, page
