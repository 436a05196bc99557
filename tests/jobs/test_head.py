"""Jobs on a real head: submitted with the words of their docstrings, stopped, and going on."""

from __future__ import annotations

import ast
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from raymetrics import results
from raymetrics.distributed.extraction import extract
from raymetrics.distributed.session import session
from tests.helpers.head import CHECKOUT, Head, job_commands, running_head, wait_until

GENERATOR = """
import time
from pathlib import Path

import numpy as np

import raymetrics


def generate(sample_ids):
    with Path({log!r}).open("a") as log:
        print(raymetrics.__file__, file=log)
    while min(sample_ids) >= 100 and not Path({go!r}).exists():  # not in the trial
        time.sleep(0.1)
    grey = np.arange(28 * 28, dtype=np.int64).reshape(28, 28)
    images = [np.broadcast_to((grey + k) % 256, (3, 28, 28)) for k in sample_ids]
    return np.stack(images).astype(np.uint8)
"""


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with running_head() as head:
        yield head


def words_of(job: str, **values: object) -> list[str]:
    """The command in a job's docstring, with other values of some of its options."""
    text = ast.get_docstring(ast.parse((CHECKOUT / "jobs" / f"{job}.py").read_text()))
    assert text
    [words] = job_commands(text)
    for option, value in values.items():
        words[words.index(f"--{option}") + 1] = str(value)
    return words


def extraction(to: Path, extractor: str = "digits") -> list[str]:
    """The command in jobs/extract.py, for few samples."""
    words = words_of("extract", to=to, extractor=extractor, samples="0-149")
    return [*words, "--shard-rows", "50"]


def files(folder: Path) -> dict[str, bytes]:
    """The shards of a set."""
    return {file.name: file.read_bytes() for file in sorted(folder.glob("samples-*.parquet"))}


def plainly(source: str, to: Path) -> dict[str, bytes]:
    """The same shards, made without Ray."""
    with session(local=True):
        extract.extract(source, ["digits"], str(to), "0-149", shard_rows=50)
    return files(to)


@pytest.mark.slow
def test_jobs_end_with_what_the_same_command_would_do(head: Head, tmp_path: Path) -> None:
    wrong = head.submit(extraction(tmp_path / "wrong", "nothing"), "wrong", "--no-wait")
    assert wrong.returncode == 0, wrong.stdout
    made = head.submit(extraction(tmp_path / "made"), "made")
    assert made.returncode == 0, made.stdout
    assert head.wait_until_ended("made")["driver_exit_code"] == 0
    assert files(tmp_path / "made") == plainly("digits", tmp_path / "plain")

    assert f"{tmp_path}/made: 3 shards made" in head.log("made")
    assert not re.search("Traceback|WARNING|pid=", head.log("made"))  # nothing of Ray's own
    assert head.wait_until_ended("wrong")["driver_exit_code"] == 2
    assert head.log("wrong").splitlines()[-1].startswith("error: no extractor 'nothing'")
    assert not (tmp_path / "wrong").exists()


@pytest.mark.slow
def test_a_stopped_job_goes_on(head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout, loaded, go = (tmp_path / name for name in ("checkout", "loaded", "go"))
    for name in ("raymetrics", "jobs"):
        shutil.copytree(CHECKOUT / name, checkout / name)
    (checkout / "my_generator.py").write_text(GENERATOR.format(log=str(loaded), go=str(go)))
    words = [*extraction(tmp_path / "made"), "--batch", "10"]
    words[words.index("jobs/extract.py") + 1] = "my_generator:generate"

    head.submit(words, "first", "--no-wait", folder=checkout)
    wait_until(
        lambda: len(files(tmp_path / "made")) > 0,
        lambda: f"no shard was made: {head.job_info('first')}, {head.log('first')}",
    )
    head.stop("first")
    assert head.wait_until_ended("first")["status"] == "STOPPED"
    stopped = head.log("first")
    assert stopped.splitlines()[-1] == "stopped; what is there is whole, the same command goes on"
    assert "Traceback" not in stopped
    there = {file: os.stat(file).st_mtime_ns for file in (tmp_path / "made").glob("samples-*")}
    assert 0 < len(there) < 3

    go.touch()
    done = head.submit(words, "second", folder=checkout)
    assert done.returncode == 0, done.stdout
    assert f"{len(there)} were there;" in head.log("second")
    assert there == {file: os.stat(file).st_mtime_ns for file in there}
    # Both the module and raymetrics came with the working directory, on the workers too.
    assert all("working_dir_files" in line for line in loaded.read_text().splitlines())
    monkeypatch.chdir(checkout)
    assert files(tmp_path / "made") == plainly("my_generator:generate", tmp_path / "plain")


@pytest.mark.slow
def test_numbers_as_a_job(head: Head, tmp_path: Path) -> None:
    plainly("digits", tmp_path / "generated")
    plainly("mnist", tmp_path / "real")
    real, generated, to = (tmp_path / name for name in ("real", "generated", "results.jsonl"))
    words = words_of("evaluate", real=real, generated=generated, to=to, metrics="fid,pr")
    done = head.submit(words, "numbers")
    assert done.returncode == 0, done.stdout
    assert {result.metric for result in results.read_results(to)} >= {
        "frechet_distance",
        "precision",
    }
    assert "FD digits" in head.log("numbers")


OWN_METRICS = """
import numpy as np
from raymetrics.statistics import Moments


def gap(real, generated):
    return np.abs(real.mean(axis=0) - generated.mean(axis=0)).max()


class Gap:
    def needs(self, side):
        return {"moments": lambda sample_ids, features: Moments.from_samples(features)}

    def compute(self, real, generated):
        return np.abs(real["moments"].mean - generated["moments"].mean).max()
"""


@pytest.mark.slow
def test_own_metrics_as_a_job(head: Head, tmp_path: Path) -> None:
    """Workers find a module that came with the working directory, and is nowhere else."""
    checkout = tmp_path / "checkout"
    for name in ("raymetrics", "jobs"):
        shutil.copytree(CHECKOUT / name, checkout / name)
    (checkout / "my_metrics.py").write_text(OWN_METRICS)
    plainly("digits", tmp_path / "generated")
    plainly("mnist", tmp_path / "real")
    real, generated, to = (tmp_path / name for name in ("real", "generated", "results.jsonl"))
    metrics = "my_metrics:gap,my_metrics:Gap"
    words = words_of("evaluate", real=real, generated=generated, to=to, metrics=metrics)
    done = head.submit(words, "own-metrics", folder=checkout)
    assert done.returncode == 0, done.stdout
    function, streamed = results.read_results(to)
    assert function.value == pytest.approx(streamed.value, rel=1e-5)
    assert function.provenance["metric"]["callable"] == "my_metrics:gap"
