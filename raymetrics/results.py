"""Results: a number with all that it was made of. Kept as JSON lines."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from raymetrics import sample_ranges
from raymetrics.errors import ResultsFileError, SampleRangeError
from raymetrics.files import append_lines, require_writable_file
from raymetrics.printable import escape_unprintable
from raymetrics.result_schema import parse_line
from raymetrics.uris import find_secret, redact_secret

log = logging.getLogger(__name__)


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

    def __post_init__(self) -> None:
        """Keep no secret of an address that was written before its kind was known."""
        object.__setattr__(self, "source", redact_secret(self.source))


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
        """Read the result of a line. ResultError, with what is wrong, if it is none."""
        value = parse_line(line, "result")
        return cls(
            **{**value, **{side: _parse_side(value[side]) for side in ("real", "generated")}}
        )


def _parse_side(value: Mapping[str, Any]) -> Side:
    """One side of a line. ResultError for samples that are no ranges."""
    samples = tuple(value["samples"])
    try:
        for text in samples:
            sample_ranges.parse_range(text)
    except SampleRangeError as error:
        raise ResultsFileError(str(error)) from None
    size = value.get("image_size")
    tuples = {"samples": samples, "image_size": tuple(size) if size else None}
    return Side(**{**value, **tuples})


@dataclass(frozen=True)
class Failure:
    """A row of a sweep that has no numbers, and why. Secrets in it are not kept."""

    name: str
    source: str
    row: Mapping[str, str]  # as the plan says it
    error: str  # "SourceError"
    message: str

    def __post_init__(self) -> None:
        """Keep no secret, of a list of failures that another version wrote either."""
        for name in ("name", "source", "message"):
            object.__setattr__(self, name, redact_secret(getattr(self, name)))
        cells = {column: f"?{column}={cell}" for column, cell in self.row.items()}  # as an option
        clean_row = {column: self.row[column] for column in cells if not find_secret(cells[column])}
        object.__setattr__(self, "row", clean_row)

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Failure:
        """Read the failure of a line. ResultError, with what is wrong, if it is none."""
        return cls(**parse_line(line, "failure"))


_LINE_START = '{"metric": "'  # of a line

RESULTS_FILE = "results.jsonl"  # a sweep's
FAILURES_FILE = "failed.jsonl"  # beside a sweep's results


def require_appendable(path: str | Path) -> None:
    """Try whether results can be added to a local file. StorageError if they cannot."""
    require_writable_file(path, append=True)


def append_results(results: Iterable[Result], path: str | Path) -> None:
    """Add the results to a file of JSON lines, which is made if it is not there: all or none.
    StorageError if it cannot be written, StorageUnavailable if there is no room."""
    append_lines(path, [result.to_json() for result in results])


def read_results(path: str | Path) -> list[Result]:
    """Read the results in a file of JSON lines. ResultError if it holds none, or other lines.

    A line that a writer was killed in is left out, and the log says so.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:  # of a name that is none, and of what is no text
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ResultsFileError(
            f"cannot read results from {path}: {reason}; make them with: raymetrics evaluate "
            f"--real URI --generated URI --to {path}"
        ) from None
    results = []
    for number, line in enumerate(lines, start=1):
        try:
            results += [Result.from_json(line)] if line else []
        except ResultsFileError as error:
            if _is_torn(line):
                log.warning(
                    "%s",
                    escape_unprintable(f"left out line {number} of {path}: its end is missing"),
                )
                continue
            raise ResultsFileError(
                f"line {number} of {path} is not a result of raymetrics ({error}); remove that line"
            ) from None
    if not results:
        raise ResultsFileError(f"{path} is empty; expected one result a line")
    return results


def _is_torn(line: str) -> bool:
    """Tell whether a line is the beginning of a result, whose end was never written."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return line.startswith(_LINE_START) or _LINE_START.startswith(line)
    return False


def read_failures(path: str | Path) -> list[Failure]:
    """What failed of the sweep that wrote this file of results; nothing of any other file.
    ResultError for other lines."""
    if Path(path).name != RESULTS_FILE:
        return []
    file = Path(path).with_name(FAILURES_FILE)
    try:
        lines = file.read_text().splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise ResultsFileError(f"cannot read what failed from {file}: {error}; remove it") from None
    try:
        return [Failure.from_json(line) for line in lines]
    except ResultsFileError as error:
        raise ResultsFileError(f"{file} does not say what failed ({error}); remove it") from None
