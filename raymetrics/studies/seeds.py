"""The seeds of repeated draws: how many, or which."""

from __future__ import annotations

import re
from collections.abc import Sequence

from raymetrics import sample_ranges
from raymetrics.errors import RaymetricsError, SampleRangeError

SEED_LIMIT = 10_000  # KID's subsets take numbers above the seed of a convention, so many at most


def parse_seeds(text: str) -> list[int]:
    """Parse "5" as the seeds 0 to 4, and "0,5,7" or "3-9" as these seeds.

    Raise RaymetricsError for other text.
    """
    if re.fullmatch(r"\s*[0-9]{1,12}\s*", text):
        return as_seeds(int(text))
    try:
        ids = sample_ranges.parse_ids(text)
    except SampleRangeError:
        raise RaymetricsError(
            f"seeds {text!r}: expected how many, e.g. 5, or which ones, e.g. 0,5,7 or 3-9"
        ) from None
    if ids[-1].stop > SEED_LIMIT:
        raise _limit_error(ids[-1].stop - 1)
    return [seed for part in ids for seed in part]


def as_seeds(seeds: int | Sequence[int]) -> list[int]:
    """Return seeds, ascending and each once; a number of them stands for 0, 1, and so on.

    Raise RaymetricsError for no seeds, and for seeds that are not from 0 to `SEED_LIMIT` - 1.
    """
    if isinstance(seeds, int):
        if not 1 <= seeds <= SEED_LIMIT:
            raise RaymetricsError(f"{seeds} seeds; expected 1 to {SEED_LIMIT}")
        return list(range(seeds))
    unique = sorted(set(seeds))
    if not unique:
        raise RaymetricsError("no seeds; expected at least 1")
    for seed in (unique[0], unique[-1]):
        if not 0 <= seed < SEED_LIMIT:
            raise _limit_error(seed)
    return unique


def format_seeds(seeds: Sequence[int]) -> str:
    """Format [0, 1, 2, 7] as "0-2,7"."""
    ranges = sample_ranges.union(range(seed, seed + 1) for seed in seeds)
    return ",".join(
        str(part.start) if len(part) == 1 else sample_ranges.format_range(part) for part in ranges
    )


def _limit_error(seed: int) -> RaymetricsError:
    return RaymetricsError(f"seed {seed}; expected seeds from 0 to {SEED_LIMIT - 1}")
