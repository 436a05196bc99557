"""The memory that actors share is that of the machines on which they run."""

from __future__ import annotations

from typing import Any

import psutil
import pytest

from raymetrics.distributed import memory_limits, nodes
from raymetrics.distributed.nodes import tightest_machine
from raymetrics.distributed.resources import ClusterNode

GB = 10**9


def simulate_cluster(patch: Any, *machines: tuple[ClusterNode, int]) -> None:
    """A cluster whose driver is on a machine of 1 TB that is not in it."""
    memory = psutil.virtual_memory()._replace(total=1000 * GB, available=900 * GB)
    patch.setattr(psutil, "virtual_memory", lambda: memory)
    patch.setattr(nodes, "uses_ray", lambda: True)
    patch.setattr(nodes, "_machine_memory", lambda measure: [*machines])


def test_the_machine_with_the_least_memory_for_an_actor_decides(monkeypatch) -> None:
    head, large, small = ClusterNode(0), ClusterNode(64, 8), ClusterNode(16, 2)
    simulate_cluster(monkeypatch, (head, 4 * GB), (large, 512 * GB), (small, 200 * GB))
    assert tightest_machine((10, 8.0, 1.0), "total") == (512 * GB, 8)
    simulate_cluster(monkeypatch, (head, 4 * GB), (large, 2048 * GB), (small, 200 * GB))
    assert tightest_machine((10, 8.0, 1.0), "total") == (200 * GB, 2)
    # An actor for every CPU: 64 on the large one.
    assert tightest_machine((80, 1.0, 0.0), "total") == (200 * GB, 16)


def test_one_machine_is_shared_by_all_actors(monkeypatch) -> None:
    simulate_cluster(monkeypatch, (ClusterNode(2), 24 * GB))
    assert tightest_machine((2, 1.0, 0.0), "total") == (1000 * GB, 2)
    assert tightest_machine((2, 1.0, 0.0), "available") == (900 * GB, 2)


def test_bases_fit_the_machines_of_actors_and_not_the_driver_s(monkeypatch) -> None:
    simulate_cluster(monkeypatch, *[(ClusterNode(8, 1), 32 * GB)] * 16, (ClusterNode(0), 8 * GB))
    monkeypatch.setattr(memory_limits, "search_resources", lambda: (16, 8.0, 1.0))
    monkeypatch.setattr(memory_limits, "gpu_bytes_for_features", lambda: 77e9)
    # 32 GB * 0.4 / (6 * 8192 bytes) are 260,416 rows.
    assert memory_limits.max_base_rows(2048) == 2**17


@pytest.mark.usefixtures("ray_session")
def test_a_cluster_measures_its_machines() -> None:
    """Of one machine: a task for each of several is run by tests/distributed/cluster's nodes."""
    ((node, memory),) = nodes._machine_memory("total")
    assert (node.cpus, memory) == (2, psutil.virtual_memory().total)
