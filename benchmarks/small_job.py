"""Time a small job from start to end beside torch-fidelity's program, in whole processes.

    python benchmarks/small_job.py [--real 260] [--generated 240]

Both programs get the same PNG images of 256 x 256 pixels and the same random weights of
Inception-V3, and compute FID, precision and recall with all cores. Wall clock of whole processes:
start, imports, weights, features, numbers. Fails if raymetrics takes longer than torch-fidelity, if
their numbers differ, or if one of the other limits below is passed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from raymetrics.extractors import inception
from raymetrics.extractors.random_weights import draw_random_weights

MAX_RATIO = 1.0  # of torch-fidelity's seconds
MAX_EVALUATE_SECONDS = 4.0  # of two small sets that are there
MAX_HELP_SECONDS = 0.3
SIZE = 256
BIN = Path(sys.executable).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real", type=int, default=260)
    parser.add_argument("--generated", type=int, default=240)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder / "real", arguments.real, 10)
        write_images(folder / "generated", arguments.generated, 60)
        weights = folder / "weights.pth"
        torch.save(draw_random_weights(inception.build_empty_inception(), 0), weights)
        failures = compare(folder, weights)
    if failures:
        sys.exit("; ".join(failures))


def write_images(folder: Path, count: int, contrast: int) -> None:
    """Write coarse random shapes with noise as PNG files."""
    folder.mkdir()
    rng = np.random.default_rng(contrast)
    for k in range(count):
        coarse = rng.integers(128 - contrast, 128 + contrast, (SIZE // 32, SIZE // 32, 3))
        noisy = coarse.repeat(32, 0).repeat(32, 1) + rng.normal(0, 8, (SIZE, SIZE, 3))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{k:05}.png")


def compare(folder: Path, weights: Path) -> list[str]:
    """Run both programs, print a table, and return what is worse than promised."""
    theirs, output = run_process(
        [BIN / "fidelity", "--input1", "generated", "--input2", "real", "--fid", "--prc",
         "--feature-extractor", "inception-v3-compat", "--feature-extractor-weights-path", weights,
         "--no-cache", "--silent", "--json"], folder,
    )  # fmt: skip
    expected = json.loads(re.findall(r"\{.*\}", output, re.DOTALL)[-1])
    evaluate = [BIN / "raymetrics", "evaluate", "--real", "real", "--generated", "generated",
                "--extractor", f"inception?weights={weights}", "--metrics", "fid,pr",
                "--convention", "torch-fidelity", "--keep", "kept", "--to"]  # fmt: skip
    ours, _ = run_process([*evaluate, "first.jsonl"], folder)
    again, _ = run_process([*evaluate, "second.jsonl"], folder)
    sides = {name.rpartition("-")[0]: name for name in os.listdir(folder / "kept")}
    present, _ = run_process(
        [BIN / "raymetrics", "evaluate", "--real", f"kept/{sides['real']}", "--generated",
         f"kept/{sides['generated']}", "--metrics", "fid,pr"], folder,
    )  # fmt: skip
    help_seconds, _ = run_process([BIN / "raymetrics", "--help"], folder)
    print(f"torch-fidelity, from images                  {theirs:7.1f} s")
    print(f"raymetrics evaluate, from images             {ours:7.1f} s   {ours / theirs:.2f}")
    print(f"  the same command again                     {again:7.1f} s   {again / theirs:.2f}")
    print(f"raymetrics evaluate, from shards             {present:7.1f} s")
    print(f"raymetrics --help                            {help_seconds:7.2f} s")
    return [
        *(["raymetrics is slower than torch-fidelity"] if ours > MAX_RATIO * theirs else []),
        *(["evaluate of shards is slow"] if present > MAX_EVALUATE_SECONDS else []),
        *(["--help is slow"] if help_seconds > MAX_HELP_SECONDS else []),
        *different_numbers(expected, folder / "first.jsonl"),
    ]


def run_process(command: Sequence[object], folder: Path) -> tuple[float, str]:
    """Return the seconds of a process and its output. Exit if it fails."""
    start = time.monotonic()
    environment = {key: v for key, v in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [*map(str, command)], cwd=folder, capture_output=True, text=True, env=environment
    )
    seconds = time.monotonic() - start
    if done.returncode:
        sys.exit(f"{command[0]} failed: {done.stderr[-2000:]}")
    return seconds, done.stdout


def different_numbers(expected: dict[str, float], file: Path) -> list[str]:
    """Return the metrics that differ between the programs by more than float32 does."""
    results = [json.loads(line) for line in file.read_text().splitlines()]
    actual = {result["metric"]: result["value"] for result in results}
    actual["frechet_inception_distance"] = actual.pop("frechet_distance")
    print(f"FD {actual['frechet_inception_distance']:.6f} and ", end="")
    print(f"{expected['frechet_inception_distance']:.6f}")
    return [
        f"{name} is {actual[name]}, torch-fidelity's {value}"
        for name, value in expected.items()
        if not np.isclose(actual[name], value, rtol=1e-3, atol=2e-3)
    ]


if __name__ == "__main__":
    main()
