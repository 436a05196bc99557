"""Two metrics of your own beside FID: a function of arrays, and a class of merged statistics.

    python examples/custom_metric.py FOLDER [SAMPLES]

On the command line they are `--metrics fid,custom_metric:quantile_distance`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

import raymetrics as rm
from raymetrics.statistics import Moments


def quantile_distance(real: np.ndarray, generated: np.ndarray) -> float:
    """Return the mean difference of quantiles, feature by feature; float32 [n, d], [m, d]."""
    shares = np.linspace(0, 1, 101)
    quantiles = [np.quantile(side, shares, axis=0) for side in (real, generated)]
    return float(np.abs(quantiles[0] - quantiles[1]).mean())


class MeanDistance:
    """The distance between the means, from statistics that are computed shard by shard."""

    name = "mean distance"

    def needs(self, side: str) -> Mapping[str, Callable[[np.ndarray, np.ndarray], Moments]]:
        """Return the statistics of a side: functions of a block's sample ids and features."""
        return {"moments": lambda sample_ids, features: Moments.from_samples(features)}

    def compute(self, real: Mapping[str, Moments], generated: Mapping[str, Moments]) -> float:
        """Return the Euclidean distance between the means of the merged statistics."""
        return float(np.linalg.norm(real["moments"].mean - generated["moments"].mean))


def main(folder: str, samples: str = "0-999") -> None:
    """Extract real and generated digits, and print all three distances."""
    for source, place in (("mnist", "real"), ("digits", "generated")):
        rm.extract(source, "digits", f"{folder}/{place}", samples)
    own = ["custom_metric:quantile_distance", "custom_metric:MeanDistance"]
    for result in rm.evaluate(
        real=f"{folder}/real", generated=f"{folder}/generated", metrics=["fid", *own]
    ):
        print(f"{result.label:40} {result.value:.5g}")


if __name__ == "__main__":
    # Workers import this file by its name, so its folder must be on the Python path.
    sys.path.insert(0, str(Path(__file__).parent))
    main(*sys.argv[1:])
