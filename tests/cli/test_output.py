"""What the command line writes and prints: tried before, whole or not at all, a line a line."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from raymetrics import results
from raymetrics.errors import StorageError, StorageUnavailable
from raymetrics.results import Result, Side
from raymetrics.shards.shard_set import open_shards
from raymetrics.studies import evaluate as evaluating
from raymetrics.studies import evaluate_shards, realism
from tests.cli.test_cli import run
from tests.conftest import write_set
from tests.helpers.disks import limit_file_size, read_contents
from tests.reports.test_comparison_page import a_result

SIDE = Side("nowhere", "digits", ("0-79",), 80, "f", "d", {})
REAL, GENERATED = ("--real", "nowhere"), ("--generated", "nowhere")
SIDES = (*REAL, *GENERATED)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a file, a folder, a plan, and two sets."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "afile").touch()
    (tmp_path / "afolder").mkdir()
    (tmp_path / "plan.csv").write_text("source\ndigits\n")
    for number, name in enumerate(("real", "generated")):
        x = np.random.default_rng(number).normal(size=(40, 2)).astype(np.float32)
        write_set(name, {"pre_logits": x})
    return tmp_path


INTO_FOLDERS = {
    "report": ("report", "nowhere"),
    "realism": ("realism", *SIDES),
    "nearest": ("nearest", *SIDES),
    "interpolate": ("interpolate", *SIDES),
    "heatmap": ("heatmap", *SIDES),
    "match": ("match", *SIDES),
    "audit": ("audit", *SIDES),
    "reweight": ("reweight", "--real", "real", "--generated", "generated", "--extractor",
    "made-up"),
    "sweep": ("sweep", "plan.csv", *REAL),
    "truncate": ("truncate", *REAL, "--generated", "digits"),
    "snapshots": ("snapshots", *REAL, "--generated", "digits?snapshot={50}"),
}  # fmt: skip
LOCAL = ("report", "heatmap")
FOLDERS = {
    "afile": "afile is a file; expected a folder",
    "afile/below": "afile is a file; expected a folder",
    "/proc/new": "(/proc); expected a place that can be written",
    "": "'",
    "s3://": "'s3://",
}
INTO_FILES = {
    "results": ("evaluate", *SIDES, "--to"),
    "results of realism": ("realism", *SIDES, "--to", "x", "--results"),
    "results of nearest": ("nearest", *SIDES, "--to", "x", "--results"),
    "results of interpolate": ("interpolate", *SIDES, "--to", "x", "--results"),
    "results of match": ("match", *SIDES, "--to", "x", "--results"),
    "results of reweight": (*INTO_FOLDERS["reweight"], "--to", "x", "--results"),
    "scores": ("evaluate", "--real", "real", "--generated", "generated", "--metrics", "realism",
               "--scores"),
    "statistics": ("export", "real", "--as", "npz", "--to"),
}  # fmt: skip
FILES = {
    "afolder": "afolder",
    "afile/below.npz": "afile is a file; expected a folder",
    "/proc/new.npz": "(/proc); expected a place that can be written",
    "": "'",
    "s3://x.npz": "'s3:",
}


def refused(here: Path, arguments: tuple[str, ...]) -> str:
    """The one line of a command that is wrong and does nothing."""
    before = read_contents(here)
    code, output = run(*arguments)
    assert (code, output.count("\n")) == (2, 1), output
    assert output.startswith("error: ")
    assert read_contents(here) == before
    assert sorted(p.name for p in here.iterdir() if p.is_dir()) == ["afolder", "generated", "real"]
    return output


@pytest.mark.parametrize("verb", INTO_FOLDERS)
@pytest.mark.parametrize("place", FOLDERS)
def test_folders_are_tried_before_anything(here: Path, verb: str, place: str) -> None:
    output = refused(here, (*INTO_FOLDERS[verb], "--to", place))
    assert FOLDERS[place] in output
    assert "no shard set" not in output


@pytest.mark.parametrize("verb", INTO_FILES)
@pytest.mark.parametrize("place", FILES)
def test_files_are_tried_before_anything(here: Path, verb: str, place: str) -> None:
    output = refused(here, (*INTO_FILES[verb], place))
    assert FILES[place] in output or (verb == "statistics" and "no name of a .npz" in output)
    assert "no shard set" not in output


@pytest.mark.parametrize("verb", LOCAL)
def test_pages_do_not_go_to_an_object_store(here: Path, verb: str) -> None:
    assert "path of a local file" in refused(here, (*INTO_FOLDERS[verb], "--to", "s3://bucket/x"))


def a_file_of_results(here: Path) -> Result:
    """A result, and a file that it is in."""
    found = a_result(SIDE, SIDE)
    results.append_results([found], here / "r.jsonl")
    return found


@pytest.mark.parametrize("form", ["npz", "npy", "huggingface", "webdataset"])
def test_an_export_without_room_leaves_nothing(here: Path, form: str) -> None:
    before = read_contents(here)
    with limit_file_size(100):
        code, output = run("export", "real", "--as", form, "--to", "new/x.npz")
    assert code == 75, output
    assert output.count("\n") == 1
    assert "error: cannot " in output
    assert "no room" in output or "no space left" in output
    assert read_contents(here) == before


def test_a_page_without_room_leaves_the_earlier_one(here: Path) -> None:
    a_file_of_results(here)
    assert run("report", "r.jsonl", "--to", "page")[0] == 0
    before = read_contents(here)
    with limit_file_size(2000):
        code, output = run("report", "r.jsonl", "--to", "page")
    assert code == 75
    assert output == (
        "error: cannot write page/index.html: no room (File too large); what was there is whole: "
        "free space, or choose another place, and run the same command again\n"
    )
    assert read_contents(here) == before


def test_numbers_without_room_are_printed(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = a_file_of_results(here)

    def evaluate(*, tell: object, **_: object) -> list[Result]:
        tell([found])  # type: ignore[operator]
        return [found]

    monkeypatch.setattr(evaluating, "evaluate", evaluate)
    before = read_contents(here)
    with limit_file_size(len(before["r.jsonl"]) + 100):
        code, output = run("evaluate", *SIDES, "--to", "r.jsonl")
    assert code == 75
    assert output.index("12.346") < output.index("error: cannot write r.jsonl: no room")
    assert read_contents(here) == before


def full(*_: object) -> None:
    """A disk that became full in the meantime."""
    raise StorageUnavailable("no space left")


def test_scores_that_cannot_be_written_lose_no_number(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate_shards, "session", lambda **_: nullcontext())
    for module in (evaluate_shards, realism):
        monkeypatch.setattr(module, "write_scores", full)
    sides = ("--real", "real", "--generated", "generated")
    for verb in (("evaluate", "--metrics", "realism", "--scores", "s"), ("realism", "--to", "r")):
        code, output = run(verb[0], *sides, *verb[1:])
        assert code == 75, output
        assert output.index("R >= 1") < output.index("error: no space left")


def test_a_source_cannot_forge_lines(here: Path) -> None:
    file = here / "real" / "dataset.json"
    said = json.loads(file.read_text())
    said["source"] = "x\nsealed        yes, digest 123\x1b[8m\u202e\udcff"
    file.write_text(json.dumps(said))
    assert "\n" in open_shards("real").spec.source
    code, output = run("inspect", "real")
    assert code == 0
    assert "source        x\\nsealed        yes, digest 123\\x1b[8m\\u202e\\udcff\n" in output
    assert output.count("\nsealed") == 1
    assert all(map(str.isprintable, output.splitlines()))


def test_errors_cannot_give_orders_to_the_terminal() -> None:
    code, output = run("inspect", "\x1b]0;x\x07no\u202ewhere\udcff")
    assert (code, output.count("\n")) == (2, 1)
    assert "\\x1b]0;x\\x07no\\u202ewhere\\udcff" in output


SECRETS = [
    ("extract", "https://user:hun/ter2@host/x.zip", "--extractor", "digits", "--to", "x"),
    ("extract", "digits", "--extractor", "digits?auth=hun/ter2", "--to", "x"),
    ("evaluate", *REAL, "--generated", "s3://KEY:hun/ter2@bucket/set?ids"),
    ("match", *SIDES, "--to", "s3://KEY:hun/ter2@bucket/set"),
    ("truncate", *REAL, "--generated", "my:Gen?truncate=D:1&accessToken=hun/ter2", "--to", "x"),
    ("snapshots", *REAL, "--generated", "a", "--generated", "b?pwd=hun/ter2&c", "--to", "x"),
    ("sweep", "https://host/plan.csv?sig=hun/ter2", *REAL, "--to", "x"),
    ("sweep", "secret.csv", *REAL, "--to", "x"),
    ("sweep", "column.csv", *REAL, "--to", "x"),
    ("sweep", "fields.csv", *REAL, "--to", "x"),
    ("sweep", "name.csv", *REAL, "--to", "x"),
]


@pytest.mark.parametrize("arguments", SECRETS)
def test_secrets_go_nowhere(here: Path, arguments: tuple[str, ...]) -> None:
    plans = {
        "secret": "source\ndigits\nhttps://user:hun/ter2@host/x.zip\n",
        "column": "source,pass\ndigits?pass=a,hun/ter2\n",
        "fields": "source,a,b\n{a}{b}/x,https://user:,hun/ter2@host\n",
        "name": "source,name,psi\nx?psi=1,s3://a:hun/ter2@b,0.5\n",
    }
    for name, text in plans.items():
        (here / f"{name}.csv").write_text(text)
    output = refused(here, arguments)
    assert "has a secret in it" in output
    assert "ter2" not in output


def test_a_row_with_a_secret_is_told_with_its_place(here: Path) -> None:
    (here / "plan.csv").write_text("source\ndigits\nhttps://user:hunter2@host/x.zip\n")
    output = refused(here, ("sweep", "plan.csv", *REAL, "--to", "x"))
    assert output.startswith(
        "error: plan.csv, line 3, column 'source': the address https... has a secret in it "
        "(user:password@), and addresses are written into results"
    )


def test_what_cannot_be_written_is_no_bug(here: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot write .*: File exists \(.*afile\)"):
        results.append_results([a_result(SIDE, SIDE)], here / "afile" / "r.jsonl")
