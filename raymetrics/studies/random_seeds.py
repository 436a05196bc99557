"""Numbers of several random choices of samples: one for every seed, and their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from raymetrics.errors import RaymetricsError
from raymetrics.provenance import fingerprint
from raymetrics.results import Result, Side

_LAST_SEED = 2**32 - 1


def parse_random_ids(seeds: int | str | Sequence[int] | None) -> list[int]:
    """Parse a seed, or several as "0,1,2"; each once, in their order.

    RaymetricsError for other text, and for numbers that are no seeds.
    """
    values: Sequence[int | str] = ()
    if seeds is not None:
        values = [seeds] if isinstance(seeds, int) else _split(seeds)
    try:
        numbers = [int(value) for value in values]
    except ValueError:
        numbers = [-1]
    if any(not 0 <= number <= _LAST_SEED for number in numbers):
        raise RaymetricsError(
            f"random_ids is {seeds!r}; write a seed from 0 to {_LAST_SEED}, or several: 0,1,2"
        )
    return list(dict.fromkeys(numbers))


def _split(seeds: str | Sequence[int]) -> Sequence[int | str]:
    return seeds.split(",") if isinstance(seeds, str) else seeds


def average_over_seeds(results_by_seed: Mapping[int, Sequence[Result]]) -> list[Result]:
    """Return the results of every seed, labelled by it, and then the mean of each number.

    The spread of a mean is the standard deviation over the seeds, with ddof 1; its details hold the
    value of each seed. A number that not all seeds have gets no mean.
    """
    namesakes: dict[tuple[object, ...], list[Result]] = {}
    for results in results_by_seed.values():
        for result in results:
            key = (result.metric, result.label, result.convention.get("k"))
            namesakes.setdefault(key, []).append(result)
    seeds = list(results_by_seed)
    return [
        *(_label_by_seed(r, seed) for seed, results in results_by_seed.items() for r in results),
        *(_mean_result(r, seeds) for r in namesakes.values() if len(r) == len(seeds)),
    ]


def _label_by_seed(result: Result, seed: int) -> Result:
    """Return the result with the seed in its label and its convention."""
    convention = {**result.convention, "random_ids": seed}
    return replace(result, label=f"{result.label}, seed {seed}", convention=convention)


def _mean_result(results: Sequence[Result], seeds: Sequence[int]) -> Result:
    """Return the mean of one number over the seeds."""
    values = [result.value for result in results]
    texts = ", ".join(map(str, seeds))
    first = results[0]
    return replace(
        first,
        label=f"{first.label}, mean of {len(seeds)} seeds",
        value=float(np.mean(values)),
        spread=float(np.std(values, ddof=1)),
        convention={**first.convention, "random_ids": f"mean of seeds {texts}"},
        real=_side_of_seeds([result.real for result in results], texts),
        generated=_side_of_seeds([result.generated for result in results], texts),
        seconds=sum(result.seconds for result in results),
        details={**first.details, "values": values},
        interval={},
        errors={},
    )


def _side_of_seeds(sides: Sequence[Side], seeds: str) -> Side:
    """Return the side of a mean, whose samples are those of all choices."""
    selections = [side.selection for side in sides]
    if all(selection == selections[0] for selection in selections):
        return sides[0]
    digests = [selection.get("digest") for selection in selections]
    file = f"{str(selections[0]['file']).partition(', seed')[0]}, seeds {seeds}"
    return replace(sides[0], selection={"file": file, "digest": fingerprint({"of": digests})})
