"""cluster.yaml and rayjob.yaml: valid by Ray's and KubeRay's schemas, and enough for raymetrics."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import torch
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
REQUIRE_DRIVER = "jobs/require_driver.sh"
# By CUDA's major version the first driver that runs it: NVIDIA's table at
# https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
FIRST_DRIVERS = {11: 450, 12: 525, 13: 580}


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


def cuda_of_torch() -> Version:
    """The CUDA of the torch that pyproject.toml installs, also where torch here has none."""
    lock = (CHECKOUT / "requirements-dev.lock").read_text()
    [runtime] = re.findall(r"^nvidia-cuda-runtime==(\d+\.\d+)", lock, flags=re.MULTILINE)
    assert torch.version.cuda in (None, runtime)
    return Version(runtime)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("580.65.06", ""),
        ("595.91.07\n595.91.07", ""),
        ("570.211.01", "is 570.211.01, expected 580 or later"),
        ("99.9", "is 99.9, expected 580 or later"),
        ("NVIDIA-SMI has failed because", "but: NVIDIA-SMI has failed because; expected"),
        ("", "but: nothing; expected a GPU with driver 580"),
        (None, "not found; expected a GPU with driver 580"),
    ],
)
def test_an_old_driver_is_refused(answer: str | None, message: str, tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    if answer is not None:
        tool.write_text(f"#!/bin/sh\nprintf '%s\n' {shlex.quote(answer)}\n")
        tool.chmod(0o755)
    (tmp_path / "head").symlink_to("/usr/bin/head")
    done = subprocess.run(
        ["/bin/sh", CHECKOUT / REQUIRE_DRIVER],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == (1 if message else 0)
    assert message in done.stderr


def test_the_driver_that_is_required_runs_the_cuda_of_torch() -> None:
    script = (CHECKOUT / REQUIRE_DRIVER).read_text()
    [minimum] = re.findall(r"^MINIMUM=(\d+)$", script, flags=re.MULTILINE)
    cuda = cuda_of_torch()
    assert int(minimum) == FIRST_DRIVERS[cuda.major]
    for major, driver in FIRST_DRIVERS.items():
        assert re.search(rf"CUDA {major}\s+(?:#\s+)?needs\s+(?:#\s+)?{driver}", script)
    [required] = re.findall(
        r"^ENV NVIDIA_REQUIRE_CUDA=cuda>=(\S+)$",
        (CHECKOUT / "Dockerfile").read_text(),
        flags=re.MULTILINE,
    )
    assert Version(required) == cuda


def test_every_worker_looks_at_its_driver() -> None:
    assert f"sh /home/ray/checkout/{REQUIRE_DRIVER}" in cluster()["worker_setup_commands"]
    assert read("cluster.yaml")["file_mounts"] == {"/home/ray/checkout": "."}
    [group] = read("rayjob.yaml")["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    pod = group["template"]["spec"]
    [first], [worker] = pod["initContainers"], pod["containers"]
    assert first["command"] == ["sh", f"/home/ray/checkout/{REQUIRE_DRIVER}"]
    assert first["image"] == worker["image"]
    assert first["resources"]["limits"].items() <= worker["resources"]["limits"].items()


def test_no_machine_of_aws_has_the_image_of_ray() -> None:
    """Ray's own choice has Ubuntu 18.04 and CUDA 11.2; an ImageId goes to EC2 as it is."""
    for kind in cluster()["available_node_types"].values():
        image = kind["node_config"]["ImageId"]
        assert re.fullmatch(r"resolve:ssm:/aws/service/deeplearning/\S+/ami-id|ami-\w+", image)
