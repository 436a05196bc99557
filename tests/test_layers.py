"""The architecture: imports go one way, and only `distributed` knows Ray."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import raymetrics

PACKAGE = Path(raymetrics.__file__).parent

# A folder or module may import those in rows above its own, and itself.
ROWS = [
    {"printable", "output_names"},
    {"errors"},
    {"uris", "files"},
    {
        "provenance",
        "sample_ranges",
        "result_schema",
        "safe_pickle",
        "option_strings",
        "safe_archives",
        "python_arguments",
    },
    {"code_digests", "npz_files"},
    {"user_code"},
    {"devices", "fixed_batches", "permissions", "statistics", "weights"},
    {"metrics"},
    {"neighbors", "attacks", "shards", "extractors", "generators"},
    {"heatmaps", "results_version_1", "feature_states", "reference_statistics"},
    {"distributed", "results"},
    {"in_memory", "reports", "result_loggers"},
    {"studies"},
    {"evaluator", "compatibility"},
    {"cli"},
    {"demo", "__main__"},
]
# Of these only the named folder may import the library.
ONLY = {"ray": {"distributed"}, "faiss": {"neighbors"}}
PURE = {
    "statistics",
    "metrics",
    "attacks",
    "neighbors",
    "shards",
    "sample_ranges",
    "errors",
    "results",
    "provenance",
}
PROCESSORS = {"processors.py"}  # what they compute with


def imports_of(file: Path) -> set[str]:
    """The full names of all modules that a file imports, at the top or later."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = {alias.name for alias in node.names}
            assert "raymetrics" not in names, f"{file}: import the module that is meant"
            found |= names
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            module = node.module or ""
            found.add(module)
            if module == "raymetrics":
                found |= {f"raymetrics.{alias.name}" for alias in node.names}
    return found


def part(file: Path) -> str:
    """ "statistics" for raymetrics/statistics/moments.py, "cli" for raymetrics/cli.py."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = [file for file in sorted(PACKAGE.rglob("*.py")) if file != PACKAGE / "__init__.py"]


def test_every_part_has_a_row() -> None:
    assert {part(file) for file in FILES} == set().union(*ROWS)


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_go_one_way(file: Path) -> None:
    row = next(i for i, parts in enumerate(ROWS) if part(file) in parts)
    allowed = set().union(*ROWS[:row], {part(file)})
    for module in imports_of(file):
        top, _, rest = module.partition(".")
        if top == "raymetrics" and rest:
            assert rest.split(".")[0] in allowed, f"{file} imports {module}"
        for library, parts in ONLY.items():
            assert top != library or part(file) in parts, f"{file} imports {module}"
        is_pure = part(file) in PURE and file.name not in PROCESSORS
        assert not (is_pure and top == "torch"), f"{file} imports {module}"


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("raymetrics", ("torch", "ray", "faiss", "numpy", "pyarrow")),
        ("raymetrics.cli", ("torch", "ray", "faiss", "numpy", "pyarrow")),
        ("raymetrics.metrics", ("torch", "ray", "faiss", "pyarrow", "sklearn")),
        ("raymetrics.in_memory", ("torch", "ray", "pyarrow")),
        ("raymetrics.attacks", ("torch", "ray", "faiss", "pyarrow")),
        ("raymetrics.shards.shard_set", ("torch", "ray", "faiss")),
        ("raymetrics.studies.evaluate", ("torch", "ray", "faiss", "pandas")),
        ("raymetrics.reports.terminal", ("torch", "ray", "faiss", "jinja2")),
        ("raymetrics.distributed.extraction.extract", ("ray", "faiss", "pandas")),
        ("raymetrics.generators", ("torch", "ray", "faiss", "pyarrow")),
        ("raymetrics.extractors", ("ray", "faiss", "pyarrow")),
    ],
)
def test_importing_loads_no_more_than_it_needs(module: str, absent: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print(*[m for m in {absent!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_public_names_are_there_and_sorted() -> None:
    assert raymetrics.__all__ == sorted(raymetrics.__all__)
    for name in raymetrics.__all__:
        assert getattr(raymetrics, name).__name__.removeprefix("raymetrics.") == name
        assert getattr(raymetrics, name).__doc__
    assert set(dir(raymetrics)) >= set(raymetrics.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = raymetrics.nothing
