"""The README is true: its commands and its Python are run, on fewer samples."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import tarfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
import torch
from click.testing import CliRunner
from PIL import Image

from raymetrics.cli import main as cli
from raymetrics.demo import figures
from raymetrics.demo.__main__ import main as demo
from raymetrics.distributed.extraction.extract import extract
from raymetrics.extractors import PUBLISHED_NETWORKS as EXTRACTORS
from raymetrics.extractors import published_network
from raymetrics.extractors.options import Options
from raymetrics.extractors.resize import CONVENTIONS as RESIZES
from raymetrics.generators import BUILT_IN_SOURCES as SOURCES
from raymetrics.generators import open_source
from raymetrics.generators.latents import w_estimation
from raymetrics.generators.latents.truncated_generator import STRATEGY_BY_LETTER
from raymetrics.metrics import CONVENTIONS, PROTOCOLS
from raymetrics.metrics.registry import METRICS
from raymetrics.reports import report
from tests.generators.stylegan2.test_stylegan2 import nvidia_file, random_state

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
FEWER = {"0-9999": "0-99", '"0-1199"': '"0-1099"'}


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
    assert found
    return found


def run(command: list[str], folder: Path) -> str:
    """What a command prints, in a folder, where it must succeed."""
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        # The Ray that runs already, joined as a job joins its cluster: starting one takes long.
        "RAY_ADDRESS": ray.get_runtime_context().gcs_address,
    }
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def commands(block: int) -> list[str]:
    """The lines of a session at a terminal."""
    return [line.removeprefix("$ ") for line in blocks("console")[block].splitlines()]


def fewer(text: str) -> str:
    """The same with fewer samples."""
    for many, few in FEWER.items():
        text = text.replace(many, few)
    return text


pytestmark = pytest.mark.usefixtures("no_actors")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: their generator, and photographs of two sizes."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "my_generator.py").write_text(blocks("python")[0])
    (folder / "photos").mkdir()
    rng = np.random.default_rng(0)
    for i in range(40):
        pixels = rng.integers(0, 256, (40 + i, 50, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{i}.jpg")
    return folder


def test_the_commands(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = commands(0)
    assert len(lines) == 5
    # The first as a user's shell would; the others in this process, which is faster.
    monkeypatch.chdir(folder)
    printed = [run(shlex.split(fewer(lines[0])), folder)]
    for line in lines[1:]:
        done = CliRunner().invoke(cli, shlex.split(fewer(line))[1:])
        assert done.exit_code == 0, done.output
        printed.append(done.output)
    assert "100 samples in all" in printed[0]
    assert "40 samples in all" in printed[1]
    assert "sealed        yes" in printed[2]
    assert "FD efficientnet-lite0" in printed[3]
    assert (folder / "report" / "index.html").exists()
    for line in commands(2):
        done = CliRunner().invoke(cli, shlex.split(line)[1:])
        assert done.exit_code == 0, done.output
        printed.append(done.output)
    assert len(commands(2)) == 3
    value = re.compile(r"FD efficientnet-lite0 +(\S+)")
    assert value.findall(printed[-2]) == value.findall(printed[3])


def test_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the download: a file with no published digest is known by its name."""
    monkeypatch.setenv("RAYMETRICS_WEIGHTS", str(tmp_path / "weights"))
    (tmp_path / "Downloads").mkdir()
    (tmp_path / "Downloads" / "inception-2015-12-05.pt").write_bytes(b"made up")
    listed, fetch, imported, verified = commands(1)
    assert fetch == "raymetrics weights fetch inception"
    printed = []
    for line in (listed, imported, verified):
        words = shlex.split(line.replace("~", str(tmp_path)))[1:]
        done = CliRunner().invoke(cli, words)
        assert done.exit_code == 0, done.output
        printed.append(done.output)
    assert "pt_inception-2015-12-05-6726825d.pth" in printed[0]
    assert "no digest was published" in printed[1]
    assert "inception-2015-12-05.pt  unknown" in printed[2]


def first_cells(header: str) -> list[str]:
    """What stands in code in the first column of the table that begins with this column."""
    table = README[README.index(f"| {header} |") :].split("\n\n")[0].splitlines()[2:]
    return [text for row in table for text in re.findall("`(.*?)`", row.split("|")[1])]


@pytest.fixture
def at_the_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the user's folder, beside the files that the table of sources names."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    files = sorted((folder / "photos").iterdir())[:6]
    with zipfile.ZipFile("photos.zip", "w") as archive:
        for file in files:
            archive.write(file, file.name)
    for i in range(2):
        with tarfile.open(f"photos-00{i}.tar", "w") as archive:
            for k, file in enumerate(files[3 * i : 3 * i + 3]):
                image = Image.open(file).resize((40, 40))
                content = io.BytesIO()
                image.save(content, "PNG")
                member = tarfile.TarInfo(f"{3 * i + k}.png")
                member.size = content.tell()
                content.seek(0)
                archive.addfile(member, content)
    pixels = np.zeros((6, 40, 40, 3), np.uint8)
    images = []
    for image in pixels:
        content = io.BytesIO()
        Image.fromarray(image).save(content, "PNG")
        images.append({"bytes": content.getvalue(), "path": None})
    pq.write_table(pa.table({"image": images}), "photos.parquet")
    np.savez("batch.npz", pixels)
    nvidia_file(Path("network.pkl"), random_state("skip"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Projection()).save("network.ts")


class Projection(torch.nn.Module):
    """A generator of noise: z to images."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return z[:, :192].reshape(-1, 3, 8, 8).tanh()


@pytest.mark.usefixtures("at_the_files")
def test_every_source_of_the_table_opens() -> None:
    sources = first_cells("source")
    assert len(sources) == 13
    for source in sources:
        if source.startswith(
            "diffusers:"
        ):  # which tests/generators/test_diffusers_pipeline.py opens
            continue
        generator = open_source(source, torch.device("cpu"))
        images = generator(np.arange(2))
        assert (images.dtype, images.shape[:2]) == (np.uint8, (2, 3)), source


def test_every_extractor_of_the_table_is_one() -> None:
    """With its options, outputs, pixels and convention; and all that there are have a row."""
    rows = README[README.index("| extractor |") :].split("\n\n")[0].splitlines()[2:]
    seen = set()
    for row in rows:
        _, names, outputs, pixels, _ = row.split("|")
        asked = [Options.parse(text) for text in re.findall("`(.*?)`", names)]
        ours = [options for options in asked if options.network in EXTRACTORS]
        if not ours:
            assert names.startswith((" `network.pt?", " `my_networks:"))
        stated = dict(re.findall(r"`(\w+)` (\d+)", outputs))
        for options in ours:
            found = published_network(options.network)
            seen.add(found.name)
            convention = options.choice("resize", RESIZES, found.resize)
            assert stated.keys() <= found.outputs.keys()
            if not options.untrained:
                assert str(found.size) in pixels
                assert f"`{convention}`" in pixels
            if len(ours) == 1:
                assert all(found.outputs[name] == int(size) for name, size in stated.items())
    assert seen == set(EXTRACTORS)


def test_the_python(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, example = blocks("python")
    monkeypatch.chdir(folder)
    exec(fewer(example), {"__name__": "__main__"})
    printed = capsys.readouterr().out.splitlines()
    label, value = re.match(r"(.*) (\d+\.\d+) \{'ddof': 1", printed[0]).groups()
    assert label == "FD digits"
    assert float(printed[1]) == pytest.approx(float(value), rel=1e-9)
    assert printed[2].startswith("PrecisionRecall(precision=0.")


def print_demo(folder: Path) -> str:
    """What `make demo` prints, on fewer samples."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        demo([str(folder)], samples="0-1099", extractors=["digits"])
    return printed.getvalue()


@pytest.fixture(scope="module")
def demo_output(tmp_path_factory: pytest.TempPathFactory, no_actors: None) -> tuple[Path, str]:
    """The folder of the demo, and what it printed."""
    folder = tmp_path_factory.mktemp("demo") / "demo-output"
    return folder, print_demo(folder)


def test_the_demo_on_fewer_samples(demo_output: tuple[Path, str]) -> None:
    """As `make demo` runs it; the second time nothing is made, and the numbers are the same."""
    folder, first = demo_output
    second = print_demo(folder)
    for text in (first, second):
        assert f"page    {folder}/index.html" in text
        assert "FD digits" in text
    assert "3 shards made, 0 were there" in first
    assert second.count("0 shards made, 3 were there") == 2
    assert "evaluating" not in second
    tables = [text[text.index("metric ") : text.index("page ")] for text in (first, second)]
    assert tables[0] == tables[1]


def test_every_number(demo_output: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """All metrics, a convention, labels, a column; and a protocol that takes more samples."""
    monkeypatch.chdir(demo_output[0].parent)
    lines = [*commands(3), next(x for x in README.splitlines() if "--protocol fid50k" in x)[2:]]
    done = [CliRunner().invoke(cli, shlex.split(line)[1:]) for line in lines]
    assert [run.exit_code for run in done] == [0, 0, 0, 0, 2], [run.output for run in done]
    printed = [run.output for run in done]
    for metric in METRICS.values():
        if metric.requires_space is None:
            assert f",{metric.name}" in lines[0].replace(" ", ",")
    for label in ("FD-infinity digits", "FD at 110 digits", "Vendi digits", "PRD F_1/8 digits"):
        assert label in printed[0]
    assert pq.read_table("realism.parquet").num_rows == 1100
    assert "k=5, self=excluded, ball=open (<)" in printed[1]
    assert "FD digits, label 9" in printed[2]
    assert "FD digits logits" in printed[3]
    text = "fid50k_full takes 50000 generated samples, there are"
    assert f"{text} 1100" in printed[4]
    assert f"{text} 2000" in README


def test_the_attacks(demo_output: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Matching, weights and a selection, on fewer samples and in the space of the digits."""
    monkeypatch.chdir(demo_output[0].parent)
    fewer = {"--n 1000": "--n 300", "--max-draws 10000": "--max-draws 350"}
    fewer |= {"efficientnet_lite0": "digits", "efficientnet-lite0": "digits"}
    printed = []
    for line in commands(4):
        for many, few in fewer.items():
            line = line.replace(many, few)
        done = CliRunner().invoke(cli, shlex.split(line)[1:])
        assert done.exit_code == 0, done.output
        printed.append(done.output)
    matched, reweighted, evaluated = printed
    assert re.search(r"accepted.parquet: \d+ of 300 accepted in \d+ draws", matched)
    assert "FD digits  " in matched
    assert re.search(r"FD digits +matched in this space.*\u2212\d\d %", reweighted)
    assert "there is no second opinion" in reweighted
    assert re.search(r"FD digits +\d", evaluated)
    for folder in ("matched", "weights"):
        assert Path("attack", folder, "index.html").exists()


def test_the_tradeoffs(
    demo_output: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Truncation, snapshots, realism and paths, in fewer sets of fewer samples."""
    monkeypatch.chdir(demo_output[0].parent)
    monkeypatch.setenv("RAYMETRICS_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(w_estimation, "DRAWS", 500)
    fewer = {
        "--strategies all --psi 0,0.2,0.4,0.6,0.8,1": "--strategies C,E --psi 0.5,1",
        "{50,100,200,400,800,1600,3200,5000}": "{50,800,5000}",
        "--paths 500": "--paths 20",
    }
    printed = []
    for line in commands(6):
        for many, few in fewer.items():
            line = line.replace(many, few)
        done = CliRunner().invoke(cli, shlex.split(line)[1:])
        assert done.exit_code == 0, done.output
        printed.append(done.output)
    truncated, run, ranked, paths = printed
    assert re.search(r"truncate=C:0.5 +\d", truncated)
    assert re.search(r"snapshot=5000 +\d", run)
    assert "the precision with pruned balls" in ranked
    assert "straying paths digits" in paths
    pages = ["paths", "ranked", "run", "truncation"]
    assert all(Path(folder, "index.html").exists() for folder in pages)
    leading = report("truncation/results.jsonl", to=".").read_text()
    links = re.findall(r'<a href="(.*?)/index.html">', leading)
    assert set(pages) <= set(links)


def test_a_sweep(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan of the text, on fewer samples; its last row fails, as is said."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(w_estimation, "DRAWS", 500)
    (plan,) = [text for text in blocks("text") if text.startswith("name,source,")]
    (folder / "plan.csv").write_text(plan.replace("10000-10599", "10000-10099"))
    (line,) = commands(7)
    line = line.replace("0-599", "0-99")
    done = CliRunner().invoke(cli, shlex.split(line)[1:])
    assert done.exit_code == 3, done.output
    table = next(text for text in blocks("text") if "steps at psi 0.4   800" in text)
    names = [row.partition("  ")[0] for row in table.splitlines()[1:8]]
    assert [name for name in names if f"\n{name}" in done.output] == names
    assert table.splitlines()[-1] in done.output
    assert (folder / "sweep" / "index.html").exists()


def test_a_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is told without starting anything; nothing is written."""
    monkeypatch.chdir(tmp_path)
    (line,) = commands(12)
    done = CliRunner().invoke(cli, shlex.split(line.replace("0-999999", "0-2047"))[1:])
    assert done.exit_code == 0, done.output
    told = next(text for text in blocks("text") if text.startswith("digits -> "))
    words = [row.split()[0] for row in told.splitlines()]
    assert [row.split()[0] for row in done.output.splitlines()] == words
    assert "1 shards, 2048 samples; 0 shards, 0 samples are there" in done.output
    assert not list(tmp_path.iterdir())


def test_every_strategy_has_a_row() -> None:
    assert first_cells("`truncate=`") == list(STRATEGY_BY_LETTER.values())


def test_the_heatmaps(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a few photographs and of faces, at one scale of noise."""
    monkeypatch.chdir(folder)
    for source, name in (("photos?size=64", "real"), ("faces", "generated")):
        extract(source, ["efficientnet-lite0"], f"demo-output/{name}", "0-19")
    (line,) = commands(5)
    line = line.replace("0-15", "0-3").replace("0.02,0.05,0.1", "0.1")
    done = CliRunner().invoke(cli, shlex.split(line)[1:])
    assert done.exit_code == 0, done.output
    assert "means   of 20 samples" in done.output
    for name in ("index.html", "heatmaps.npz", "maps.npz", "means.npz"):
        assert Path("heat", name).exists()


def test_the_commands_of_the_figures_are_ones() -> None:
    """They run for most of an hour; the verbs themselves are run by the tests above."""
    for command in figures.COMMANDS:
        verb, *words = figures.command_words(command, "some where")
        cli.commands[verb].make_context(verb, [*words])  # which it takes apart
        assert words[:2] == ["--real", "some where/real"]
        assert words[words.index("--to") + 1].startswith("some where/")
        if "generated" in command.replace("--generated", ""):
            assert "some where/generated" in words


def test_conventions_and_protocols_are_in_the_readme() -> None:
    for name in (*CONVENTIONS, *PROTOCOLS, *METRICS):
        assert f"`{name}`" in README


def test_nothing_is_left_to_fill_in() -> None:
    assert not re.findall(r"@[A-Z]+@", README)


def test_make_runs_what_the_readme_says() -> None:
    dry = subprocess.run(
        ["make", "-n", "demo", "test"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for command in ("-m raymetrics.demo", "ruff check", "mypy", "-m pytest"):
        assert command in dry
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_sources_and_extractors_are_in_the_tables() -> None:
    for name in (*SOURCES, *EXTRACTORS):
        assert f"`{name}`" in README
    for target in re.findall(r"make (\w+)`", README):
        assert f"\n{target}:" in (ROOT / "Makefile").read_text()
