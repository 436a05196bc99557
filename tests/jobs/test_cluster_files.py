"""cluster.yaml and rayjob.yaml: valid by Ray's and KubeRay's schemas, and enough for raymetrics."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml
from click import Context
from packaging.requirements import Requirement
from packaging.version import Version
from ray.autoscaler._private.kuberay import autoscaling_config as kuberay
from ray.autoscaler._private.util import prepare_config, validate_config

from raymetrics.cli import main
from raymetrics.distributed.placement import plan_placement
from raymetrics.distributed.resources import UNKNOWN_SIZES, ClusterNode, Placement, Resources
from tests.helpers.head import CHECKOUT

SCHEMA = json.loads((Path(__file__).parent / "rayjob-schema.json").read_text())


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((CHECKOUT / name).read_text())


def cluster() -> dict[str, Any]:
    return prepare_config(read("cluster.yaml"))


def rayjob() -> dict[str, Any]:
    """The autoscaler's view of the cluster that rayjob.yaml describes."""
    asked = {"metadata": {"name": "of-the-job", "namespace": "default"}}
    spec = read("rayjob.yaml")["spec"]["rayClusterSpec"]
    return kuberay._derive_autoscaling_config_from_ray_cr({**asked, "spec": spec})


CONFIGS = pytest.mark.parametrize("config", [cluster, rayjob], ids=lambda f: f.__name__)


@CONFIGS
def test_ray_takes_the_file(config: Any) -> None:
    found = config()
    validate_config(found)
    with pytest.raises(jsonschema.ValidationError):
        validate_config({**found, "max_worker": 3})


def test_kuberay_takes_the_file() -> None:
    job = read("rayjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    validator = jsonschema.Draft202012Validator(SCHEMA)
    validator.validate(job["spec"])
    for wrong in ({"backoffLimit": "3"}, {"submissionModes": "SidecarMode"}):
        assert not validator.is_valid({**job["spec"], **wrong})


def test_ray_is_the_one_that_is_asked_for() -> None:
    [asked] = [
        Requirement(line.strip(' ",'))
        for line in (CHECKOUT / "pyproject.toml").read_text().splitlines()
        if line.strip().startswith('"ray[')
    ]
    spec = read("rayjob.yaml")["spec"]["rayClusterSpec"]
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    images = [group["template"]["spec"]["containers"][0]["image"] for group in groups]
    images.append(read("cluster.yaml")["docker"]["image"])
    versions = {
        spec["rayVersion"],
        *[image.partition(":")[2].partition("-")[0] for image in images],
    }
    [version] = versions
    assert Version(version) in asked.specifier
    assert Version(version).release[:2] == Version(ray.__version__).release[:2]


def workers(config: dict[str, Any]) -> list[ClusterNode]:
    """All machines that may come, but for the head, on which nothing is to compute."""
    types = dict(config["available_node_types"])
    assert types.pop(config["head_node_type"])["resources"]["CPU"] == 0
    return [
        ClusterNode(cpus=kind["resources"]["CPU"], gpus=kind["resources"].get("GPU", 0))
        for kind in types.values()
        for _ in range(kind["max_workers"])
    ]


def hosts(nodes: list[ClusterNode], placement: Placement) -> int:
    """How many of the workers' actors these machines take."""
    pool = placement.workers
    return sum(int(min(n.cpus / pool.cpus, n.gpus / pool.gpus) + 1e-9) for n in nodes)


@CONFIGS
def test_the_machines_are_what_raymetrics_asks_for(config: Any) -> None:
    nodes = workers(config())
    gpus = sum(node.gpus for node in nodes)
    assert 0 < gpus <= config()["max_workers"]
    there = plan_placement(nodes, UNKNOWN_SIZES, Resources(), 10_000)
    to_come = plan_placement(
        [ClusterNode(cpus=0)], UNKNOWN_SIZES, Resources(gpus=gpus), 10_000
    )  # the head is alone
    for placement in (there, to_come):
        assert placement.fused
        assert placement.workers.actors == gpus
        assert hosts(nodes, placement) >= gpus


def test_the_command_of_the_rayjob_is_right() -> None:
    job = read("rayjob.yaml")["spec"]
    python, script, *arguments = shlex.split(job["entrypoint"])
    assert python == "python"
    assert (CHECKOUT / "jobs" / Path(script).name).is_file()
    verb = main.commands[Path(script).stem]
    asked: Context = verb.make_context(script, arguments)
    assert asked.params["gpus"] == job["rayClusterSpec"]["workerGroupSpecs"][0]["replicas"]
    environment = yaml.safe_load(job["runtimeEnvYAML"])
    assert environment["env_vars"] == read("jobs/runtime_env.yaml")["env_vars"]
