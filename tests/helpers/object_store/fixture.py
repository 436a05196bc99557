"""Define the fixtures `swift` and `bucket`, see `tests.helpers.object_store`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from s3fs import S3FileSystem

from tests.helpers.object_store import SERVERS, Swift, running

NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def swift_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    """Run one Swift for all tests of this process."""
    with running(tmp_path_factory.mktemp("swift")) as swift:
        yield swift


@pytest.fixture
def swift(swift_servers: Swift, monkeypatch: pytest.MonkeyPatch) -> Iterator[Swift]:
    """Return the running Swift, with S3's settings in the environment, a minute of patience."""
    for name, value in swift_servers.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RAYMETRICS_PATIENCE_S", "60")
    S3FileSystem.clear_instance_cache()  # those of another environment
    yield swift_servers
    swift_servers.start(*(name for name in SERVERS if name not in swift_servers.running))
    S3FileSystem.clear_instance_cache()


@pytest.fixture
def bucket(swift: Swift) -> str:
    """Create an empty "s3://bucket" for one test."""
    name = f"bucket-{next(NUMBERS)}"
    S3FileSystem().call_s3("create_bucket", Bucket=name)
    return f"s3://{name}"
