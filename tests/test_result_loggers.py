"""Numbers arrive at every logger: its own files are read back."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import raymetrics as rm
from raymetrics.cli import main
from raymetrics.errors import RaymetricsError
from raymetrics.results import Result, Side
from tests.reports.test_comparison_page import a_result


@pytest.fixture
def results() -> list[Result]:
    """Two snapshots, the later one first, and a number with a spread."""
    side = Side("uri", "mnist", ("0-99",), 100, "f", "d", {})
    plain = a_result(side, side)
    return [
        replace(plain, value=11.5, setting={"run": "net-*.pkl", "snapshot": 2000}),
        replace(plain, value=20.25, setting={"run": "net-*.pkl", "snapshot": 1000}),
        replace(plain, label="KD digits", value=0.5, spread=0.125,
                setting={"run": "net-*.pkl", "snapshot": 1000}),
    ]  # fmt: skip


EXPECTED = {
    (1000, "FD digits"): 20.25, (2000, "FD digits"): 11.5, (1000, "KD digits"): 0.5,
    (1000, "KD digits deviation"): 0.125,
}  # fmt: skip


def test_tensorboard(results: list[Result], tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util import tensor_util

    rm.log_results(results, f"tensorboard:{tmp_path}")
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    read = {
        (event.step, name): float(tensor_util.make_ndarray(event.tensor_proto))
        for name in events.Tags()["tensors"]
        for event in events.Tensors(name)
    }
    assert read == EXPECTED


def test_mlflow(results: list[Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path}")
    named = [replace(r, label=r.label.replace("FD", "FD*")) for r in results]
    rm.log_results(named, "mlflow:digits/first")
    read = {}
    for file in tmp_path.glob("*/*/metrics/*"):
        for line in file.read_text().splitlines():
            _, value, step = line.split()[:3]
            read[int(step), file.name.replace("FD_", "FD")] = float(value)
    assert read == EXPECTED


def wandb_records(file: Path) -> Iterator[bytes]:
    """The records of an offline run, in LevelDB's format of logs after a header of 7 bytes."""
    data, position, record = file.read_bytes(), 7, b""
    while position + 7 <= len(data):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        record += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or its last part
            yield record
            record = b""


def test_wandb_offline(
    results: list[Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    rm.log_results(results, "wandb:digits/first")
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    read = {}
    for data in wandb_records(file):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        items = {i.key or ".".join(i.nested_key): i.value_json for i in record.history.item}
        for name, value in items.items():
            if not name.startswith("_"):
                read[int(items["_step"]), name] = float(value)
    assert read == EXPECTED


@pytest.mark.parametrize("text", ["comet:project", "wandb", "tensorboard:", ""])
def test_unknown_loggers(text: str, results: list[Result]) -> None:
    with pytest.raises(RaymetricsError, match="write wandb:PROJECT/RUN, tensorboard:FOLDER"):
        rm.log_results(results, text)


def test_a_logger_that_is_not_installed(
    results: list[Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(RaymetricsError, match=r"pip install 'raymetrics\[log\]', or mlflow-skinny"):
        rm.log_results(results, "mlflow:digits")


def test_the_option_is_checked_before_anything_is_computed(tmp_path: Path) -> None:
    line = ["evaluate", "--real", "mnist", "--generated", "digits", "--extractor", "digits",
            "--samples", "40", "--metrics", "fid", "--log"]  # fmt: skip
    refused = CliRunner().invoke(main, [*line, "comet:x"])
    assert (refused.exit_code, refused.output.count("\n")) == (2, 1), refused.output
    done = CliRunner().invoke(main, [*line, f"tensorboard:{tmp_path}/tb", "--local"])
    assert done.exit_code == 0, done.output
    assert [*(tmp_path / "tb").glob("events.*")]
