"""The weights that are shipped with raymetrics; made by `python -m raymetrics.demo.train`."""

from __future__ import annotations

from pathlib import Path

from raymetrics.weights.locate import Weights

CHECKPOINTS = Path(__file__).parent


def shipped(name: str) -> Weights:
    """A file of this folder, with the digest that SHA256SUMS gives it."""
    lines = (CHECKPOINTS / "SHA256SUMS").read_text().splitlines()
    digests = {file: digest for digest, file in (line.split() for line in lines)}
    return Weights(name, digests[name], lambda: CHECKPOINTS / name, package="raymetrics")
