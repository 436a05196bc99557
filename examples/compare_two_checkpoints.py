"""Two checkpoints of one generator against one real set, in one table.

    python examples/compare_two_checkpoints.py FOLDER [SAMPLES]

The generator is the digits' one that comes with raymetrics, after 200 and after 5,000 steps of its
training. For checkpoints of your own write "my_generator:Model?ckpt=a.pt", or "a.ts?z=512".
"""

from __future__ import annotations

import sys

import raymetrics as rm

CHECKPOINTS = {"200 steps": "digits?snapshot=200", "5000 steps": "digits?snapshot=5000"}


def main(folder: str, samples: str = "0-999") -> None:
    """Extract one real and two generated sets, and print a row for each checkpoint."""
    rm.extract("mnist", ["digits"], f"{folder}/real", samples)
    rows = {}
    for name, source in CHECKPOINTS.items():
        place = f"{folder}/{name.replace(' ', '-')}"
        rm.extract(source, ["digits"], place, samples)
        # The radii of the real set are found for the first checkpoint, and kept for the second.
        rows[name] = rm.evaluate(real=f"{folder}/real", generated=place, metrics=["fid", "pr"])

    labels = [result.label for result in next(iter(rows.values()))]
    print(f"{'':12}", *(f"{label:>18}" for label in labels))
    for name, results in rows.items():
        print(f"{name:12}", *(f"{result.value:18.5g}" for result in results))
    best = min(rows, key=lambda name: rows[name][0].value)
    print(f"the smaller distance: {best}")


if __name__ == "__main__":
    main(*sys.argv[1:])
