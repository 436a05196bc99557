"""Statistics by name: fetched with their digests, refused without, made in every layout."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import raymetrics as rm
from raymetrics.cli import main
from raymetrics.errors import RaymetricsError, StorageError
from raymetrics.npz_files import npz_bytes
from raymetrics.reference_statistics import catalogue
from raymetrics.reference_statistics.catalogue import CATALOGUE, GIT_BLOB, SHA256, StatisticsFile
from raymetrics.reference_statistics.local_files import fetch, list_local, resolve_name, verify
from raymetrics.reference_statistics.make import LAYOUTS, make_statistics
from raymetrics.shards.foreign import read_statistics
from tests.conftest import write_set

pytestmark = pytest.mark.usefixtures("no_actors")

CONTENT = npz_bytes({"mu": np.zeros(3), "sigma": np.eye(3)})


@pytest.fixture
def address() -> Iterator[str]:
    """An address that serves CONTENT."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/moments.npz"
        server.shutdown()


@pytest.fixture
def file(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StatisticsFile:
    """An entry of the catalogue, without a digest."""
    monkeypatch.setenv("RAYMETRICS_STATISTICS", str(tmp_path / "statistics"))
    entry = StatisticsFile("ours", address, "numbers", "mu, sigma", "digits", "tests", 5)
    monkeypatch.setitem(CATALOGUE, "ours", entry)
    return entry


def with_digest(entry: StatisticsFile, kind: str, digest: str) -> StatisticsFile:
    published = replace(entry, digest=(kind, digest), digest_source="a test")
    catalogue.CATALOGUE[entry.name] = published
    return published


def test_every_entry_has_an_address_and_a_name_of_its_own() -> None:
    assert len({entry.url for entry in CATALOGUE.values()}) == len(CATALOGUE) > 60
    for name, entry in CATALOGUE.items():
        assert re.fullmatch(r"https://[^ ]+\.(npz|pkl)", entry.url), name
        assert re.fullmatch(r"[a-z0-9_-]+", name)
        assert (entry.digest is None) == (entry.digest_source == "")
        if entry.digest:
            assert len(entry.digest[1]) == {SHA256: 64, GIT_BLOB: 40}[entry.digest[0]]


@pytest.mark.parametrize(
    ("kind", "digest"),
    [
        (SHA256, hashlib.sha256(CONTENT).hexdigest()),
        (GIT_BLOB, hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()),
    ],
)
def test_a_file_with_a_published_digest_is_fetched_when_it_is_named(
    file: StatisticsFile, kind: str, digest: str
) -> None:
    published = with_digest(file, kind, digest)
    path = Path(resolve_name("stats:ours"))
    assert path.read_bytes() == CONTENT
    assert verify(published).verified
    path.write_bytes(CONTENT + b" ")
    with pytest.raises(RaymetricsError, match=rf"{kind} digest .*remove .*ours.npz: fetch"):
        resolve_name("stats:ours")


def test_another_content_is_thrown_away(file: StatisticsFile) -> None:
    published = with_digest(file, SHA256, "0" * 64)
    with pytest.raises(RaymetricsError, match="expected 000000000000...; it was thrown away"):
        resolve_name("stats:ours")
    assert list_local() == {}
    with pytest.raises(RaymetricsError, match="thrown away"):
        fetch(published)


def test_a_file_without_a_digest_is_fetched_only_when_asked(file: StatisticsFile) -> None:
    with pytest.raises(RaymetricsError, match="run: raymetrics statistics fetch ours"):
        resolve_name("stats:ours")
    done = CliRunner().invoke(main, ["statistics", "fetch", "ours"])
    assert (done.exit_code, "no digest was published" in done.output) == (0, True), done.output
    path = Path(resolve_name("stats:ours"))
    verified = CliRunner().invoke(main, ["statistics", "verify"])
    assert (verified.exit_code, verified.output.startswith("ours  as it was fetched")) == (0, True)
    path.write_bytes(CONTENT[:-3])
    with pytest.raises(RaymetricsError, match="when it was fetched; remove both files"):
        resolve_name("stats:ours")
    assert CliRunner().invoke(main, ["statistics", "verify"]).exit_code == 1


def test_no_network_is_one_line(file: StatisticsFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CATALOGUE, "ours", replace(file, url="http://127.0.0.1:9/moments.npz"))
    done = CliRunner().invoke(main, ["statistics", "fetch", "ours"])
    assert done.exit_code == 2
    assert "on a machine without network, copy the file there" in done.output
    assert done.output.count("\n") == 1


def test_a_side_by_name(file: StatisticsFile, tmp_path: Path) -> None:
    features = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    shards = write_set(str(tmp_path / "set"), {"pre_logits": features})
    fetch(file)
    (result,) = rm.evaluate(real="stats:ours", generated=shards, metrics="fid")
    expected = rm.evaluate(real=resolve_name("stats:ours"), generated=shards, metrics="fid")
    assert result.value == expected[0].value
    with pytest.raises(RaymetricsError, match="no statistics 'adm-imagenet' .*mean adm-imagenet"):
        rm.evaluate(real="stats:adm-imagenet", generated=shards)


def test_the_list_is_searched(file: StatisticsFile) -> None:
    printed = CliRunner().invoke(main, ["statistics", "list", "imagenet", "256"]).output
    assert "adm-imagenet256" in printed
    assert "git blob 1da4c17607fe959d54999fd098105649a0c05e15" in printed
    assert "cifar10" not in printed


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_read_as_it_was_written(layout: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    features = {"pre_logits": rng.normal(3, 2, size=(250, 4)).astype(np.float32)}
    shards = write_set(str(tmp_path / "set"), features)
    ending = {"npz": ".npz", "torch-fidelity": ".pt"}.get(layout, ".pkl")
    to = str(tmp_path / f"moments{ending}")
    make_statistics(shards.uri, to, layout=layout)
    (gaussian,) = read_statistics(to).gaussians.values()
    ddof = 0 if layout == "stylegan2-ada" else 1
    np.testing.assert_allclose(gaussian.mean, features["pre_logits"].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(
        gaussian.covariance, np.cov(features["pre_logits"].T, ddof=ddof), rtol=1e-6
    )
    said = json.loads(Path(f"{to}.json").read_text())
    assert (said["count"], said["layout"], said["fingerprint"]) == (
        250,
        layout,
        shards.spec.fingerprint,
    )
    with pytest.raises(StorageError, match="is there already"):
        make_statistics(shards.uri, to, layout=layout)


def test_spatial_features_make_the_layout_of_adm(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    features = {name: rng.normal(size=(60, d)).astype(np.float32) for name, d in
                (("pre_logits", 4), ("spatial", 6))}  # fmt: skip
    shards = write_set(str(tmp_path / "set"), features)
    to = tmp_path / "adm.npz"
    done = CliRunner().invoke(main, ["statistics", "make", shards.uri, "--to", str(to)])
    assert done.exit_code == 0, done.output
    assert {*np.load(to)} == {"mu", "sigma", "mu_s", "sigma_s"}
    results = rm.evaluate(real=str(to), generated=shards, metrics="fid,sfid")
    assert [result.value for result in results] == pytest.approx([0, 0], abs=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"to": "moments"}, "does not say its layout"),
        ({"to": "moments.npz", "layout": "adm"}, "no layout 'adm'; there are npz"),
        ({"to": "moments.npz", "column": "other"}, "name one of them"),
        ({"to": "moments.npz", "samples": 1}, "ask for 2 to 20"),
    ],
)
def test_what_cannot_be_made(tmp_path: Path, arguments: dict[str, object], message: str) -> None:
    shards = write_set(str(tmp_path / "set"), {"pre_logits": np.zeros((20, 2), np.float32)})
    with pytest.raises(RaymetricsError, match=message):
        make_statistics(shards.uri, **arguments)  # type: ignore[arg-type]
