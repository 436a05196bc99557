"""One cluster of a head and two nodes for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from machines import Driver, Machines


@pytest.fixture(scope="session")
def cluster() -> Iterator[Machines]:
    """A head without CPUs, and nodes "one" and "two" with 1 CPU each. What a test removes, it adds
    again."""
    machines = Machines()
    try:
        for name in ("one", "two"):
            machines.add(name)
        yield machines
    finally:
        machines.stop()


@pytest.fixture(scope="session")
def driver(cluster: Machines) -> Iterator[Driver]:
    """A process that is connected to it."""
    process = Driver(cluster.address)
    yield process
    process.stop()
