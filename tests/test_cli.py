"""The command line: its help is true, and bad input is one line and exit code 2."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from raymetrics.cli import duration, main
from raymetrics.evaluation import METRICS
from raymetrics.extractors import NAMED as EXTRACTORS
from raymetrics.generators import NAMED as SOURCES
from tests.conftest import write_set


def run(*arguments: str) -> tuple[int, str]:
    """Exit code, and what was printed."""
    done = CliRunner().invoke(main, arguments)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def examples() -> list[list[str]]:
    """The commands that the help texts show, in the order of a user's work."""
    found = []
    for verb in ("extract", "inspect", "evaluate", "report"):
        command = main.commands[verb]
        text = command.get_help(click.Context(command, info_name=verb))
        example = text[text.index("Example") :].replace("\\\n", " ")
        lines = re.findall(r"^\s+raymetrics (.*)$", example, flags=re.MULTILINE)
        assert lines, f"{verb} --help has no example"
        found += [shlex.split(line) for line in lines]
    return found


@pytest.mark.usefixtures("ray_session")
def test_the_examples_in_the_help_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in examples():
        code, output = run(*arguments)
        assert code == 0, output
    assert Path("report/index.html").exists()
    assert "FD digits" in run(*next(e for e in examples() if e[0] == "evaluate"))[1]


def test_help_names_what_there_is() -> None:
    _, text = run("extract", "--help")
    for name in (*SOURCES, *EXTRACTORS):
        assert name in text
    _, text = run("evaluate", "--help")
    assert ",".join(METRICS) in text
    assert run("--version")[1].startswith("raymetrics")


EXTRACT = ("extract", "digits", "--extractor", "digits", "--to")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("extract", "nothing", "--extractor", "digits", "--to", "x"), "no source 'nothing'"),
        (("extract", "digits", "--extractor", "vgg", "--to", "x", "--samples", "0-9"),
         "no extractor 'vgg'"),
        ((*EXTRACT, "nosuch://x", "--samples", "0-9"), "cannot use 'nosuch://x'"),
        ((*EXTRACT, "x", "--samples", "9-0"), "samples '9-0' is empty"),
        ((*EXTRACT, "x", "--samples", "ten"), "write first-last"),
        ((*EXTRACT, "x"), "digits never ends"),
        ((*EXTRACT, "x", "--samples", "0-9", "--shard-rows", "0"), "shard_rows is 0"),
        ((*EXTRACT, "x", "--samples", "0-9", "--actors", "0"), "actors is 0"),
        ((*EXTRACT, "/dev/null/x", "--samples", "0-9"), "cannot"),
        (("extract", "mnist", "--extractor", "digits", "--to", "x", "--samples", "0-5000"),
         "0-4999, but 0-5000"),
        (("evaluate", "--real", "nowhere", "--generated", "nowhere"), "no shard set at nowhere"),
        (("inspect", "nowhere"), "no shard set at nowhere"),
        (("report", "nowhere", "--to", "x"), "cannot read results from nowhere"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, output = run(*arguments)
    assert code == 2
    assert output.startswith("error: ")
    assert message in output
    assert output.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_inspect(tmp_path: Path) -> None:
    x = np.zeros((250, 4), np.float32)
    uri = str(tmp_path / "set")
    shards = write_set(uri, {"pre_logits": x})
    code, text = run("inspect", uri, "--verify")
    assert code == 0
    for fact in ("250 of 250 (0-249)", "made_up_pre_logits float32 [4]", shards.spec.fingerprint,
                 f"yes, digest {shards.digest}", "every shard has the digest"):  # fmt: skip
        assert fact in text
    (tmp_path / "set" / "samples-000000000100-000000000199.parquet").unlink()
    code, text = run("inspect", uri)
    assert code == 0
    assert "missing       100-199" in text
    assert f"raymetrics extract numbers --extractor made-up --to {uri} --samples 100-199" in text


def test_duration() -> None:
    assert [duration(s) for s in (0, 75, 3600 * 2 + 61)] == ["0:00", "1:15", "2:01:01"]


def test_another_spec_at_the_same_place(tmp_path: Path) -> None:
    uri = str(tmp_path / "set")
    shards = write_set(uri, {"pre_logits": np.zeros((250, 4), np.float32)})
    code, output = run(
        "extract", "digits", "--extractor", "digits", "--to", uri, "--samples", "0-9"
    )
    assert code == 2
    assert "holds a set made from something else" in output
    assert 'generator.name: there "numbers", asked for "digits"' in output
    code, output = run("inspect", uri, "--verify")
    assert code == 0
    assert shards.digest in output


def test_a_bug_is_not_called_bad_input(tmp_path: Path) -> None:
    """Only errors about the request are one line; others keep their traceback."""
    code = (
        "from raymetrics import cli; import raymetrics.shards.reader as r; "
        "r.open_shards = lambda uri: 1 / 0; cli.main(['inspect', 'x'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
