"""A metric of your own beside FID, on the digits that come with raymetrics.

    python examples/custom_metric.py

The module that holds the metric is this file, so Python finds `custom_metric` beside the program.
In `raymetrics evaluate --metrics custom_metric:rank_distance` it is looked for in the folder in
which the command runs.
"""

from __future__ import annotations

import tempfile

import numpy as np

import raymetrics as rm
from raymetrics.statistics import Moments


def rank_distance(real: np.ndarray, generated: np.ndarray) -> float:
    """Return the mean difference between the sorted values of each feature: float [n, d] each."""
    quantiles = np.linspace(0, 1, 101)
    return float(
        np.abs(
            np.quantile(real, quantiles, axis=0) - np.quantile(generated, quantiles, axis=0)
        ).mean()
    )


class MeanDistance:
    """The distance between the means, from statistics that workers merge shard by shard."""

    name = "mean distance"

    def needs(self, side: str) -> dict:
        """Name the statistics of a side: functions of a block's sample ids and features."""
        return {"moments": lambda sample_ids, features: Moments.from_samples(features)}

    def compute(self, real: dict, generated: dict) -> float:
        """Return the Euclidean distance between the means of the merged statistics."""
        return float(np.linalg.norm(real["moments"].mean - generated["moments"].mean))


def main() -> None:
    """Extract two sets of digits, and print FID and both metrics."""
    with tempfile.TemporaryDirectory() as folder:
        for name, samples in (("real", "0-199"), ("generated", "200-399")):
            rm.extract("digits", "digits", to=f"{folder}/{name}", samples=samples)
        results = rm.evaluate(
            real=f"{folder}/real",
            generated=f"{folder}/generated",
            metrics=["fid", "custom_metric:rank_distance", "custom_metric:MeanDistance"],
        )
    for result in results:
        print(f"{result.label:50} {result.value:.4f}")


if __name__ == "__main__":
    main()
