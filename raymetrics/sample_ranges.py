"""Ranges of sample ids: "0-49999" as text, range(0, 50000) in code."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence

from raymetrics.errors import SampleRangeError

LAST_ID = 10**12 - 1  # names of shards have twelve digits for an id


def parse_range(text: str) -> range:
    """Parse "0-49999" as range(0, 50000), with both ends. Raise SampleRangeError for other text."""
    match = re.fullmatch(r"\s*0*([0-9]+)\s*-\s*0*([0-9]+)\s*", text)
    if not match:
        raise SampleRangeError(f"samples {text!r} is not a range; write first-last, e.g. 0-49999")
    if max(map(len, match.groups())) > len(str(LAST_ID)):
        raise SampleRangeError(
            f"samples {text!r} goes beyond {LAST_ID}, the last sample id there can be"
        )
    first, last = int(match[1]), int(match[2])
    if last < first:
        raise SampleRangeError(
            f"samples {text!r} is empty: {last} comes before {first}; write it as {last}-{first}"
        )
    return range(first, last + 1)


Ids = tuple[range, ...]  # ascending, disjoint


def parse_ids_or_count(samples: int | str | range | None) -> Ids | int | None:
    """Parse a number of first samples, as 1000 or "1000", or ids, as "0-999". None stays None.

    Raise SampleRangeError for other text.
    """
    if samples is None or isinstance(samples, int):
        return samples
    if isinstance(samples, range):
        return (samples,)
    return int(samples) if re.fullmatch(r"\s*[0-9]{1,12}\s*", samples) else parse_ids(samples)


def parse_ids(text: str) -> Ids:
    """Parse "107,540,1000-1999" as ranges of ids, ascending and each id once.

    Raise SampleRangeError for other text.
    """
    return tuple(union(parse_ranges(text)))


def parse_ranges(text: str) -> list[range]:
    """Parse "540,107,1000-1999" as ranges in the order of the text.

    Raise SampleRangeError for other text.
    """
    parts = [part.strip() for part in text.split(",")]
    return [parse_range(f"{part}-{part}" if part.isdecimal() else part) for part in parts]


def as_ids(samples: range | str | Iterable[range]) -> Ids:
    """Return ids as ranges, from one range, from several, or from text as `parse_ids` takes it."""
    if isinstance(samples, str):
        return parse_ids(samples)
    return tuple(union([samples] if isinstance(samples, range) else samples))


def format_id_or_range(ids: range) -> str:
    """Format range(7, 8) as "7", and range(0, 50000) as "0-49999"."""
    return str(ids.start) if len(ids) == 1 else format_range(ids)


def format_range(ids: range) -> str:
    """Format range(0, 50000) as "0-49999"."""
    return f"{ids.start}-{ids.stop - 1}"


def union(ranges: Iterable[range]) -> list[range]:
    """Merge ranges into ascending ranges that neither touch nor overlap."""
    merged: list[range] = []
    for ids in sorted((r for r in ranges if r), key=lambda r: r.start):
        if merged and ids.start <= merged[-1].stop:
            merged[-1] = range(merged[-1].start, max(merged[-1].stop, ids.stop))
        else:
            merged.append(ids)
    return merged


def subtract(wanted: Iterable[range], present: Iterable[range]) -> list[range]:
    """Return the ids of `wanted` that are not in `present`, as ascending disjoint ranges."""
    remaining = []
    excluded_ranges = union(present)
    for ids in union(wanted):
        start = ids.start
        for excluded in excluded_ranges:
            if excluded.stop <= start or excluded.start >= ids.stop:
                continue
            if start < excluded.start:
                remaining.append(range(start, excluded.start))
            start = excluded.stop
        if start < ids.stop:
            remaining.append(range(start, ids.stop))
    return remaining


def split_at_multiples(ids: range, size: int) -> list[range]:
    """Split a range at the multiples of `size`, whatever its start."""
    borders = [ids.start, *range((ids.start // size + 1) * size, ids.stop, size), ids.stop]
    return [range(a, b) for a, b in itertools.pairwise(borders)]


def count_ids(ranges: Iterable[range]) -> int:
    """Count the ids of some ranges."""
    return sum(len(ids) for ids in ranges)


def id_at(ranges: Sequence[range], position: int) -> int:
    """Return the id at a position of the concatenated ranges. Raise IndexError beyond the last."""
    for ids in ranges:
        if position < len(ids):
            return ids[position]
        position -= len(ids)
    raise IndexError(f"{position} places beyond the last of {count_ids(ranges)} ids")


def overlaps(ids: range, wanted: Iterable[range]) -> bool:
    """Return whether a range shares an id with any wanted range."""
    return any(ids.start < w.stop and w.start < ids.stop for w in wanted)
