"""Results: a number with all that it was made of. Kept as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from raymetrics.errors import ResultError, StorageError


@dataclass(frozen=True)
class Side:
    """One of the two sets that were compared; or a file of statistics, which has no samples."""

    uri: str
    source: str
    samples: tuple[str, ...]  # "0-49999"
    count: int | None  # None where a file of statistics does not say
    fingerprint: str  # of what it is made of
    digest: str  # of its values
    made_by: Mapping[str, Any]  # devices, versions, revision, as the set's seal has them
    selection: Mapping[str, Any] = field(default_factory=dict)  # file and digest of chosen ids
    image_size: tuple[int, ...] | None = None  # height and width, where they are known


@dataclass(frozen=True)
class Result:
    """A metric's value and its provenance."""

    metric: str  # "frechet_distance"
    label: str  # "FD efficientnet-lite0", as it should be printed
    value: float
    spread: float | None  # one standard deviation, where there is one
    better: str  # "lower" or "higher"
    space: Mapping[str, Any]  # extractor, output, dimension, resize, weights
    convention: Mapping[str, Any]  # k, ddof, subsets, engine, ...
    real: Side
    generated: Side
    provenance: Mapping[str, Any]  # versions, revision, machine
    seconds: float
    details: Mapping[str, Any] = field(default_factory=dict)  # arrays that figures are drawn from
    row: Mapping[str, str] = field(default_factory=dict)  # of a sweep, as its plan says it

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> Result:
        """The result of a line. ValueError, KeyError or TypeError if it is none."""
        value = json.loads(line)
        sides = {side: _side_of(value[side]) for side in ("real", "generated")}
        return cls(**{**value, **sides})


def _side_of(value: Mapping[str, Any]) -> Side:
    """A side as JSON has it."""
    size = value.get("image_size")
    lists = {"samples": tuple(value["samples"]), "image_size": tuple(size) if size else None}
    return Side(**{**value, **lists})


@dataclass(frozen=True)
class Failure:
    """A row of a sweep that has no numbers, and why."""

    name: str
    source: str
    row: Mapping[str, str]  # as the plan says it
    error: str  # "SourceError"
    message: str

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Failure:
        """The failure of a line. ValueError or TypeError if it is none."""
        return cls(**json.loads(line))


RESULTS = "results.jsonl"  # a sweep's
FAILED = "failed.jsonl"  # beside a sweep's results


def write(results: Iterable[Result], path: str | Path) -> None:
    """Adds the results to a file of JSON lines, which is made if it is not there."""
    text = "".join(result.to_json() + "\n" for result in results)
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with Path(path).open("a") as file:
            file.write(text)
    except OSError as error:
        raise StorageError(f"cannot write results to {path}: {error.strerror}") from None


def read(path: str | Path) -> list[Result]:
    """The results in a file of JSON lines. ResultError if it holds none, or other lines."""
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ResultError(
            f"cannot read results from {path}: {reason}; make them with: raymetrics evaluate "
            f"--real URI --generated URI --to {path}"
        ) from None
    results = []
    for number, line in enumerate(lines, start=1):
        try:
            results.append(Result.from_json(line))
        except (ValueError, KeyError, TypeError) as error:
            raise ResultError(
                f"line {number} of {path} is not a result of raymetrics "
                f"({type(error).__name__}: {error}); remove that line"
            ) from None
    if not results:
        raise ResultError(f"{path} is empty; expected one result a line")
    return results


def failures_beside(path: str | Path) -> list[Failure]:
    """What failed of the sweep that wrote this file of results; nothing of any other file.
    ResultError for other lines."""
    if Path(path).name != RESULTS:
        return []
    file = Path(path).with_name(FAILED)
    try:
        lines = file.read_text().splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise ResultError(f"cannot read what failed from {file}: {error}; remove it") from None
    try:
        return [Failure.from_json(line) for line in lines]
    except (ValueError, TypeError) as error:
        raise ResultError(
            f"{file} does not say what failed ({type(error).__name__}: {error}); remove it"
        ) from None
