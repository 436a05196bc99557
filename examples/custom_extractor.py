"""A feature network of your own: images in, features out.

    python examples/custom_extractor.py FOLDER [SAMPLES]

This one has no weights: the mean of each cell of a grid laid over the image. Put your network in
its place; numpy or torch may come out, and several outputs by name.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import raymetrics as rm


class Cells:
    """The mean brightness of cells x cells squares of an image.

    `cells` is an option: "custom_extractor:Cells?cells=4". Options come as text.
    """

    def __init__(self, cells: str = "7") -> None:
        self.cells = int(cells)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 [n, 3, h, w] -> float32 [n, cells * cells]. Row i must depend on image i alone."""
        n, _, height, width = images.shape
        h, w = height // self.cells, width // self.cells
        grey = images[:, :, : h * self.cells, : w * self.cells].mean(axis=1)
        means = grey.reshape(n, self.cells, h, self.cells, w).mean(axis=(2, 4))
        return (means / 255).reshape(n, -1).astype(np.float32)


def main(folder: str, samples: str = "0-999") -> None:
    """Extract with two settings of the extractor at once, and print the distance in each space."""
    ours = [f"custom_extractor:Cells?cells={cells}&name=cells-{cells}" for cells in (4, 7)]
    for source, place in (("mnist", "real"), ("digits", "generated")):
        rm.extract(source, [*ours, "digits"], f"{folder}/{place}", samples)
    for result in rm.evaluate(
        real=f"{folder}/real", generated=f"{folder}/generated", metrics=["fid"]
    ):
        print(f"{result.label:12} {result.value:.5g}")


if __name__ == "__main__":
    # Workers import this file by its name, so its folder must be on the Python path.
    sys.path.insert(0, str(Path(__file__).parent))
    main(*sys.argv[1:])
