"""Weights that are loaded once for sources that differ in their options alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from raymetrics.generators import network_files, open_source, torchscript
from tests.generators.test_torchscript import Half, Painter, saved

CPU = torch.device("cpu")


def test_one_network_is_held_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_files, "_last_network", {})
    loaded: list[str] = []

    def load(name: str) -> str:
        assert not network_files._last_network  # the one before is let go first
        loaded.append(name)
        return name

    for name in "aabba":
        assert network_files.load_once(name, lambda name=name: load(name)) == name  # type: ignore[misc]
    assert loaded == ["a", "b", "a"]

    def fails() -> str:
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        network_files.load_once("c", fails)
    assert network_files.load_once("c", lambda: "c") == "c"


def test_a_sweep_of_options_loads_a_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []
    original = torchscript.load_torchscript

    def counted(data: bytes, path: str, device: torch.device) -> object:
        loads.append(Path(path).name)
        return original(data, path, device)

    monkeypatch.setattr(torchscript, "load_torchscript", counted)
    path, ids = saved(Painter(), tmp_path / "a.ts"), np.arange(5)
    plain = open_source(f"{path}?z=4", CPU)(ids)
    for amount in ("0.5", "0.7"):
        truncated = open_source(f"{path}?z=4&truncate=interpolate-z:{amount}", CPU)(ids)
        assert (truncated != plain).any()
    assert loads == ["a.ts"]
    # Another content under the same name is another network.
    saved(Half(), tmp_path / "a.ts")
    assert open_source(f"{path}?z=4", CPU)(ids).shape != plain.shape
    assert loads == ["a.ts", "a.ts"]
