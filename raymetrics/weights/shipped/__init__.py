"""The weights that come with raymetrics; made by `python -m raymetrics.demo.train`."""

from __future__ import annotations

from pathlib import Path

from raymetrics.weights.locate import WeightsFile

SHIPPED_FOLDER = Path(__file__).parent


def shipped_weights(name: str) -> WeightsFile:
    """Describe a file of this folder, with its digest in SHA256SUMS."""
    lines = (SHIPPED_FOLDER / "SHA256SUMS").read_text().splitlines()
    digests = {file: digest for digest, file in (line.split() for line in lines)}
    return WeightsFile(name, digests[name], lambda: SHIPPED_FOLDER / name, package="raymetrics")
