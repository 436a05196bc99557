"""The command line: its help is true, and bad input is one line and exit code 2."""

from __future__ import annotations

import dataclasses
import inspect
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import raymetrics as rm
from raymetrics import results
from raymetrics.cli import main
from raymetrics.cli.console import format_duration
from raymetrics.extractors import PUBLISHED_NETWORKS as EXTRACTORS
from raymetrics.generators import BUILT_IN_SOURCES as SOURCES
from raymetrics.metrics import CONVENTIONS, conventions
from raymetrics.metrics.registry import DEFAULT_METRICS, METRICS
from raymetrics.studies.sweep import SweepOptions
from tests.conftest import write_set

pytestmark = pytest.mark.usefixtures("no_actors")


def run(*arguments: str) -> tuple[int, str]:
    """Exit code, and what was printed."""
    done = CliRunner().invoke(main, arguments)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def examples() -> list[list[str]]:
    """The commands that the help texts show, in the order of a user's work."""
    found = []
    for verb in ("extract", "inspect", "evaluate", "realism", "interpolate", "export", "report"):
        command = main.commands[verb]
        text = command.get_help(click.Context(command, info_name=verb))
        example = text[text.index("Example") :].replace("\\\n", " ")
        lines = re.findall(r"^\s+raymetrics (.*)$", example, flags=re.MULTILINE)
        assert lines, f"{verb} --help has no example"
        found += [shlex.split(line) for line in lines]
    return found


def test_the_examples_in_the_help_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fewer = {
        name: dataclasses.replace(protocol, generated=1000)
        for name, protocol in conventions.PROTOCOLS.items()
    }
    monkeypatch.setattr(conventions, "PROTOCOLS", fewer)
    printed = []
    for arguments in examples():
        code, output = run(*arguments)
        assert code == 0, output
        printed.append(output)
    assert Path("report/index.html").exists()
    # Of sources, of shards, by FID's protocol, and with a file of statistics.
    assert sum("FD digits" in output for output in printed) == 4
    assert pq.read_metadata("realism.parquet").num_rows == 1000


def test_help_names_what_there_is() -> None:
    _, text = run("extract", "--help")
    for name in (*SOURCES, *EXTRACTORS):
        assert name in text
    _, text = run("evaluate", "--help")
    words = set(re.findall(r"[\w-]+", text))
    assert words >= set(METRICS)
    assert f"[default: {','.join(DEFAULT_METRICS)}" in text
    named = re.search(r"--protocol NAME\s+([^.]*), \.\.\.", text)
    assert named
    assert set(re.findall(r"\w+", named[1])) <= conventions.PROTOCOLS.keys()
    named = re.search(r"--convention NAME\s+As ([^.]*), \.\.\.", text)
    assert named
    assert set(re.findall(r"[\w-]+", named[1])) <= CONVENTIONS.keys()
    assert run("--version")[1].startswith("raymetrics")


VERBS_OF_STUDIES = (
    "audit", "compare", "export", "heatmap", "interpolate", "match", "nearest", "realism",
    "reweight",
    "snapshots", "sweep", "truncate",
)  # fmt: skip
# Options that say how to print, or that several of them make one argument.
OF_THE_TERMINAL = {
    "actors", "batch", "below", "blend", "colors", "columns_of_grid", "ends", "fused",
    "generators", "gpu_memory", "gpus", "kid_subset_size", "ks", "local",
    "more_than", "results", "run_code", "save_images", "scales", "split", "steps", "logger",
}  # fmt: skip


@pytest.mark.parametrize("verb", VERBS_OF_STUDIES)
def test_the_options_of_a_verb_are_arguments_of_its_function(verb: str) -> None:
    """With the same defaults: the command line passes them on by their names."""
    function = inspect.signature(getattr(rm, verb)).parameters
    shared = set(SweepOptions.__annotations__) if "options" in function else set()
    for option in main.commands[verb].params:
        if not option.expose_value:  # a former option, which only says what replaces it
            continue
        assert option.name in {*function, *shared, *OF_THE_TERMINAL}, option.name
        if option.name in function and isinstance(option.default, str | int | float):
            default = function[option.name].default
            is_same = str(option.default) == str(default)  # a list of seeds is written as a text
            assert option.name == "amounts" or is_same, option.name


@pytest.fixture
def sides(tmp_path: Path, rng: np.random.Generator) -> tuple[str, ...]:
    """Options for two sets with labels."""
    for side, count in (("real", 130), ("generated", 110)):
        x = rng.integers(0, 4, size=(count, 5)).astype(np.float32)
        write_set(str(tmp_path / side), {"pre_logits": x}, labels=np.arange(count) % 2)
    return "--real", str(tmp_path / "real"), "--generated", str(tmp_path / "generated")


def test_evaluate(sides: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, text = run(
        "evaluate", *sides, "--metrics", "pr,dc,realism", "--k", "5, 3", "--convention", "prdc",
        "--scores", "realism.parquet", "--to", "results.jsonl",
    )  # fmt: skip
    assert code == 0, text
    column = "made_up_pre_logits"
    pair = {side: rm.open_shards(side).read(column) for side in ("real", "generated")}
    found = results.read_results("results.jsonl")
    for k, expected in rm.prdc(**pair, k=(3, 5), convention="prdc").items():
        values = {r.metric: r.value for r in found if r.convention["k"] == k}
        assert {name: values[name] for name in expected._fields} == expected._asdict()
    *table, warning = text.splitlines()
    assert len(found) == len(table) - 2 == 12
    assert "130 real against 110 generated samples" in warning
    assert text.count("program=prdc") == 12
    scores = pq.read_table("realism.parquet")
    np.testing.assert_array_equal(scores["sample_id"], np.arange(110))
    expected = rm.in_memory.realism(**pair, k=3, convention="prdc")
    np.testing.assert_array_equal(scores[f"realism_{column}"], expected)

    code, text = run("evaluate", *sides, "--column", column, "--metrics", "fid", "--by", "label")
    assert code == 0, text
    labels = re.findall(r"^FD made-up, label (\d) +(\S+)", text, flags=re.MULTILINE)
    distances = [
        rm.frechet_distance(real=pair["real"][i::2], generated=pair["generated"][i::2])
        for i in range(2)
    ]
    assert [(int(label), float(value)) for label, value in labels] == [
        (i, pytest.approx(distances[i], rel=1e-4)) for i in range(2)
    ]

    monkeypatch.setitem(
        conventions.PROTOCOLS,
        "pr10k5",
        dataclasses.replace(conventions.PROTOCOLS["pr10k5"], real=100, generated=90),
    )
    code, text = run("evaluate", *sides, "--protocol", "pr10k5")
    assert code == 0, text
    assert text.count("protocol=pr10k5") == 5
    first = rm.prdc(real=pair["real"][:100], generated=pair["generated"][:90], convention="prdc")[5]
    assert float(re.search(r"density made-up +(\S+)", text)[1]) == pytest.approx(
        first.density, rel=1e-4
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--protocol", "fid50k_full"), "takes 50000 generated samples, there are 110; extract"),
        (("--protocol", "fid1"), "no protocol 'fid1' (did you mean fid10k?); there are"),
        (("--protocol", "pr50k3", "--convention", "prdc"), "protocol pr50k3 says metrics, conv"),
        (("--convention", "x"), "no convention 'x'; there are raymetrics"),
        (("--k", "x"), "--k is 'x'; write numbers, e.g. 3 or 3,5"),
        (("--k", "3,"), "--k is '3,'"),
        (("--k", "0,3"), "k is (0, 3), expected at least 1"),
        (("--k", "110", "--metrics", "dc"), "takes at least 111 samples"),
        (("--seed", "-1"), "seed is -1, expected a number from 0"),
        (("--kid-subset-size", "1"), "kid_subset_size is 1"),
        (("--metrics", "fid,nothing"), "no metric 'nothing'"),
        (("--metrics", ""), "no metrics are asked for"),
        (("--metrics", "is"), "is takes a column of logits"),
        (("--metrics", "fid", "--column", "x"), "column 'x' is not in both sets"),
        (("--metrics", "fid", "--scores", "y"), "are those of --metrics realism"),
    ],
)  # fmt: skip
def test_what_cannot_be_evaluated_is_one_line_and_exit_code_2(
    sides: tuple[str, ...], arguments: tuple[str, ...], message: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Before Ray is started, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    there = sorted(tmp_path.rglob("*"))
    code, output = run("evaluate", *sides, *arguments, "--to", "results.jsonl")
    assert code == 2
    assert output.startswith("error: ")
    assert message in output
    assert output.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == there


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
        (("evaluate", "--real", "nowhere", "--generated", "nowhere"), "no source 'nowhere'"),
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
    assert [format_duration(s) for s in (0, 75, 3600 * 2 + 61)] == ["0:00", "1:15", "2:01:01"]


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
        "from raymetrics import cli; import raymetrics.shards.shard_set as r; "
        "r.open_shards = lambda uri: 1 / 0; cli.main(['inspect', 'x'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
