"""Shard sets in an object store that is real, slow, down, and late with its listings."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from click.testing import CliRunner, Result

from raymetrics.cli import main
from raymetrics.distributed.extraction.extract import extract
from raymetrics.distributed.extraction.progress import Progress
from raymetrics.distributed.resources import Resources
from raymetrics.distributed.session import session
from raymetrics.errors import ShardError, StorageError, StorageUnavailable
from raymetrics.shards.layout import shard_name
from raymetrics.shards.shard_set import ShardSet, open_shards
from raymetrics.shards.store import Store
from tests.conftest import write_set
from tests.helpers.object_store import SECRET

pytest_plugins = ["tests.helpers.object_store.fixture"]

ONE = Resources(actors=1, batch=16)
EXTRACT = ("extract", "digits", "--extractor", "digits", "--shard-rows", "40", "--batch", "16")


def digits(to: str, samples: str, progress: Callable[[Progress], None] | None = None) -> ShardSet:
    more = {"shard_rows": 40, "resources": ONE, "progress": progress}
    return extract("digits", ["digits"], to, samples, **more).shards


def files(uri: str) -> dict[str, bytes]:
    """What lies in a set, apart from where and when it was made."""
    store = Store(uri)
    return {name: store.read(name) or b"" for name in store.names() if name.startswith("samples")}


def written(uri: str, names: Iterable[str]) -> dict[str, object]:
    """When each of these files was written, as the store says."""
    store = Store(uri)
    found = {name: store.fs.info(store.path(name)) for name in names}
    return {name: (info["ETag"], info["LastModified"]) for name, info in found.items()}


def after_first(action: Callable[[], object]) -> Callable[[Progress], None]:
    """Tells progress to the action, once."""
    done: list[object] = []

    def tell(progress: Progress) -> None:
        if not done:
            done.append(action())

    return tell


@pytest.fixture(scope="module")
def no_ray() -> Iterator[None]:
    """Samples are made in this process."""
    with session(local=True):
        yield


@pytest.fixture(scope="module")
def local(no_ray: None, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A set of 200 samples on the disk, undisturbed."""
    return digits(str(tmp_path_factory.mktemp("local")), "0-199").uri


def test_files_are_there_whole_or_not_at_all(bucket) -> None:
    store = Store(f"{bucket}/set")
    assert store.names() == {}
    assert store.read("a") is None
    assert store.create("a", b"first")
    assert not store.create("a", b"second")
    assert (store.read("a"), store.names()) == (b"first", {"a": 5})
    store.replace("a", b"third")
    with store.open("a") as file:
        file.seek(-2, 2)
        assert file.read() == b"rd"
    assert store.find_existing(["a", "b"]) == {"a"}
    store.remove("a")
    assert store.names() == {}
    assert store.retries == 0


def test_a_large_shard_is_one_conditional_request(bucket) -> None:
    """s3fs by itself would send parts from 100 MiB on, which a worker that dies leaves behind."""
    store, data = Store(bucket), bytes(100 * 2**20)
    assert store.create("large", data)
    assert "-" not in store.fs.info(store.path("large"))["ETag"]  # as of parts
    assert not store.create("large", b"other" + data)
    assert store.names() == {"large": len(data)}


def test_what_is_wrong_with_a_request_is_told_at_once(bucket, monkeypatch) -> None:
    with pytest.raises(StorageError, match=r"list s3://no-such/set: .*no such bucket: create it"):
        Store("s3://no-such/set").names()
    with pytest.raises(StorageError, match=r"list s3://no-such/set: .*no such bucket"):
        open_shards("s3://no-such/set")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(StorageError, match=r"list .*403 .*credentials in the environment do not"):
        Store(bucket).names()
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(StorageError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        Store(bucket).names()


def test_the_same_bytes_from_a_store_that_sleeps(swift, bucket, local) -> None:
    """It accepts connections and answers nothing, or 503, for three seconds."""

    def sleep() -> None:
        swift.signal("object", signal.SIGSTOP)
        threading.Timer(3, swift.signal, ("object", signal.SIGCONT)).start()

    shards = digits(f"{bucket}/set", "0-199", after_first(sleep))
    assert files(shards.uri) == files(local)
    assert shards.digest == open_shards(local).digest
    assert shards.seal is not None


def test_a_store_that_stays_away(swift, bucket, local, monkeypatch) -> None:
    to = f"{bucket}/set"
    monkeypatch.setenv("RAYMETRICS_PATIENCE_S", "1")
    with pytest.raises(StorageUnavailable, match=rf"{to}: .*tried for 1 s.*the same command"):
        digits(to, "0-199", after_first(lambda: swift.kill("object")))
    stopped = invoke(*EXTRACT, "--to", to, "--samples", "0-199")
    assert (stopped.exit_code, stopped.stderr.count("\n")) == (75, 1)
    assert f"error: cannot read dataset.json from {to}" in stopped.stderr
    swift.start("object")
    monkeypatch.setenv("RAYMETRICS_PATIENCE_S", "60")
    there = Store(to).names()
    assert len(there) == 2
    before = written(to, there)
    done = invoke(*EXTRACT, "--to", to, "--samples", "0-199")
    assert done.exit_code == 0
    assert written(to, there) == before
    assert files(to) == files(local)


def test_a_listing_that_is_late(swift, bucket, local) -> None:
    """The container server is gone while shards are written: they are read, and not listed."""
    to, names = f"{bucket}/set", [shard_name(range(k, k + 40)) for k in range(0, 200, 40)]

    def break_and_mend(progress: Progress) -> None:
        if progress.rows == 40:
            swift.kill("container")
        if progress.rows == 200:
            swift.start("container")

    shards = digits(to, "0-199", break_and_mend)
    late = set(names) - set(Store(to).names())
    assert late == set(names[1:])
    assert [*map(shard_name, shards.present)] == names
    assert shards.seal is not None
    made = written(to, names)
    Store(to).remove("manifest.json")  # they are found without its promise
    again = extract("digits", ["digits"], to, "0-199", resources=ONE)
    assert (again.shards_made, again.shards_present) == (0, 5)
    swift.update_listings()
    assert set(names) <= set(Store(to).names())
    assert written(to, names) == made
    assert files(to) == files(local)


def test_a_flipped_byte(bucket) -> None:
    features = np.random.default_rng(7).normal(size=(100, 4)).astype(np.float32)
    shards = write_set(f"{bucket}/set", {"pre_logits": features}, shard_rows=50)
    shards.verify()
    np.testing.assert_array_equal(shards.read("made_up_pre_logits"), features)
    name = shard_name(range(50, 100))
    data = bytearray(shards.store.read(name) or b"")
    place = bytes(data).index(features[70].tobytes())
    data[place] ^= 1
    shards.store.replace(name, bytes(data))
    with pytest.raises(ShardError, match=rf"1 shards .*{name}; remove them and extract again"):
        open_shards(shards.uri).verify()
    found = CliRunner().invoke(main, ["inspect", "--verify", shards.uri])
    assert (found.exit_code, name in found.output) == (2, True)


def invoke(*arguments: str) -> Result:
    done = CliRunner().invoke(main, arguments)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """Where Ray puts its logs; its sockets must have short names."""
    folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_real_actors_and_no_secret_anywhere(swift, bucket, local, ray_folder) -> None:
    """The store sleeps for four seconds while actors write to it; credentials are in the
    environment and stay there."""
    to = f"{bucket}/set"
    command = [
        sys.executable,
        "-m",
        "raymetrics",
        *EXTRACT,
        "--to",
        to,
        "--samples",
        "0-199",
        "--ray",
    ]
    environment = {**os.environ, "RAY_TMPDIR": str(ray_folder)}
    run = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        while run.poll() is None and len(Store(to).names()) < 2:
            time.sleep(0.2)
        with swift.stopped("object"):
            time.sleep(4)
        output, _ = run.communicate(timeout=240)
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
    assert run.returncode == 0, output
    assert files(to) == files(local)
    logs = {path: path.read_bytes() for path in ray_folder.rglob("*") if path.is_file()}
    assert any(re.search("worker.*out|raylet", path.name) for path in logs)
    store = Store(to)
    stored = {Path(name): store.read(name) or b"" for name in store.names()}
    for path, data in {**logs, **stored, Path("output"): output.encode()}.items():
        assert SECRET.encode() not in data, path
