"""Describe what a number was computed with, and fingerprint specifications."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import subprocess
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path

_PACKAGES = (
    "raymetrics",
    "numpy",
    "scipy",
    "torch",
    "torchvision",
    "open_clip_torch",
    "timm",
    "pillow",
    "faiss-cpu",
    "faiss-gpu",
    "ray",
    "pyarrow",
)


def canonical_json(value: object) -> str:
    """Return one text for equal JSON values: sorted keys, no spaces. Raise ValueError for NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def fingerprint(spec: Mapping[str, object]) -> str:
    """Return the SHA-256 of a specification, in hexadecimal digits."""
    return hashlib.sha256(canonical_json(spec).encode()).hexdigest()


def _package_versions() -> dict[str, str]:
    """Return the versions of Python and of the installed packages that numbers depend on."""
    by_package = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            by_package[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return by_package


@cache
def _git_revision() -> str | None:
    """Return the git revision of this source tree, with "-dirty" if it was changed; None outside a
    checkout.
    """
    package_folder = Path(__file__).parent
    command = ["git", "-C", str(package_folder), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    tracked = (package_folder.parent / ".git").exists()
    return process.stdout.strip() or None if tracked and process.returncode == 0 else None


@cache
def processor_name() -> str:
    """Return the processor, on Linux as "AMD EPYC 9654 (family 25, model 17)".

    Family and model are there since virtual machines often hide the name of the model. On other
    systems return the name that Python has.
    """
    try:
        first = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
    except OSError:
        first = ""
    pairs = (line.partition(":") for line in first.splitlines())
    facts = {name.strip(): " ".join(value.split()) for name, _, value in pairs}
    if "model name" not in facts:
        return platform.processor() or platform.machine()
    return "{model name} (family {cpu family}, model {model})".format_map(defaultdict(str, facts))


def software_environment() -> dict[str, object]:
    """Return versions, revision and machine, which every result carries."""
    return {
        "versions": _package_versions(),
        "revision": _git_revision(),
        "machine": f"{platform.system()} {platform.machine()}",
    }
