"""README and docs are true: their commands and their Python are run, on fewer samples.

Blocks are taken by name from the page where they stand, see `tests.docs.blocks`.
"""

from __future__ import annotations

import contextlib
import contextvars
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
import torch
from click.testing import CliRunner
from PIL import Image

from raymetrics.cli import main as cli
from raymetrics.demo.__main__ import main as demo
from raymetrics.distributed.extraction.extract import extract
from raymetrics.extractors import CLIP_SCORES, inception, published_network
from raymetrics.extractors import PUBLISHED_NETWORKS as EXTRACTORS
from raymetrics.extractors.options import Options
from raymetrics.extractors.random_weights import draw_random_weights
from raymetrics.extractors.resize import CONVENTIONS as RESIZES
from raymetrics.generators import BUILT_IN_SOURCES as SOURCES
from raymetrics.generators import open_source
from raymetrics.generators.latents import w_estimation
from raymetrics.generators.latents.strategies import STRATEGY_BY_LETTER
from raymetrics.metrics import CONVENTIONS, PROTOCOLS, PUBLISHED_NORMS
from raymetrics.metrics.registry import METRICS
from raymetrics.reports.comparison_page import report
from tests.docs.blocks import ROOT, block, command, commands, first_cells, table, text_of
from tests.docs.tables import TABLES, renewed
from tests.generators.stylegan1 import test_stylegan1
from tests.generators.stylegan2.test_stylegan2 import nvidia_file, random_state
from tests.helpers.tfrecord_files import nvidia_example, write_records

FEWER = {"0-9999": "0-99", '"0-1199"': '"0-1099"'}
TUTORIAL = "docs/tutorials/first-fid.md"
OWN_GENERATOR = "docs/guides/own-generator.md"
SOURCES_PAGE = "docs/guides/sources.md"
EXTRACTORS_PAGE = "docs/guides/extractors-and-weights.md"
METRICS_PAGE = "docs/guides/metrics.md"
CONVENTIONS_PAGE = "docs/guides/conventions-and-protocols.md"
TRUNCATION = "docs/guides/truncation-and-snapshots.md"
REALISM = "docs/guides/realism-and-interpolation.md"
MEMORIZATION = "docs/guides/memorization.md"
SWEEPS = "docs/guides/sweeps.md"
REPRODUCE = "docs/guides/reproduce.md"
CLUSTERS = "docs/guides/clusters.md"


def run(command: list[str], folder: Path) -> str:
    """What a command prints, in a folder, where it must succeed."""
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    if ray.is_initialized():  # joined as a job joins its cluster: starting one takes long
        environment["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def invoke(line: str) -> str:
    """What a command prints, in this process, where it must succeed."""
    done = CliRunner().invoke(cli, shlex.split(line)[1:])
    assert done.exit_code == 0, f"{line}\n{done.output}"
    return done.output


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
    (folder / "my_generator.py").write_text(block(OWN_GENERATOR, "my-generator"))
    (folder / "photos").mkdir()
    rng = np.random.default_rng(0)
    for i in range(40):
        pixels = rng.integers(0, 256, (40 + i, 50, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{i}.jpg")
    return folder


def test_first_fid(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tutorial, and the exports of its shards; with weights that are here."""
    lines = [
        line.replace("--extractor inception", "--extractor efficientnet-lite0")
        for line in commands(TUTORIAL, "first-fid")
    ]
    # The first as a user's shell would, without Ray; the others in this process. That is faster.
    monkeypatch.chdir(folder)
    printed = [run([*shlex.split(fewer(lines[0])), "--local"], folder)]
    printed += [invoke(fewer(line)) for line in lines[1:]]
    made, read, inspected, evaluated, _ = printed
    assert "100 samples in all" in made
    assert "40 samples in all" in read
    assert "sealed        yes" in inspected
    assert "FD efficientnet-lite0" in evaluated
    assert (folder / "report" / "index.html").exists()
    exports = [invoke(line) for line in commands("docs/guides/other-programs.md", "export")]
    value = re.compile(r"FD efficientnet-lite0 +(\S+)")
    assert value.findall("".join(exports)) == value.findall(evaluated)


def test_generator_of_the_tutorial_is_that_of_the_guide() -> None:
    assert block(TUTORIAL, "my-generator") == block(OWN_GENERATOR, "my-generator")


@pytest.mark.usefixtures("at_the_files")
def test_fid_in_one_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the README has it, with random weights in a published layout: so it is no FID."""
    monkeypatch.setenv("RAYMETRICS_WEIGHTS", str(tmp_path))
    torch.save(
        draw_random_weights(inception.build_empty_inception(), 0),
        tmp_path / "inception_v3-tf-2015-12-05.pkl",
    )
    few = {"0-49999": "0-11", "fid,kid,pr": "fid,pr", "photos": "few", "--page report": "--page p"}
    Path("few").mkdir()
    for file in sorted(Path("photos").iterdir())[:12]:
        shutil.copy(file, "few")
    line = command("README.md", "fid")
    for many, fewer_of_them in few.items():
        line = line.replace(many, fewer_of_them)
    printed = invoke(line)
    assert re.search(r"^FD inception +\d", printed, flags=re.MULTILINE)
    assert re.search(r"^recall inception +\d", printed, flags=re.MULTILINE)
    assert Path("p/index.html").exists()


def test_the_training_loop(capsys: pytest.CaptureFixture[str]) -> None:
    exec(block("README.md", "training-loop").replace("1000", "200"), {})
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("0 {'frechet_distance': ")
    assert first[2:] == second[2:]  # the images of both steps are the same


def test_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the download: a file with no published digest is known by its name."""
    monkeypatch.setenv("RAYMETRICS_WEIGHTS", str(tmp_path / "weights"))
    (tmp_path / "Downloads").mkdir()
    (tmp_path / "Downloads" / "inception-2015-12-05.pt").write_bytes(b"made up")
    listed, fetch, imported, verified = commands(EXTRACTORS_PAGE, "weights")
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
    write_records(Path("photos.tfrecords"), map(nvidia_example, pixels))
    nvidia_file(Path("network.pkl"), random_state("skip"))
    state = test_stylegan1.random_state(channels=(5, 4, 3, 2))
    test_stylegan1.nvidia_file(Path("stylegan.pkl"), state)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Projection()).save("network.ts")


class Projection(torch.nn.Module):
    """A generator of noise: z to images."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        small = z[:, :192].reshape(-1, 3, 8, 8).tanh()
        return small.repeat_interleave(8, 2).repeat_interleave(8, 3)


@pytest.mark.usefixtures("at_the_files")
def test_every_source_of_the_table_opens() -> None:
    sources = first_cells(SOURCES_PAGE, "source")
    assert set(SOURCES) <= set(sources)
    for source in sources:
        # Which test_diffusers_pipeline.py and test_paper_generators.py open.
        if source.startswith(("diffusers:", "ffhq.pkl", "biggan")):
            continue
        generator = open_source(source, torch.device("cpu"))
        images = generator(np.arange(2))
        assert (images.dtype, images.shape[:2]) == (np.uint8, (2, 3)), source


@pytest.mark.usefixtures("at_the_files")
def test_stylegan_and_tfrecords() -> None:
    """The commands of both, with another extractor and on fewer samples."""
    Path("ffhq").mkdir()
    for level in (5, 8):
        images = np.zeros((3, 2**level, 2**level, 3), np.uint8)
        write_records(Path(f"ffhq/ffhq-r{level:02d}.tfrecords"), map(nvidia_example, images))
    for name, extractor in (("stylegan", "vgg16"), ("tfrecords", "inception")):
        line = command(SOURCES_PAGE, name).replace(f"--extractor {extractor}", "--extractor digits")
        invoke(f"{line.replace('0-49999', '0-2')} --local")


def test_every_extractor_of_the_table_is_one() -> None:
    """With its options, outputs, pixels and convention; and all that there are have a row."""
    seen = set()
    for names, outputs, pixels in table(EXTRACTORS_PAGE, "extractor"):
        asked = [Options.parse(text) for text in re.findall("`(.*?)`", names)]
        ours = [options for options in asked if options.network in EXTRACTORS]
        if not ours:
            own = (" `network.pt?", " `my_networks:", " `score:my_scores:")
            assert names.startswith((*own, " `clipscore-"))
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
    monkeypatch.chdir(folder)
    exec(fewer(block("docs/reference/python.md", "python")), {"__name__": "__main__"})
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
    lines = [*commands(METRICS_PAGE, "every-number"), command(CONVENTIONS_PAGE, "protocol")]
    done = [CliRunner().invoke(cli, shlex.split(line)[1:]) for line in lines]
    assert [run.exit_code for run in done] == [0, 0, 0, 0, 0, 2], [run.output for run in done]
    printed = [run.output for run in done]
    asked = ",".join(word for line in lines for word in shlex.split(line))
    for metric in METRICS.values():
        if metric.requires_space is None:
            assert f",{metric.name}" in asked
    for label in ("FD-infinity digits", "FD at 110 digits", "Vendi digits", "PRD F_1/8 digits"):
        assert label in printed[0]
    assert pq.read_table("realism.parquet").num_rows == 1100
    assert "k=5, self=excluded, ball=open (<)" in printed[1]
    for label in ("clipped density digits", "PR curve F_8 digits", "Vendi, order 2 digits", "RRKE"):
        assert label in printed[2]
    assert "FD digits, label 9" in printed[3]
    assert "FDr digits" in printed[0]
    assert "worst-label FD digits: " in printed[3]
    assert "FD digits logits" in printed[4]
    text = "fid50k_full takes 50000 generated samples, there are"
    assert f"{text} 1100" in printed[5]
    assert f"{text} 2000" in block(CONVENTIONS_PAGE, "protocol")


def test_one_line_each(demo_output: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every metric that takes the demo's columns has a line that works."""
    monkeypatch.chdir(demo_output[0].parent)
    lines = commands(METRICS_PAGE, "one-line-each")
    named = [shlex.split(line)[shlex.split(line).index("--metrics") + 1] for line in lines]
    assert named == [name for name, metric in METRICS.items() if metric.requires_space is None]
    for line in lines:
        assert " digits" in invoke(line)


def test_kernels_and_projections(
    demo_output: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(demo_output[0].parent)
    printed = [invoke(line) for line in commands(METRICS_PAGE, "kernels-and-projections")]
    for label in ("MIND digits", "SW2 digits", "SW2 (moments) digits", "KAD (generated) digits"):
        assert label in printed[0]
    assert "KD (biased) digits" in printed[1]


def test_the_protocols_of_2026(
    demo_output: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ratio to some of the real samples, and features that were exported."""
    monkeypatch.chdir(demo_output[0].parent)
    page = "docs/guides/protocols-of-2026.md"
    printed = [invoke(line) for name in ("fdr", "features") for line in commands(page, name)]
    assert re.search(r"FDr digits +\d.*norms=300 samples of mnist", printed[0])
    assert re.search(r"FD my-network +\d.*protocol=fad", printed[-1])
    for space, norm in PUBLISHED_NORMS.items():
        assert f"| `{space}` | {norm} |" in text_of(page)


def test_the_attacks(demo_output: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Matching, weights and a selection, on fewer samples and in the space of the digits."""
    monkeypatch.chdir(demo_output[0].parent)
    fewer = {"--n 1000": "--n 300", "--max-draws 10000": "--max-draws 350"}
    fewer |= {"efficientnet_lite0": "digits", "efficientnet-lite0": "digits"}
    printed = []
    for line in commands("docs/guides/attacks.md", "attacks"):
        for many, few in fewer.items():
            line = line.replace(many, few)
        done = CliRunner().invoke(cli, shlex.split(line)[1:])
        assert done.exit_code == 0, done.output
        printed.append(done.output)
    matched, reweighted, evaluated = printed
    assert re.search(r"accepted.parquet: \d+ of 300 accepted in \d+ draws", matched)
    assert "FD digits  " in matched
    assert "MIND digits  " in matched
    assert re.search(r"FD digits +matched in this space.*\u2212\d\d %", reweighted)
    assert "there is no second opinion" in reweighted
    assert re.search(r"FD digits +\d", evaluated)
    for folder in ("matched", "weights"):
        assert Path("attack", folder, "index.html").exists()


def test_the_tradeoffs(
    demo_output: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Truncation, snapshots, realism, paths and copies, in fewer sets of fewer samples."""
    monkeypatch.chdir(demo_output[0].parent)
    monkeypatch.setenv("RAYMETRICS_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(w_estimation, "DRAWS", 500)
    fewer = {
        "--strategies all --amounts 0,0.2,0.4,0.6,0.8,1": "--strategies C,E --amounts 0.5,1",
        "--amounts 0.5,1,1.5,2": "--amounts 1.5",
        "{50,100,200,400,800,1600,3200,5000}": "{50,800,5000}",
        "--paths 500": "--paths 20",
        "4000-4999": "4000-4199",
    }
    printed = []
    lines = [
        command(TRUNCATION, "truncation"),
        command(TRUNCATION, "truncation-thresholds"),
        command(TRUNCATION, "snapshots"),
        command(REALISM, "realism"),
        command(REALISM, "interpolate"),
        *commands(MEMORIZATION, "nearest"),
    ]
    for line in lines:
        for many, few in fewer.items():
            line = line.replace(many, few)
        done = CliRunner().invoke(cli, shlex.split(line)[1:])
        assert done.exit_code == 0, done.output
        printed.append(done.output)
    truncated, thresholds, run, ranked, paths, near, _, held_out = printed
    assert re.search(r"truncate=C:0.5 +\d", truncated)
    assert "truncate-z-at:1.5" in thresholds
    assert re.search(r"snapshot=5000 +\d", run)
    assert "the precision with pruned balls" in ranked
    assert "straying paths digits" in paths
    assert "AuthPct digits" in near
    assert "C_T digits" in held_out
    pages = ["nearest", "paths", "ranked", "run", "truncation"]
    assert all(Path(folder, "index.html").exists() for folder in pages)
    leading = report("truncation/results.jsonl", to=".").read_text()
    links = re.findall(r'<a href="(.*?)/index.html">', leading)
    assert set(pages) <= set(links)


def test_a_sweep(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan of the text, on fewer samples; its last row fails, as is said."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(w_estimation, "DRAWS", 500)
    plan = block(SWEEPS, "sweep-plan")
    (folder / "plan.csv").write_text(plan.replace("10000-10599", "10000-10099"))
    line = command(SWEEPS, "sweep").replace("0-599", "0-99")
    done = CliRunner().invoke(cli, shlex.split(line)[1:])
    assert done.exit_code == 3, done.output
    shown = block(SWEEPS, "sweep-table")
    names = [row.partition("  ")[0] for row in shown.partition("\n\n")[0].splitlines()[1:]]
    assert [name for name in names if f"\n{name}" in done.output] == names
    assert shown.splitlines()[-1] in done.output
    assert (folder / "sweep" / "index.html").exists()


def test_a_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is told without starting anything; nothing is written."""
    monkeypatch.chdir(tmp_path)
    line = command(CLUSTERS, "dry-run")
    arguments = shlex.split(line.replace("0-999999", "0-2047"))[1:]
    # In a context of its own, as the other tests of this file are in a session without Ray.
    done = contextvars.Context().run(CliRunner().invoke, cli, arguments)
    assert done.exit_code == 0, done.output
    words = [row.split()[0] for row in block(CLUSTERS, "dry-run-plan").splitlines()]
    assert [row.split()[0] for row in done.output.splitlines()] == words
    assert "1 shards, 2048 samples; 0 shards, 0 samples are there" in done.output
    assert not list(tmp_path.iterdir())


def test_every_strategy_has_a_row() -> None:
    assert first_cells(TRUNCATION, "`truncate=`") == list(STRATEGY_BY_LETTER.values())


def test_the_heatmaps(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a few photographs and of faces, at one scale of noise."""
    monkeypatch.chdir(folder)
    for source, name in (("photos?size=64", "real"), ("faces", "generated")):
        extract(source, ["efficientnet-lite0"], f"demo-output/{name}", "0-19")
    line = command("docs/guides/heatmaps.md", "heatmaps")
    line = line.replace("0-15", "0-3").replace("0.02,0.05,0.1", "0.1")
    done = CliRunner().invoke(cli, shlex.split(line)[1:])
    assert done.exit_code == 0, done.output
    assert "means   of 20 samples" in done.output
    for name in ("index.html", "heatmaps.npz", "maps.npz", "means.npz"):
        assert Path("heat", name).exists()
    line = command("docs/guides/heatmaps.md", "figure-3")
    line = line.replace("107,540,386,780,544,879", "17,5")
    done = CliRunner().invoke(cli, shlex.split(line)[1:])
    assert done.exit_code == 0, done.output
    assert len([*Path("figure-3", "images").iterdir()]) == 4
    assert pq.read_metadata("figure-3/classifications.parquet").num_rows == 20


def test_commands_of_the_reproduction_guide(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("list", "template"):
        words = shlex.split(command(REPRODUCE, name).partition(" > ")[0])
        done = CliRunner().invoke(cli, words[1:])
        assert done.exit_code == 0, done.output
    line = command(REPRODUCE, "mini")
    done = CliRunner().invoke(cli, shlex.split(line)[1:])
    assert done.exit_code in (0, 3), done.output  # 3: a claim of the paper fails on the demo
    assert "precision, psi 1" in done.output
    page = Path("reproduction", "index.html").read_text()
    assert "other data: not comparable" in page
    assert "<svg" in page
    for name in ("all-mini", "real"):
        verb, *words = shlex.split(command(REPRODUCE, name))[1:]
        cli.commands[verb].make_context(verb, words)


def test_python_of_the_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(block("README.md", "python-short").replace("1200", "1100"), {})
    printed = capsys.readouterr().out.splitlines()
    (value,) = [line.split()[2] for line in printed if line.startswith("FD digits ")]
    extract("mnist", "digits", "digits/real", "0-1099")
    names: dict[str, Any] = {}
    exec(block(OWN_GENERATOR, "training-loop"), names)
    images = open_source("digits", torch.device("cpu"))(np.arange(1100))
    assert names["distance"](images) == pytest.approx(float(value), rel=1e-6)


def test_reference_statistics(
    demo_output: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYMETRICS_STATISTICS", str(tmp_path))
    page = "docs/guides/reference-statistics.md"
    listed, verified = (invoke(line) for line in commands(page, "statistics"))
    assert "jit-imagenet256" in listed
    assert verified == ""
    monkeypatch.chdir(demo_output[0].parent)
    invoke(command(page, "make-statistics"))
    assert {*np.load("real.npz")} == {"mu", "sigma", "raymetrics"}


def test_which_samples(demo_output: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(demo_output[0].parent)
    equal, seeds = (invoke(line) for line in commands(METRICS_PAGE, "equal-counts"))
    assert "equal_counts=the smaller side's, seed 0" in equal
    assert "warning" not in equal
    assert "FD digits, mean of 3 seeds" in seeds


def test_under_every_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    printed = invoke(command(CONVENTIONS_PAGE, "under").replace("0-999", "0-99"))
    shown = block(CONVENTIONS_PAGE, "under-table").splitlines()
    names = [line.partition("  ")[0] for line in shown if "  " in line and line[0] != " "]
    assert [name for name in names if name.startswith("spread")] == [
        line.partition("  ")[0] for line in printed.splitlines() if line.startswith("spread")
    ]
    assert "an improvement smaller than" in printed
    assert (tmp_path / "under" / "index.html").exists()


def test_the_table(demo_output: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(demo_output[0].parent)
    assert invoke(command(METRICS_PAGE, "table")).startswith(r"\begin{tabular}")


def test_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYMETRICS_CACHE", str(tmp_path))
    listed, cleared = (invoke(line) for line in commands(METRICS_PAGE, "cache"))
    assert listed.startswith(f"{tmp_path}: 0 sets, ")
    assert cleared.startswith("0 sets removed")


def test_names_are_on_their_pages() -> None:
    for page, header, known in (
        (SOURCES_PAGE, "source", SOURCES),
        (EXTRACTORS_PAGE, "extractor", [*EXTRACTORS, *CLIP_SCORES]),
        (METRICS_PAGE, "`--metrics`", METRICS),
        (CONVENTIONS_PAGE, "`--convention`", CONVENTIONS),
        (CONVENTIONS_PAGE, "`--protocol`", PROTOCOLS),
    ):
        assert set(known) <= set(first_cells(page, header)), page


def test_every_verb_has_a_row_in_the_readme() -> None:
    verbs = {name for name, verb in cli.commands.items() if not verb.hidden}
    assert verbs == set(first_cells("README.md", "command"))


@pytest.mark.parametrize("page", sorted({page for page, _ in TABLES.values()}))
def test_tables_are_as_the_program_has_them(page: str) -> None:
    """Make them anew with: python -m tests.docs.tables."""
    assert renewed(page) == text_of(page)


def test_make_runs_what_the_readme_says() -> None:
    dry = subprocess.run(
        ["make", "-n", "demo", "test"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for part in ("-m raymetrics.demo", "ruff check", "mypy", "-m pytest"):
        assert part in dry
    assert "make test" in (ROOT / ".ci" / "run").read_text()
