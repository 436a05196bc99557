"""What a number was made of: versions, revision, machine; and fingerprints of specifications."""

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

PACKAGES = (
    "raymetrics", "numpy", "scipy", "torch", "torchvision", "open_clip_torch", "timm", "pillow",
    "faiss-cpu", "faiss-gpu", "ray", "pyarrow",
)  # fmt: skip


def canonical(value: object) -> str:
    """One text for equal JSON values: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def fingerprint(spec: Mapping[str, object]) -> str:
    """SHA-256 of a specification, in hexadecimal digits."""
    return hashlib.sha256(canonical(spec).encode()).hexdigest()


def versions() -> dict[str, str]:
    """The versions of Python and of the installed packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@cache
def revision() -> str | None:
    """The git revision of this source tree, "-dirty" if changed; None if it is no checkout."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    tracked = (here.parent / ".git").exists()
    return found.stdout.strip() or None if tracked and found.returncode == 0 else None


@cache
def processor() -> str:
    """Name the processor as Linux tells it, "AMD EPYC 9654 (family 25, model 17)", as virtual
    machines keep the model's name to themselves; elsewhere what Python knows of it."""
    try:
        first = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
    except OSError:
        first = ""
    pairs = (line.partition(":") for line in first.splitlines())
    facts = {name.strip(): " ".join(value.split()) for name, _, value in pairs}
    if "model name" not in facts:
        return platform.processor() or platform.machine()
    return "{model name} (family {cpu family}, model {model})".format_map(defaultdict(str, facts))


def environment() -> dict[str, object]:
    """Versions, revision and machine, as every result carries them."""
    return {
        "versions": versions(),
        "revision": revision(),
        "machine": f"{platform.system()} {platform.machine()}",
    }
