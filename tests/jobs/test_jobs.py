"""The jobs' files without Ray: one for each verb that computes, and their commands are right."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from types import ModuleType

import click
import pytest
import yaml
from ray.dashboard.modules.job.cli import submit

from raymetrics.cli import main
from tests.helpers.head import CHECKOUT, job_commands

JOBS = sorted((CHECKOUT / "jobs").glob("*.py"))
AT_ONCE = {
    "table",
    "cache",
    "statistics",
    "inspect",
    "export",
    "weights",
    "report",
}  # verbs that start no workers


def loaded(file: Path) -> ModuleType:
    """A job as a module."""
    spec = importlib.util.spec_from_file_location(f"job_{file.stem}", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_verb_that_computes_has_a_job() -> None:
    verbs = {name for name, verb in main.commands.items() if not verb.hidden} - AT_ONCE
    assert {file.stem for file in JOBS} == verbs


@pytest.mark.parametrize("file", JOBS, ids=lambda file: file.stem)
def test_the_command_of_a_job_is_right(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CHECKOUT)
    [words] = job_commands(ast.get_docstring(ast.parse(file.read_text())) or "")
    asked = submit.make_context("submit", words[3:]).params
    assert Path(asked["working_dir"]) == Path(".")
    assert Path(asked["runtime_env"]).is_file()
    python, script, *arguments = asked["entrypoint"]
    assert (python, Path(script).absolute()) == ("python", file)
    verb: click.Command = getattr(loaded(file), file.stem)
    assert verb is main.commands.get(file.stem, verb)
    verb.make_context(script, arguments)  # raises if the verb has no such option


def test_the_environment_of_jobs_names_what_is_there() -> None:
    environment = yaml.safe_load((CHECKOUT / "jobs" / "runtime_env.yaml").read_text())
    assert set(environment) == {"excludes", "env_vars"}
    assert all(isinstance(value, str) for value in environment["env_vars"].values())
    assert not [name for name in environment["env_vars"] if "KEY" in name or "SECRET" in name]
    left_out = {path.strip("/*") for path in environment["excludes"]}
    assert {".git", ".venv", "tests", "demo-output", "shards"} <= left_out
    assert not left_out & {"raymetrics", "jobs"}
