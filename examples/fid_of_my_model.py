"""The Frechet distance of a generator of your own, against a data set.

    python examples/fid_of_my_model.py FOLDER [SAMPLES]

The generator here draws crude digits; put your model in its place. The feature network is a
classifier of digits that comes with raymetrics, so the number is called FD and not FID: for FID
write "inception" (which downloads 96 MB of weights once), and images of any size.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import raymetrics as rm
from raymetrics.results import append_results


class MyModel:
    """Replace this by your model: sample ids in, images out.

    `ckpt` is an option of the source, as in "fid_of_my_model:MyModel?ckpt=latest.pt". The object is
    made once in every worker, so load your network here.
    """

    def __init__(self, ckpt: str = "none") -> None:
        self.ckpt = ckpt

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        """int64 [n] -> uint8 [n, 3, 28, 28]. Image k must depend on k and on nothing else."""
        return np.stack([self.image(int(k)) for k in sample_ids])

    def image(self, k: int) -> np.ndarray:
        """Draw a white stroke on black, with noise that is seeded by the sample id."""
        rng = np.random.default_rng(k)
        angle, length = rng.uniform(0, np.pi), rng.uniform(5, 10)
        t = np.linspace(-length, length, 60)
        rows = (14 + t * np.sin(angle)).round().astype(int).clip(0, 27)
        columns = (14 + t * np.cos(angle)).round().astype(int).clip(0, 27)
        grey = rng.integers(0, 20, (28, 28))
        grey[rows, columns] = 255
        return np.repeat(grey[None], 3, axis=0).astype(np.uint8)


def main(folder: str, samples: str = "0-999") -> None:
    """Extract both sides, print the numbers, write a page."""
    real, generated = f"{folder}/real", f"{folder}/generated"
    rm.extract("mnist", ["digits"], real, samples)
    rm.extract("fid_of_my_model:MyModel?ckpt=latest", ["digits"], generated, samples)
    results = rm.evaluate(real=real, generated=generated, metrics=["fid", "pr"])
    for result in results:
        print(f"{result.label:20} {result.value:.5g}   {result.better} is better")

    append_results(results, f"{folder}/results.jsonl")
    page = rm.report(f"{folder}/results.jsonl", to=folder, run_code=True)  # it is our own code
    print(f"page: {page}")


if __name__ == "__main__":
    # Workers import this file by its name, so its folder must be on the Python path.
    sys.path.insert(0, str(Path(__file__).parent))
    main(*sys.argv[1:])
