"""A store that is slow, overloaded, full, late, or away: injected faults on fsspec's memory."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
    SSLError,
)

from raymetrics.errors import ShardError, StorageError, StorageUnavailable, TemporaryFailure
from raymetrics.shards import store_retries
from raymetrics.shards.store import Store
from raymetrics.shards.store_remote import RangedFile, storage_options, upload_options
from raymetrics.uris import find_secret
from tests.conftest import write_set


def answered(status: int, code: str) -> ClientError:
    """What botocore raises for an answer of S3."""
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "PutObject")


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


REFUSED = EndpointConnectionError(endpoint_url="http://x")
PASSING = [
    answered(503, "SlowDown"),
    answered(500, "InternalError"),
    answered(409, "ConditionalRequestConflict"),
    answered(400, "RequestTimeout"),
    caused(OSError(errno.EIO, "as s3fs says it"), answered(502, "BadGateway")),
    caused(EndpointConnectionError(endpoint_url="http://x"), ConnectionRefusedError()),
    ReadTimeoutError(endpoint_url="http://x"),
    CredentialRetrievalError(provider="a role", error_msg="no answer"),
    TimeoutError(),
    ConnectionResetError(),
    OSError(errno.ESTALE, "a network's disk"),
    caused(OSError("no answer"), socket.gaierror(socket.EAI_AGAIN, "later")),
]
FINAL = [
    (answered(403, "AccessDenied"), "403 .*the credentials in the environment do not allow it"),
    (answered(400, "InvalidRequest"), "400 .*expected a place that can be read and written"),
    (NoCredentialsError(), "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    (SSLError(endpoint_url="https://x", error="expired"), "SSLError"),
    (caused(REFUSED, socket.gaierror(socket.EAI_NONAME, "")), "no such host: see AWS_ENDPOINT"),
    (caused(FileNotFoundError(), answered(404, "NoSuchBucket")), "no such bucket: create it"),
    (OSError(errno.EIO, "a broken disk"), "a broken disk"),
]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv(store_retries.PATIENCE_VARIABLE, "0.5")
    monkeypatch.setattr(store_retries, "FIRST_PAUSE", 0.01)
    fs = fsspec.filesystem("memory")
    yield Store("memory://of-stores/set")
    fs.rm("/of-stores", recursive=True) if fs.exists("/of-stores") else None


def failing(monkeypatch: pytest.MonkeyPatch, store: Store, method: str, *errors: Exception) -> None:
    """The file system's method raises these first, one a call."""
    works, left = getattr(store.fs, method), list(errors)

    def fails(*args: Any, **options: Any) -> Any:
        if left:
            raise left.pop(0)
        return works(*args, **options)

    monkeypatch.setattr(store.fs, method, fails)


@pytest.mark.parametrize("error", PASSING, ids=lambda e: type(e).__name__)
def test_what_may_pass_is_tried_again(store, monkeypatch, error) -> None:
    failing(monkeypatch, store, "pipe_file", error)
    assert store.create("a", b"data")
    failing(monkeypatch, store, "cat_file", error)
    assert store.read("a") == b"data"
    failing(monkeypatch, store, "ls", error)
    assert store.names() == {"a": 4}
    assert store.retries == 3


@pytest.mark.parametrize(("error", "message"), FINAL, ids=lambda x: type(x).__name__)
def test_what_does_not_pass_fails_at_once(store, monkeypatch, error, message) -> None:
    operations: dict[str, Callable[[], object]] = {
        "pipe_file": lambda: store.create("a", b""),
        "cat_file": lambda: store.read("a"),
        "ls": store.names,
    }
    for method, operation in operations.items():
        failing(monkeypatch, store, method, error)
        with pytest.raises(StorageError, match=message) as raised:
            operation()
        assert not isinstance(raised.value, TemporaryFailure)
    assert store.retries == 0


def test_patience_ends(store, monkeypatch) -> None:
    failing(monkeypatch, store, "pipe_file", *[answered(503, "SlowDown")] * 99)
    with pytest.raises(StorageUnavailable, match=r"write a to memory.*503.*tried for 0 s.*again"):
        store.create("a", b"data")
    assert 0 < store.retries < 99
    monkeypatch.setenv(store_retries.PATIENCE_VARIABLE, "soon")
    with pytest.raises(StorageError, match="RAYMETRICS_PATIENCE_S is 'soon'; expected seconds"):
        Store("memory://of-stores/set")


def test_an_outage_is_told_once(store, monkeypatch, caplog) -> None:
    monkeypatch.setattr("raymetrics.shards.store.WARN_AFTER", 0)
    failing(monkeypatch, store, "cat_file", *[ConnectionRefusedError("nobody listens")] * 3)
    assert store.read("a") is None
    (told,) = caplog.messages
    assert "cannot read a from memory://of-stores/set yet: ConnectionRefused" in told


def test_pauses_grow_differ_and_end(monkeypatch) -> None:
    clock, slept = [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr("time.sleep", sleep)
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    assert [*store_retries.backoff(300)][-1] == pytest.approx(300)
    assert len(slept) < 40
    assert slept[0] < 0.4
    assert 10 < max(slept) <= 1.5 * store_retries.LONGEST_PAUSE
    assert len(set(slept)) == len(slept)


def test_a_write_that_was_done_though_it_failed(store, monkeypatch) -> None:
    """The second attempt finds the first one's file, whole."""
    puts = store.fs.pipe_file

    def writes_and_fails(path: str, data: bytes, **options: Any) -> None:
        monkeypatch.setattr(store.fs, "pipe_file", puts)
        puts(path, data, **options)
        raise answered(503, "SlowDown")

    monkeypatch.setattr(store.fs, "pipe_file", writes_and_fails)
    assert not store.create("a", b"data")
    assert store.read("a") == b"data"


def test_a_condition_that_is_told_by_its_status_alone(store, monkeypatch) -> None:
    failing(monkeypatch, store, "pipe_file", answered(412, "PreconditionFailed"))
    assert not store.create("a", b"data")


def test_a_full_store(store, monkeypatch) -> None:
    failing(monkeypatch, store, "pipe_file", answered(507, "XMinioStorageFull"))
    with pytest.raises(StorageUnavailable, match="no space left.*free space, or choose another"):
        store.create("a", b"")
    assert store.retries == 0


def test_there_asks_for_each_name(store, monkeypatch) -> None:
    names = [f"{k}" for k in range(25)]
    for name in names:
        store.create(name, b"x")
    failing(monkeypatch, store, "cat_file", *[ConnectionResetError()] * 5)
    assert store.find_existing([*names, "other"]) == set(names)
    assert store.find_existing([]) == set()


def test_shards_are_read_in_ranges_through_failures(store, monkeypatch, rng) -> None:
    features = rng.normal(size=(100, 6)).astype(np.float32)
    write_set(store.uri, {"pre_logits": features})
    failing(monkeypatch, store, "cat_file", *[ReadTimeoutError(endpoint_url="x")] * 2)
    with store.open("samples-000000000000-000000000099.parquet") as file:
        table = pq.ParquetFile(file, pre_buffer=True).read()
    found = table["made_up_pre_logits"].chunk(0).to_numpy_ndarray()
    np.testing.assert_array_equal(found, features)
    assert store.retries == 2
    failing(monkeypatch, store, "cat_file", *[answered(503, "SlowDown")] * 99)
    with (
        store.open("samples-000000000000-000000000099.parquet") as file,
        pytest.raises(StorageUnavailable, match="cannot read samples-"),
    ):
        pq.ParquetFile(file)
    with pytest.raises(FileNotFoundError, match="no b in memory://of-stores/set"):
        store.open("b")


def test_a_ranged_file_is_a_file() -> None:
    data = bytes(range(50))
    with RangedFile(lambda a, b: data[a:b], len(data)) as file:
        assert (file.read(3), file.tell()) == (data[:3], 3)
        assert (file.seek(-5, 2), file.read()) == (45, data[45:])
        assert (file.read(4), file.seek(2, 1), file.read(1)) == (b"", 52, b"")
        file.seek(10)
        into = bytearray(4)
        assert (file.readinto(into), bytes(into)) == (4, data[10:14])


def test_removing_what_is_not_there(store) -> None:
    store.create("a", b"")
    store.remove("a")
    store.remove("a")
    assert store.names() == {}


def test_one_request_for_a_shard() -> None:
    class Remote:
        async_impl = True
        protocol = ("s3", "s3a")

    shard, huge = upload_options(Remote, 512 * 2**20), upload_options(Remote, 6 * 2**30)
    assert shard["chunksize"] > 512 * 2**20
    assert "chunksize" not in huge
    assert huge["timeout"] > shard["timeout"] > 512
    assert upload_options(fsspec.filesystem("memory"), 5) == {}


def test_what_a_user_has_configured_stays(monkeypatch) -> None:
    assert storage_options("s3://b/x")["config_kwargs"]["read_timeout"] == 60
    monkeypatch.setitem(fsspec.config.conf, "s3", {"config_kwargs": {"read_timeout": 7}})
    made = storage_options("s3://b/x")["config_kwargs"]
    assert (made["read_timeout"], made["connect_timeout"]) == (7, 20)
    assert "config_kwargs" not in storage_options("gs://b/x")


SECRETS = [
    "s3://KEY:hunter2@bucket/set",
    "https://hunter2@host/a.zip",
    "simplecache::s3://KEY:hunter2@bucket/set",
    "https://b.s3.amazonaws.com/a.zip?X-Amz-Credential=a&X-Amz-Signature=hunter2",
    "https://a.blob.core.windows.net/c/x.zip?sv=2020&sig=hunter2",
    "s3://bucket/x.zip?secret=hunter2",
    "my:Model?api_key=hunter2",
]


@pytest.mark.parametrize("address", SECRETS)
def test_secrets_in_addresses(address, store) -> None:
    with pytest.raises(StorageError, match="has a secret in it.*environment") as raised:
        Store(address)
    assert "hunter2" not in str(raised.value)
    shards = write_set(store.uri, {"pre_logits": np.zeros((3, 2), np.float32)})
    before = store.read("dataset.json")
    for spec in (
        replace(shards.spec, source=address),
        replace(shards.spec, extractor_texts=(address,)),
    ):
        with pytest.raises(ShardError, match="has a secret in it") as refused:
            spec.to_json()
        assert "hunter2" not in str(refused.value)
    assert store.read("dataset.json") == before


@pytest.mark.parametrize(
    "address",
    [
        "s3://bucket/set", "abfs://container@account.dfs.core.windows.net/x", "photos?size=256",
        "digits?truncate=clamp:0.7", "my:Model?tokens=77&signal=3&keys=a", "/home/a@b:c/set",
        "set?ids=accepted.parquet", "network.pkl?noise=const",
    ],
)  # fmt: skip
def test_addresses_without_secrets(address) -> None:
    assert find_secret(address) is None


def test_a_store_that_is_not_installed() -> None:
    with pytest.raises(StorageError, match="oci://b/x: Install ocifs .* on every machine"):
        Store("oci://b/x")


def test_a_web_server_that_tells_no_sizes(store, monkeypatch) -> None:
    """A listing of links, and a file without Content-Length, as fsspec tells of them."""
    entry = {"name": "http://host/set/dataset.json", "size": None, "type": "file"}
    monkeypatch.setattr(store.fs, "ls", lambda *_, **__: [entry])
    monkeypatch.setattr(store.fs, "info", lambda *_, **__: entry)
    for ask in (store.names, lambda: store.open("dataset.json")):
        with pytest.raises(StorageError, match=r"does not tell the size of dataset\.json.*copy"):
            ask()
