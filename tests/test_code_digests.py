"""What a user's code is made of: what it imports of the user's own, and files that options name."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import click
import pytest

from raymetrics.code_digests import folder_digest, is_library, module_digests, option_digests
from tests.helpers.user_modules import ModuleFolder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleFolder:
    return ModuleFolder(tmp_path, monkeypatch)


def names(module: str) -> list[str]:
    importlib.import_module(module)
    return list(module_digests(module).get("modules", {}))


def test_modules_of_the_user_s_are_found_and_libraries_are_not(folder) -> None:
    folder.write(
        plain_gen="import json, numpy as np, torch.nn\nfrom raymetrics import errors\n",
        far_gen="from near_layers import Layer\ndef f():\n    import late_part\n",
        near_layers="import deep_part\nLayer = 1\n",
        deep_part="import near_layers, json\n",
        late_part="raise RuntimeError('never imported')\n",
    )
    assert names("plain_gen") == []
    assert names("far_gen") == ["deep_part", "late_part", "near_layers"]


def test_packages_and_relative_imports(folder) -> None:
    (folder.path / "pack").mkdir()
    (folder.path / "pack" / "__init__.py").write_text("VALUE = 1\n")
    folder.write(
        pack__gen="from . import layers\nfrom .parts import Head\nfrom outside_part import x\n",
        pack__layers="from pack import other\n",
        pack__parts="Head = 1\n",
        pack__other="",
        outside_part="x = 1\n",
    )
    found = ["outside_part", "pack", "pack.layers", "pack.other", "pack.parts"]
    assert names("pack.gen") == found


def test_every_change_of_a_module_is_seen_and_nothing_else(folder) -> None:
    folder.write(one_gen="import one_layers\n", one_layers="a = 1\n", one_other="a = 1\n")
    importlib.import_module("one_gen")
    before = module_digests("one_gen")
    folder.write(one_other="a = 2\n")
    importlib.import_module("one_gen")
    assert module_digests("one_gen") == before
    folder.write(one_layers="a = 2\n")
    importlib.import_module("one_gen")
    after = module_digests("one_gen")
    assert after["source_sha256"] == before["source_sha256"]
    assert after["modules"] != before["modules"]


def test_what_an_installed_package_imports_is_its_own_modules_alone() -> None:
    assert is_library(click.__file__)
    assert is_library(os.__file__)
    found = names("click.core")
    assert "click.types" in found
    assert all(name.partition(".")[0] == "click" for name in found)


def test_files_and_folders_that_options_name(tmp_path: Path) -> None:
    file, folder = tmp_path / "latest.pt", tmp_path / "run"
    folder.mkdir()
    file.write_bytes(b"network A")
    (folder / "a.bin").write_bytes(b"1")
    options = {"ckpt": str(file), "run": str(folder), "psi": "0.7", "empty": ""}
    before = option_digests(options)
    assert {kind: list(found) for kind, found in before.items()} == {
        "files": ["ckpt"], "folders": ["run"],
    }  # fmt: skip
    assert option_digests({"psi": "0.7"}) == {}
    file.write_bytes(b"network B")
    (folder / "a.bin").write_bytes(b"2")
    after = option_digests(options)
    assert after["files"] != before["files"]
    assert after["folders"] != before["folders"]


def test_a_folder_is_its_names_and_contents_without_shards_in_it(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.bin").write_bytes(b"1")
    before = folder_digest(tmp_path)
    shards = tmp_path / "shards"
    shards.mkdir()
    (shards / "dataset.json").write_text('{"fingerprint": "0"}')
    (shards / "samples.parquet").write_bytes(b"anything")
    assert folder_digest(tmp_path) == before
    (tmp_path / "inner" / "a.bin").rename(tmp_path / "inner" / "b.bin")
    assert folder_digest(tmp_path) != before


def test_large_folders_are_known_by_both_ends_of_their_files(tmp_path: Path) -> None:
    """A sparse file stands for a large one: it takes no room, and would take long to read."""
    file = tmp_path / "weights.bin"
    with file.open("wb") as large:
        large.truncate(3_000_000_000)
    found = [folder_digest(tmp_path)]
    for place in (0, 3_000_000_000 - 1, 3_000_000_000):
        with file.open("r+b") as large:
            large.seek(place)
            large.write(b"x")
        found.append(folder_digest(tmp_path))
    assert len(set(found)) == 4
