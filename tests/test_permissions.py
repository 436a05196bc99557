"""Files from elsewhere do nothing but be read: what they name is run only if it is allowed."""

from __future__ import annotations

import json
import logging
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from raymetrics import results
from raymetrics.cli import main
from raymetrics.distributed.extraction.extract import extract
from raymetrics.errors import ProgramRefused
from raymetrics.generators import permission_for
from raymetrics.option_strings import format_options
from raymetrics.permissions import (
    CALLABLE,
    WRAPPER_SOURCES,
    Permission,
    address_danger,
    extractor_danger,
    source_danger,
)
from raymetrics.shards.layout import DATASET
from raymetrics.studies.evaluate import evaluate
from raymetrics.studies.match.draw import draw_matched
from tests.conftest import write_set

DATA = [
    "digits",
    "digits?snapshot=400",
    "mnist",
    "faces",
    "/data/photos?size=256",
    "/data/a.zip",
    "/data/a-{000..009}.tar",
    "/data/network.pkl?psi=0.7",
    "file:///data/a.zip",
    "digits?truncate=clamp:0.7",
    "/data/batch.npz",
    f"{WRAPPER_SOURCES[0]}?of=digits&ends=/a/ends.parquet",
    "raymetrics.generators.latents.paths:Paths?of=digits&ends=/a/ends.parquet",
    "raymetrics.heatmaps.noise:Noisy?of=digits&maps=/a/maps.npz&where=everywhere&scale=0.1",
]
PROGRAMS = [
    "subprocess:Popen?args=id&shell=1",
    "my_generator:generate",
    "diffusers:google/ddpm",
    "diffusers:/models/ddpm",
    "/data/network.ts?z=64",
    "network.pt",
    "network.jit",
    "network.pt2",
    "subprocess:Popen?truncate=D:0.5",
    f"{WRAPPER_SOURCES[1]}?of=subprocess%3APopen%3Fargs%3Did&maps=/a",
    f"{WRAPPER_SOURCES[0]}?of={quote(f'{WRAPPER_SOURCES[1]}?of=os%3Asystem', safe='')}&ends=/a",
    "raymetrics.generators.latents.paths:Paths?of=os:system&ends=/a",
    "raymetrics.heatmaps.noise:Noisy?of=os:system&maps=/a",
    "raymetrics.demo.train:main",
]
ELSEWHERE = [
    "s3://bucket/photos.zip", "http://127.0.0.1:8765/a/", "https://host/network.pkl",
    "zip::http://host/a.zip", "file:///a.zip::http://host/a", "/data/photos?labels=http://host/x",
    f"{WRAPPER_SOURCES[0]}?of=digits&ends=http://host/ends.parquet", "HTTP://host/a.zip",
]  # fmt: skip


@pytest.mark.parametrize("source", DATA)
def test_data_on_this_machine_are_opened_as_they_are_named(source: str) -> None:
    Permission().require_source(source, "results.jsonl")


@pytest.mark.parametrize("source", [*PROGRAMS, *ELSEWHERE])
def test_programs_and_other_machines_take_permission(source: str) -> None:
    with pytest.raises(ProgramRefused, match=r"results.jsonl names .*, which .* --run-code"):
        Permission().require_source(source, "results.jsonl")
    Permission(run_code=True).require_source(source, "results.jsonl")
    permission_for(False, source).require_source(source, "results.jsonl")


def test_what_the_user_wrote_is_allowed_inside_of_our_own_wrappers_too() -> None:
    permission = permission_for(False, "my_generator:generate")
    permission.require_source(f"{WRAPPER_SOURCES[0]}?of=my_generator:generate&ends=/a", "shards")
    with pytest.raises(ProgramRefused):
        permission.require_source(f"{WRAPPER_SOURCES[0]}?of=my_generator:other&ends=/a", "shards")


def test_wrappers_deep_inside_of_one_another() -> None:
    source = "evil:f"
    for _ in range(12):
        source = format_options(WRAPPER_SOURCES[0], {"of": source, "ends": "/a"})
    assert source_danger(source) == "runs Python code"


@pytest.mark.parametrize(
    ("extractor", "refused"),
    [("inception?resize=clean", False), ("untrained-inception?seed=1", False),
     ("inception?weights=/data/w.pt", False), ("my_networks:Embedding", True),
     ("/data/network.pt", True), ("network.pt2?size=64", True), ("README.md", True),
     ("inception?weights=https://host/w.pt", True)],
)  # fmt: skip
def test_extractors(extractor: str, refused: bool) -> None:
    assert (extractor_danger(extractor) is not None) == refused


@given(st.text(), st.sampled_from(["http", "s3", "gs", "ftp", "github", "memory"]))
def test_no_address_of_another_machine_passes(text: str, scheme: str) -> None:
    assert address_danger(f"{scheme}://{text}") is not None
    assert address_danger(f"{text}::{scheme}://{text}") is not None


@given(st.from_regex(CALLABLE, fullmatch=True))
def test_no_callable_passes(text: str) -> None:
    assert source_danger(text) is not None
    assert source_danger(f"{text}?a=1") is not None
    assert extractor_danger(f"{text}?a=1") is not None


# What files can do through the verbs. The program that they name writes a file when it is imported.


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Tells whether the module `evil`, which lies in the working directory, was imported."""
    mark = tmp_path / "ran"
    (tmp_path / "evil.py").write_text(
        f"open({str(mark)!r}, 'w').close()\n"
        "import numpy as np\n"
        "def images(ids):\n"
        "    return np.zeros((len(ids), 3, 28, 28), np.uint8)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "evil", raising=False)
    return mark.exists


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory, no_actors: None) -> Path:
    """The folder of two sets of digits' features, whose samples can be made again."""
    folder = tmp_path_factory.mktemp("extracted")
    for side, source in (("real", "mnist"), ("generated", "digits")):
        extract(source, ["digits"], str(folder / side), "0-39", shard_rows=40)
    return folder


@pytest.fixture
def sets(extracted: Path, tmp_path: Path) -> Path:
    """A copy of these, for a test to write into."""
    folder = tmp_path / "sets"
    shutil.copytree(extracted, folder)
    return folder


def reword(folder: Path, **changes: object) -> None:
    """Writes other words into a set's dataset.json, as somebody else could."""
    file = folder / DATASET
    value = json.loads(file.read_bytes())
    file.write_text(json.dumps({**value, **changes}))


def run(*words: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
    return done.exit_code, done.output


pytestmark = pytest.mark.usefixtures("no_actors")


@pytest.mark.parametrize("verb", ["realism", "nearest", "heatmap", "match", "paths", "sweep"])
def test_a_set_that_names_a_program(
    sets: Path, tmp_path: Path, ran: Callable[[], bool], verb: str, caplog: pytest.LogCaptureFixture
) -> None:
    side = "real" if verb == "sweep" else "generated"
    changes = {"asked": ["evil:images"]} if verb in ("sweep", "heatmap") else {}
    reword(sets / side, **(changes or {"source": "evil:images"}))
    words = {
        "realism": ("--generated", sets / "generated", "--column", "digits_pre_logits"),
        "nearest": ("--generated", sets / "generated", "--neighbors", "5"),
        "heatmap": ("--generated", sets / "generated", "--samples", "0-1"),
        "match": ("--generated", sets / "generated", "--n", "5"),
        "paths": ("--generated", sets / "generated", "--column", "digits_pre_logits", "--ends", "0",
                  "--paths", "2"),
        "sweep": ("digits.csv",),
    }[verb]  # fmt: skip
    (tmp_path / "digits.csv").write_text("source,samples\ndigits,0-39\n")
    with caplog.at_level(logging.WARNING):
        code, output = run(verb, *words, "--real", sets / "real", "--to", tmp_path / "to")
    assert "evil:images, which runs Python code" in output + caplog.text
    assert code == (0 if verb in ("realism", "nearest") else 2)  # numbers take no images
    assert not ran()


def test_a_plan_that_names_a_program(sets: Path, tmp_path: Path, ran: Callable[[], bool]) -> None:
    plan = tmp_path / "plan.csv"
    plan.write_text("source,samples\ndigits,0-39\nevil:images,0-39\n")
    words = ("sweep", plan, "--real", sets / "real", "--to", tmp_path / "to", "--metrics", "fid")
    code, output = run(*words)
    assert code == 2
    assert "plan.csv, line 3 names evil:images, which runs Python code" in output
    assert not ran()
    assert not (tmp_path / "to").exists()
    code, output = run(*words, "--run-code")
    assert (code, ran()) == (0, True), output


@pytest.fixture
def numbers(sets: Path, tmp_path: Path) -> Path:
    """A file of results of both sets."""
    found = evaluate(real=str(sets / "real"), generated=str(sets / "generated"), metrics=["fid"])
    results.append_results(found, tmp_path / "results.jsonl")
    return tmp_path / "results.jsonl"


def rewrite(file: Path, **changes: object) -> None:
    """Puts other words into the generated side of every result."""
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines:
        line["generated"] |= changes
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize("flags", [(), ("--run-code",)])
def test_results_that_name_another_source_than_the_set(
    numbers: Path, tmp_path: Path, ran: Callable[[], bool], flags: tuple[str, ...]
) -> None:
    """Even with permission only what the set itself says is opened."""
    rewrite(numbers, source="evil:images")
    code, _ = run("report", numbers, "--to", tmp_path / "page", *flags)
    page = (tmp_path / "page" / "index.html").read_text()
    assert code == 0
    assert "is no longer the set that was measured" in page
    assert not ran()


def test_results_and_a_set_that_name_a_program(
    numbers: Path, sets: Path, tmp_path: Path, ran: Callable[[], bool],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    rewrite(numbers, source="evil:images")
    reword(sets / "generated", source="evil:images")
    words = ("report", numbers, "--to", tmp_path / "page")
    with caplog.at_level(logging.WARNING):
        code, _ = run(*words)
    assert (code, ran()) == (0, False)
    assert caplog.text.count("samples are not shown: the file of results names evil:images") == 1
    run(*words, "--run-code")
    assert ran()


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """An address on this machine by HTTP, and what was asked of it."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}", asked
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.mark.parametrize("name", ["uri", "source", "selection"])
def test_results_that_name_an_address_fetch_nothing(
    numbers: Path, sets: Path, tmp_path: Path, server: tuple[str, list[str]], name: str
) -> None:
    address, asked = server
    word = f"{address}/a.zip"
    if name == "selection":
        rewrite(numbers, selection={"file": f"{address}/ids.parquet", "digest": "0"}, samples=[])
    else:
        rewrite(numbers, **{name: word})
    if name == "source":
        reword(sets / "generated", source=word)
    code, _ = run("report", numbers, "--to", tmp_path / "page")
    page = (tmp_path / "page" / "index.html").read_text()
    assert code == 0
    assert "which is on another machine" in page
    assert asked == []


def test_a_set_of_ones_own_goes_on_with_permission(
    sets: Path, tmp_path: Path, ran: Callable[[], bool]
) -> None:
    shutil.rmtree(sets / "generated")
    extract("evil:images", ["digits"], str(sets / "generated"), "0-39", shard_rows=40)
    request = {"real": str(sets / "real"), "to": str(tmp_path / "to"), "n": 5, "max_draws": 40}
    with pytest.raises(ProgramRefused, match="generated names evil:images"):
        draw_matched(**request, generated=str(sets / "generated"))  # type: ignore[arg-type]
    draw_matched(**request, generated=str(sets / "generated"), run_code=True)  # type: ignore[arg-type]
    draw_matched(**request, generated="evil:images")  # type: ignore[arg-type]  # which the user writes


def test_numbers_need_no_permission(tmp_path: Path, rng: np.random.Generator) -> None:
    for side in ("real", "generated"):
        write_set(str(tmp_path / side), {"pre_logits": rng.normal(size=(60, 4)).astype(np.float32)})
        reword(tmp_path / side, source="evil:images", asked=["evil:images"])
    code, output = run(
        "evaluate", "--real", tmp_path / "real", "--generated", tmp_path / "generated",
        "--metrics", "fid",
    )  # fmt: skip
    assert code == 0, output
