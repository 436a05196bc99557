"""Truncation and snapshots: many generated sets against one real set."""

from __future__ import annotations

import os
import re
import time
import warnings
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import raymetrics as rm
from raymetrics import results
from raymetrics.cli import main
from raymetrics.errors import RaymetricsError, ResultsFileError, SampleRangeError, SourceError
from raymetrics.generators import open_source
from raymetrics.generators.latents.strategies import STRATEGY_BY_LETTER
from raymetrics.generators.snapshot_files import SnapshotWatch, expand_sources
from raymetrics.studies import sweep as sweeping
from raymetrics.studies.sweep import shard_folder, sweep
from raymetrics.studies.sweep_table import PlanRow
from raymetrics.studies.truncate import available_strategies, truncated_sources
from tests.generators.stylegan2.test_stylegan2 import nvidia_file, random_state

CPU = torch.device("cpu")

pytestmark = pytest.mark.usefixtures("no_actors")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, no_actors: None) -> str:
    """300 digits of MNIST."""
    to = str(tmp_path_factory.mktemp("real"))
    rm.extract("mnist", ["digits"], to, "0-299")
    return to


def run(*arguments: str) -> tuple[int, str]:
    """Exit code, and what was printed."""
    done = CliRunner().invoke(main, arguments)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def test_psi_trades_recall_for_precision(
    real: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = truncated_sources("digits", ["D"], [0, 0.5, 1])
    assert sources == ["digits", "digits?truncate=D:0.5", "digits?truncate=D:0"]
    asked = {"real": real, "to": str(tmp_path), "metrics": ["fid", "pr"], "by": "label"}
    found = sweep(sources, **asked).results
    whole = [r for r in found if "label" not in r.convention]
    values = {
        name: [r.value for r in whole if r.metric == name]
        for name in ("precision", "recall", "frechet_distance")
    }
    assert values["recall"][0] > values["recall"][1] > values["recall"][2] == 0
    assert values["precision"][0] < values["precision"][1]
    assert [r.generated.source for r in whole if r.metric == "recall"] == sources
    assert {r.convention["label"] for r in found if r not in whole} == set(range(10))

    shards = shard_folder(f"{tmp_path}/shards", PlanRow("digits"))
    alone = rm.evaluate(real=real, generated=shards, metrics=["fid", "pr"])
    assert [r.value for r in alone] == [r.value for r in whole[: len(alone)]]

    # Again, and with one more: only that is made and measured.
    measured = []
    monkeypatch.setattr(sweeping, "evaluate", lambda **of: measured.append(of["generated"]) or [])
    again = sweep([*sources, "digits?truncate=C:0.5"], **asked)
    assert again.results == found
    assert set(measured) == {shard_folder(f"{tmp_path}/shards", PlanRow("digits?truncate=C:0.5"))}

    kept = next((tmp_path / "numbers").glob("*.jsonl"))
    for path in (tmp_path / "numbers").iterdir():
        path.write_text("{}\n")
    failed = sweep(sources, **asked).failures
    assert [failure.error for failure in failed] == [ResultsFileError.__name__] * 3
    assert re.search(r"holds no results .*remove it", failed[0].message)
    assert kept.exists()


def test_what_makes_no_sense(real: str, tmp_path: Path) -> None:
    with pytest.raises(RaymetricsError, match="is truncated already"):
        truncated_sources("digits?truncate=C:0.5", ["D"], [1])
    with pytest.raises(SampleRangeError, match="no strategies"):
        truncated_sources("digits", [], [1])
    with pytest.raises(RaymetricsError, match="no rows"):
        sweep([], real=real, to=str(tmp_path))
    with pytest.raises(SourceError, match="no truncation 'X'"):
        truncated_sources("digits", ["X"], [0.5, 1])
    with pytest.raises(SourceError, match="amount from 0 to 1"):
        truncated_sources("digits", ["D"], [1.5])


def test_all_strategies_are_those_that_a_source_has(tmp_path: Path) -> None:
    seven = list(STRATEGY_BY_LETTER.values())
    assert len(seven) == 7
    nvidia_file(tmp_path / "network.pkl", random_state("skip"))
    for source in ("digits", str(tmp_path / "network.pkl"), "latent_sources:ScaledSphere"):
        assert available_strategies(source) == (seven, {})
    found, lacking = available_strategies("latent_sources:Sphere")
    assert lacking.keys() == {"interpolate-z"}
    assert sorted([*found, *lacking]) == sorted(STRATEGY_BY_LETTER.values())
    with pytest.raises(SourceError, match="no source 'nothing"):
        open_source(truncated_sources("nothing", available_strategies("nothing")[0], [0.5])[0], CPU)


def test_one_mean_for_all_classes_is_of_w_alone() -> None:
    found = truncated_sources("digits?snapshot=400&mean=all", ["D", "F"], [0.5, 1])
    assert found == [
        "digits?snapshot=400",
        "digits?snapshot=400&truncate=D:0.5&mean=all",
        "digits?snapshot=400&truncate=F:0.5",
    ]


def test_a_cutoff_is_of_strategies_in_w_alone() -> None:
    found = truncated_sources("g.pkl?noise=none&cutoff=8", ["A", "E", "truncate-z-at"], [0.5, 1])
    assert found == [
        "g.pkl?noise=none",
        "g.pkl?noise=none&truncate=A:0.5&cutoff=8",
        "g.pkl?noise=none&truncate=E:0.5",
        "g.pkl?noise=none&truncate=truncate-z-at:1",
        "g.pkl?noise=none&truncate=truncate-z-at:0.5",
    ]


def test_one_is_a_truncation_of_its_own_in_biggan_s_forms() -> None:
    names = ["truncate-z-at", "scale-truncated-z"]
    assert truncated_sources("digits", names, [1, 0.3]) == [
        "digits", *(f"digits?truncate={name}:{psi}" for name in names for psi in (1, 0.3)),
    ]  # fmt: skip
    assert truncated_sources("digits", names[:1], [0.3, 1.5]) == [
        "digits?truncate=truncate-z-at:1.5",
        "digits?truncate=truncate-z-at:0.3",
    ]
    with pytest.raises(SourceError, match="'scale-truncated-z:1.5', expected an amount from 0"):
        truncated_sources("digits", names, [0.3, 1.5])


def test_places_differ_where_sources_do() -> None:
    sources = ["a/run.pkl", "b/run.pkl", "a/run.pkl?psi=0.5", "a/run.pkl?psi=05"]
    rows = [PlanRow(source, samples) for source in sources for samples in (None, "0-9", "10-19")]
    places = {shard_folder("shards", row) for row in [*rows, *rows]}
    assert len(places) == len(rows)
    assert all(place.startswith("shards/run.pkl") for place in places)
    assert len(Path(shard_folder("shards", PlanRow("x?prompt=" + "long" * 200))).name) < 100


def test_truncate_prints_a_table_and_makes_a_page(real: str, tmp_path: Path) -> None:
    to = tmp_path / "out"
    asked = ["--real", real, "--generated", "digits", "--to", str(to), "--metrics", "fid,pr"]
    code, text = run("truncate", *asked, "--strategies", "clamp,G", "--psi", "0.5,1")
    assert code == 0, text
    assert "clamp:0.5" in text
    assert "measures digits?truncate=G:0.5" in text
    found = results.read_results(to / "results.jsonl")
    assert len({r.generated.source for r in found}) == 3
    assert "Pareto" not in (to / "index.html").read_text()
    assert "precision" in (to / "index.html").read_text()
    code, text = run("truncate", *asked, "--psi", "half")
    assert (code, "'half'; write numbers from 0 to 1" in text) == (2, True)
    code, text = run("truncate", *asked, "--psi", "2")
    assert (code, "expected an amount from 0 to 1" in text) == (2, True)


def test_thresholds_may_be_above_one(real: str, tmp_path: Path) -> None:
    code, text = run(
        "truncate", "--real", real, "--generated", "digits", "--to", str(tmp_path),
        "--metrics", "pr", "--strategies", "truncate-z-at", "--amounts", "0.5,1.5",
    )  # fmt: skip
    assert code == 0, text
    found = results.read_results(tmp_path / "results.jsonl")
    recalls = {r.setting["amount"]: r.value for r in found if r.metric == "recall"}
    assert list(recalls) == [1.5, 0.5]
    assert recalls[1.5] > recalls[0.5] + 0.1


def test_a_snapshot_that_fails_does_not_stop_the_others(real: str, tmp_path: Path) -> None:
    code, text = run(
        "snapshots", "--real", real, "--generated", "digits?snapshot={50,60,400}",
        "--to", str(tmp_path), "--metrics", "fid", "--samples", "0-49",
    )  # fmt: skip
    assert (code, "failed: digits?snapshot=60: " in text) == (3, True)
    found = [r.generated.source for r in results.read_results(tmp_path / "results.jsonl")]
    assert found == ["digits?snapshot=50", "digits?snapshot=400"]


def test_snapshots_of_the_demo(real: str, tmp_path: Path) -> None:
    code, text = run(
        "snapshots", "--real", real, "--generated", "digits?snapshot={50,400,5000}",
        "--to", str(tmp_path / "run"), "--metrics", "fid,pr",
    )  # fmt: skip
    assert code == 0, text
    found = results.read_results(tmp_path / "run" / "results.jsonl")
    distances = [r.value for r in found if r.metric == "frechet_distance"]
    assert distances[0] > 2 * distances[-1]
    assert "Pareto" in (tmp_path / "run" / "index.html").read_text()


def test_texts_stand_for_sources(tmp_path: Path) -> None:
    for name in ("snap-2.pkl", "snap-10.pkl", "snap-1.pt", "notes.txt"):
        (tmp_path / name).touch()
    expected = [f"{tmp_path}/snap-{name}" for name in ("1.pt", "2.pkl", "10.pkl")]
    assert expand_sources(str(tmp_path)) == expected
    assert expand_sources(f"{tmp_path}?psi=0.5") == [f"{name}?psi=0.5" for name in expected]
    assert expand_sources(f"{tmp_path}/snap-*.pkl") == expected[1:]
    assert expand_sources("digits?snapshot={50, 100}") == [
        "digits?snapshot=50",
        "digits?snapshot=100",
    ]
    assert expand_sources("a-{000..009}.tar") == ["a-{000..009}.tar"]
    assert expand_sources("digits") == ["digits"]
    with pytest.raises(SourceError, match=r"no snapshots at .*expected a folder with \.pkl"):
        SnapshotWatch([f"{tmp_path}/*.ts"]).poll(settled=False)


def test_files_are_told_when_they_no_longer_grow(tmp_path: Path) -> None:
    watch = SnapshotWatch([str(tmp_path)])
    assert watch.poll(settled=True) == []
    one = tmp_path / "1.pkl"
    one.write_bytes(b"begun")
    assert watch.poll(settled=True) == []
    one.write_bytes(b"begun, longer")
    assert watch.poll(settled=True) == []
    assert watch.poll(settled=True) == [str(one)]
    assert watch.poll(settled=True) == []
    one.write_bytes(b"another")
    assert watch.poll(settled=True) == []
    assert watch.poll(settled=True) == [str(one)]
    old = tmp_path / "0.pkl"
    old.touch()
    long_ago = time.time() - 3600
    os.utime(old, (long_ago, long_ago))
    assert watch.poll(settled=True) == [str(old)]


class Noise(torch.nn.Module):
    """A generator of noise: z to images."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return z[:, :192].reshape(-1, 3, 8, 8).tanh()


def test_watching_goes_on_after_a_file_that_is_none(real: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Noise()).save(tmp_path / "network-000002.ts")
    (tmp_path / "network-000001.ts").write_bytes(b"not a network")
    code, text = run(
        "snapshots", "--real", real, "--generated", str(tmp_path), "--to", str(tmp_path / "out"),
        "--metrics", "fid", "--samples", "0-49", "--watch", "1", "--until", "1", "--any-size",
    )  # fmt: skip
    assert code == 3, text
    assert "network-000001.ts: " in text
    found = results.read_results(tmp_path / "out" / "results.jsonl")
    assert [Path(r.generated.source).name for r in found] == ["network-000002.ts"]
