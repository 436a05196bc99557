"""Files of weights: found, fetched over a real connection that breaks, imported, verified."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from raymetrics.errors import ExtractorError, StorageUnavailable
from raymetrics.weights.download import fetch_weights, locate_or_download
from raymetrics.weights.inventory import (
    fetch_named,
    import_known_file,
    list_entries,
    verify_local_files,
)
from raymetrics.weights.known_files import KNOWN_WEIGHTS
from raymetrics.weights.locate import WeightsFile, require_valid, weights_folder
from raymetrics.weights.state_dict import load_into_network, read_state, state_digest
from tests.helpers.disks import limit_file_size

CONTENT = np.random.default_rng(0).bytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT, late if asked; breaks the first connection after `cut` bytes; may know no
    ranges."""

    daemon_threads = True
    cut: int | None = None
    ranges = True
    late = 0.0  # seconds
    content = CONTENT

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []  # the Range of every request

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/net.pth"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        start = int(re.findall(r"bytes=(\d+)-", wanted)[0]) if wanted and self.server.ranges else 0
        if start and start >= len(self.server.content):
            return self.send_error(416)
        rest = self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        time.sleep(self.server.late)
        cut, self.server.cut = self.server.cut, None
        self.wfile.write(rest[:cut])
        return None

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = Server()
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("RAYMETRICS_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


def files_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.suffix != ".lock")


def test_a_file_is_fetched_once(server, folder) -> None:
    weights = WeightsFile("net.pth", SHA256, url=server.url)
    seen = []
    found = fetch_weights(weights, lambda here, total: seen.append((here, total)))
    assert (found.path, found.sha256, found.published) == (folder / "net.pth", SHA256, True)
    assert found.path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert fetch_weights(weights) == locate_or_download([weights]) == found
    assert server.asked == [None]
    assert files_in(folder) == ["net.pth"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_goes_on_where_it_stopped(server, folder, ranges) -> None:
    server.cut, server.ranges = 1_200_000, ranges
    weights = WeightsFile("net.pth", SHA256, url=server.url)
    with pytest.raises(ExtractorError, match="connection ended after 1200000 of 3000000 bytes"):
        fetch_weights(weights)
    assert files_in(folder) == ["net.pth.part"]
    assert fetch_weights(weights).path.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1200000-"]
    assert files_in(folder) == ["net.pth"]


def test_a_whole_download_that_was_not_yet_named(server, folder) -> None:
    folder.mkdir()
    (folder / "net.pth.part").write_bytes(CONTENT)
    assert (
        fetch_weights(WeightsFile("net.pth", SHA256, url=server.url)).path.read_bytes() == CONTENT
    )
    assert files_in(folder) == ["net.pth"]


def test_a_wrong_file_is_thrown_away(server, folder) -> None:
    wrong = WeightsFile("net.pth", "0" * 64, url=server.url)
    with pytest.raises(ExtractorError, match=f"{SHA256[:12]}.*expected 000000000000.*thrown away"):
        fetch_weights(wrong)
    assert files_in(folder) == []
    # So is one of which a wrong part was here.
    (folder / "net.pth.part").write_bytes(b"other")
    with pytest.raises(ExtractorError, match="thrown away"):
        fetch_weights(WeightsFile("net.pth", SHA256, url=server.url))
    assert files_in(folder) == []


def test_no_room_passes_and_the_download_goes_on(server, folder, tmp_path) -> None:
    weights = WeightsFile("net.pth", SHA256, url=server.url)
    with (
        limit_file_size(1_200_000),
        pytest.raises(StorageUnavailable, match="cannot download .*: no room"),
    ):
        fetch_weights(weights)
    assert fetch_weights(weights).path.read_bytes() == CONTENT
    (folder / "net.pth").rename(tmp_path / "net.pth")
    with (
        limit_file_size(1_200_000),
        pytest.raises(StorageUnavailable, match="cannot copy .*: no room"),
    ):
        import_known_file(str(tmp_path / "net.pth"), {"net": (weights,)})
    assert files_in(folder) == []


def test_without_network(folder) -> None:
    weights = WeightsFile("net.pth", SHA256, url="http://127.0.0.1:9/net.pth")
    with pytest.raises(ExtractorError) as raised:
        locate_or_download([weights])
    assert re.search(
        f"cannot download {weights.url} to {folder}/net.pth:.*refused", str(raised.value)
    )
    assert "copy the file there, or name one: '?weights=PATH'" in str(raised.value)


def test_a_server_that_does_not_have_it(server, folder) -> None:
    server.content = b""
    (folder).mkdir()
    (folder / "net.pth.part").write_bytes(b"a start")
    with pytest.raises(ExtractorError, match="has SHA-256"):
        fetch_weights(WeightsFile("net.pth", SHA256, url=server.url))
    assert files_in(folder) == []


def test_a_folder_that_cannot_be_made(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RAYMETRICS_WEIGHTS", str(tmp_path / "file" / "weights"))
    with pytest.raises(ExtractorError, match="cannot download .*Not a directory"):
        fetch_weights(WeightsFile("net.pth", SHA256, url="http://127.0.0.1:9/net.pth"))
    source = tmp_path / "net.pth"
    source.write_bytes(CONTENT)
    with pytest.raises(ExtractorError, match="cannot copy .*Not a directory.*RAYMETRICS_WEIGHTS"):
        import_known_file(str(source), {"net": (WeightsFile("net.pth", SHA256),)})


def test_nothing_is_fetched_without_a_digest(server, folder) -> None:
    with pytest.raises(ExtractorError, match="no digest of it was published.*get it from http"):
        locate_or_download([WeightsFile("net.pth", None, url=server.url)])
    with pytest.raises(ExtractorError, match="cannot be downloaded; no digest"):
        fetch_weights(WeightsFile("net.pth", None, url=server.url))
    assert server.asked == []


def test_two_processes_fetch_it_once(server, folder) -> None:
    server.late = 1.0  # so that both are there before the first has ended
    program = (
        "from raymetrics.weights.download import fetch_weights\n"
        "from raymetrics.weights.locate import WeightsFile\n"
        f"print(fetch_weights(WeightsFile('net.pth', {SHA256!r}, url={server.url!r})).sha256)"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [p.communicate(timeout=60)[0].strip() for p in processes] == [SHA256] * 2
    assert server.asked == [None]


def test_the_first_that_is_here_serves(folder, server) -> None:
    files = (WeightsFile("a.pth", SHA256, url=server.url), WeightsFile("b.pth", None))
    folder.mkdir()
    (folder / "b.pth").write_bytes(b"b")
    found = locate_or_download(files)
    assert (found.path.name, found.published) == ("b.pth", False)
    other = folder / "named.pth"
    other.write_bytes(CONTENT)
    assert locate_or_download(files, str(other)).published  # by its digest, whatever its name
    with pytest.raises(ExtractorError, match="no weights at missing.pth"):
        locate_or_download(files, "missing.pth")
    assert server.asked == []


def catalogue(server: Server | None = None) -> dict[str, tuple[WeightsFile, ...]]:
    url = server.url if server else None
    return {
        "net": (WeightsFile("manual.pt", None), WeightsFile("net.pth", SHA256, url=url)),
        "packaged": (WeightsFile("lost.pth", "1" * 64, lambda: Path("nowhere/lost.pth")),),
    }


def test_import_by_digest_or_by_name(tmp_path, folder) -> None:
    renamed = tmp_path / "renamed.bin"
    renamed.write_bytes(CONTENT)
    assert import_known_file(str(renamed), catalogue()).path == folder / "net.pth"
    manual = tmp_path / "manual.pt"
    manual.write_bytes(b"as it may be")
    found = import_known_file(str(manual), catalogue())
    assert (found.path, found.published) == (folder / "manual.pt", False)
    assert files_in(folder) == ["manual.pt", "net.pth"]
    assert (folder / "net.pth").read_bytes() == CONTENT


def test_imports_that_are_refused(tmp_path, folder) -> None:
    damaged = tmp_path / "net.pth"
    damaged.write_bytes(CONTENT[:-1])
    with pytest.raises(ExtractorError, match="but net.pth has .*damaged or another version"):
        import_known_file(str(damaged), catalogue())
    unknown = tmp_path / "other.pth"
    unknown.write_bytes(b"other")
    with pytest.raises(ExtractorError, match="none of the known files.*weights=PATH"):
        import_known_file(str(unknown), catalogue())
    with pytest.raises(ExtractorError, match="no file"):
        import_known_file(str(tmp_path / "missing.pth"), catalogue())
    assert not folder.exists()


def test_fetch_by_name(server, folder) -> None:
    known = catalogue(server)
    assert fetch_named("net", known=known).path == folder / "net.pth"
    assert fetch_named("net.pth", known=known).path == folder / "net.pth"
    with pytest.raises(ExtractorError, match="weights manual.pt not found.*copy it to"):
        fetch_named("manual.pt", known=known)
    with pytest.raises(ExtractorError, match="no extractor or file 'vgg'.*there are net, packaged"):
        fetch_named("vgg", known=known)


def test_what_is_here_and_whether_it_is_right(folder) -> None:
    assert not list(verify_local_files(catalogue()))
    folder.mkdir()
    (folder / "manual.pt").write_bytes(b"anything")
    (folder / "net.pth").write_bytes(CONTENT)
    rows = {e.weights.name: (e.extractor, e.path) for e in list_entries(catalogue())}
    assert rows == {
        "manual.pt": ("net", folder / "manual.pt"),
        "net.pth": ("net", folder / "net.pth"),
        "lost.pth": ("packaged", None),
    }
    verdicts = {v.entry.weights.name: v for v in verify_local_files(catalogue())}
    assert not any(v.problem for v in verdicts.values())
    assert [v.located.published for v in verdicts.values()] == [False, True]
    (folder / "net.pth").write_bytes(CONTENT[::-1])
    problem = [v for v in verify_local_files(catalogue()) if v.problem]
    assert [v.entry.weights.name for v in problem] == ["net.pth"]
    assert "damaged or another version" in str(problem[0].problem)


def test_known_files_can_be_told_apart() -> None:
    by_name: dict[str, str | None] = {}
    for entry in list_entries():
        weights = entry.weights
        assert by_name.setdefault(weights.name, weights.sha256) == weights.sha256
        assert weights.sha256 is None or re.fullmatch("[0-9a-f]{64}", weights.sha256)
        assert weights.url or weights.locate
    assert {"inception", "efficientnet-lite0"} <= KNOWN_WEIGHTS.keys()


def test_home(monkeypatch) -> None:
    monkeypatch.delenv("RAYMETRICS_WEIGHTS")
    assert weights_folder() == Path.home() / ".cache" / "raymetrics" / "weights"
    with pytest.raises(ExtractorError, match="copy it to"):
        require_valid(WeightsFile("never-published.pth", None))


STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.running_var": torch.ones(3)}


def test_containers_of_the_same_tensors(tmp_path) -> None:
    path = tmp_path / "weights"
    found = []
    for write in (
        lambda: save_file(STATE, path),
        lambda: torch.save(STATE, path),
        lambda: torch.save(STATE, path, _use_new_zipfile_serialization=False),
        lambda: torch.save({k: v.half() for k, v in STATE.items()}, path),
        lambda: torch.save(dict(reversed(STATE.items())), path),
        lambda: torch.save(STATE | {"a.num_batches_tracked": torch.tensor(5)}, path),
    ):
        write()
        found.append(state_digest(read_state(path)))
        path.unlink()
    assert set(found) == {state_digest(STATE)}
    changed = STATE | {"a.running_var": torch.tensor([1.0, 1.0, 1.0000001])}
    assert state_digest(changed) != state_digest(STATE)
    assert state_digest({"b.weight": STATE["a.weight"]}) != state_digest(
        {"a.weight": STATE["a.weight"]}
    )


def test_a_state_inside_of_more(tmp_path) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save({"state_dict": {f"module.{k}": v for k, v in STATE.items()}, "epoch": 3}, path)
    assert state_digest(read_state(path, entry="state_dict", prefix="module.")) == state_digest(
        STATE
    )
    with pytest.raises(ExtractorError, match="entry 'ema', are not tensors by their names"):
        read_state(path, entry="ema")
    with pytest.raises(ExtractorError, match=r"checkpoint.pth are not tensors by their names"):
        read_state(path)


@pytest.mark.parametrize("kept", [0, 4, 9, 100, -1])
@pytest.mark.parametrize("kind", ["safetensors", "zip", "old"])
def test_cut_files(tmp_path, kind, kept) -> None:
    path = tmp_path / "net.pth"
    if kind == "safetensors":
        save_file(STATE, path)
    else:
        torch.save(STATE, path, _use_new_zipfile_serialization=kind == "zip")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ExtractorError, match="net.pth"):
        read_state(path)


def test_a_state_that_does_not_fit() -> None:
    network = torch.nn.Linear(3, 2)
    before = network.weight.clone()
    state = {"weight": torch.zeros(2, 4), "gain": torch.zeros(1)}
    with pytest.raises(ExtractorError) as raised:
        load_into_network(network, state, "net.pth")
    assert (
        "weights at net.pth are not those of this network (1 missing: bias; 1 unexpected: gain; "
        "1 misshapen: weight [2, 4] instead of [2, 3]); give" in str(raised.value)
    )
    assert torch.equal(network.weight, before)
