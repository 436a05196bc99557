"""Hold the results of evaluations, and read and write them as JSON lines.

A result is a number with all that it was computed from.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raymetrics import sample_ranges
from raymetrics.errors import ResultsFileError, SampleRangeError
from raymetrics.files import append_lines, require_writable_file
from raymetrics.printable import escape_unprintable
from raymetrics.result_schema import FORMAT, parse_line
from raymetrics.uris import find_secret, redact_secret

if TYPE_CHECKING:
    from raymetrics.metrics.sampling_errors import SamplingErrors

log = logging.getLogger(__name__)


VARIATION = "variation"  # in the details of a result: axis, setting and measure


@dataclass(frozen=True)
class Side:
    """One of the two sets that are compared; or a file of statistics, which has no samples."""

    uri: str
    source: str
    samples: tuple[str, ...]  # "0-49999"
    count: int | None  # None where a file of statistics does not say
    fingerprint: str  # of the specification
    digest: str  # of the values
    made_by: Mapping[str, Any]  # devices, versions, revision, as the seal of the set has them
    selection: Mapping[str, Any] = field(default_factory=dict)  # file and digest of chosen ids
    image_size: tuple[int, ...] | None = None  # height and width, where they are known

    def __post_init__(self) -> None:
        """Remove the secret of a source, which earlier versions may have written."""
        object.__setattr__(self, "source", redact_secret(self.source))

    @property
    def identity(self) -> tuple[object, ...]:
        """What tells this side from other ones."""
        return self.digest, self.samples, self.selection.get("digest")

    def with_all_samples(self) -> Side:
        """Return the side with the count of all its samples; a result of one label counts fewer."""
        if not self.samples:
            return self
        ranges = map(sample_ranges.parse_range, self.samples)
        return replace(self, count=sample_ranges.count_ids(ranges))


@dataclass(frozen=True)
class Result:
    """A metric's value and its provenance.

    subset: which of the samples the value is about. Empty for all; {"label": 3, "name": "cat"} for
    the samples with a label; {"labels": 10} for a number of the values of so many labels;
    {"scheme": "random", "n": 1000, "seeds": 5, "candidates": 5000} for samples that were drawn from
    the generated set, with `matched_by`, `match` and `classes` where they were drawn to match
    something.

    interval: `low` and `high` of an interval at a `level`, with its `standard_error`, the `method`
    ("influences" or "groups", of which there are `groups` on a side), and which sides' sampling it
    covers, `varies`. Empty where there is none.

    warnings: what a reader should know before trusting the value, a sentence each.

    setting: what the generated source states of a sweep, as
    `raymetrics.generators.source_settings.parse_setting` returns it.
    """

    metric: str  # "frechet_distance"
    label: str  # "FD efficientnet-lite0, label 3 (cat)", to be printed and never to be parsed
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
    row: Mapping[str, str] = field(default_factory=dict)  # the cells of a sweep's table
    short_name: str = ""  # "FD"
    space_name: str = ""  # "efficientnet-lite0"; may be empty, as of "FID"
    subset: Mapping[str, Any] = field(default_factory=dict)
    setting: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    interval: Mapping[str, Any] = field(default_factory=dict)
    # By side, in the process that computed them; they are never written.
    errors: Mapping[str, SamplingErrors] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Remove the secrets of texts in the setting, which repeat the source."""
        clean = {k: redact_secret(v) if isinstance(v, str) else v for k, v in self.setting.items()}
        object.__setattr__(self, "setting", clean)

    @property
    def measure_name(self) -> str:
        """The label without the subset: "FD efficientnet-lite0"."""
        return " ".join(filter(None, (self.short_name, self.space_name))) or self.label

    @property
    def is_variation(self) -> bool:
        """Whether another protocol than was asked for was tried, to see how far the value moves."""
        return self.details.get(VARIATION, {}).get("axis", "asked") != "asked"

    def to_json(self) -> str:
        """Return the result as one line, without the end of the line."""
        members = asdict(replace(self, errors={}))
        del members["errors"]
        if not members["interval"]:
            del members["interval"]
        return json.dumps({"format": FORMAT, **members}, allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> Result:
        """Return the result in a line of format 2 or 1.

        Raise ResultsFileError, with the place in the line, for any other line.
        """
        value = parse_line(line, "result")
        sides = {side: _parse_side(value[side]) for side in ("real", "generated")}
        if value.pop("format", 1) == 1:
            from raymetrics.results_version_1 import upgrade_result  # loads torch

            value = upgrade_result(value)
        return cls(**{**value, **sides, "warnings": tuple(value.get("warnings", ()))})


def _parse_side(value: Mapping[str, Any]) -> Side:
    """Return one side of a line. Raise ResultsFileError for samples that are not ranges."""
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
    """A row of a sweep that has no numbers, with the reason. Secrets in its texts are removed."""

    name: str
    source: str
    row: Mapping[str, str]  # the cells of the table
    error: str  # "SourceError"
    message: str

    def __post_init__(self) -> None:
        """Remove secrets, which earlier versions may have written."""
        for name in ("name", "source", "message"):
            object.__setattr__(self, name, redact_secret(getattr(self, name)))
        cells = {column: f"?{column}={cell}" for column, cell in self.row.items()}  # as an option
        clean_row = {column: self.row[column] for column in cells if not find_secret(cells[column])}
        object.__setattr__(self, "row", clean_row)

    def to_json(self) -> str:
        """Return the failure as one line, without the end of the line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Failure:
        """Return the failure in a line. Raise ResultsFileError for any other line."""
        return cls(**parse_line(line, "failure"))


_LINE_STARTS = ('{"format": ', '{"metric": "')  # of lines in format 2 and 1

RESULTS_FILE = "results.jsonl"  # of a sweep
FAILURES_FILE = "failed.jsonl"  # beside the results of a sweep


def require_appendable(path: str | Path) -> None:
    """Raise StorageError unless results can be added to this local file."""
    require_writable_file(path, append=True)


def append_results(results: Iterable[Result], path: str | Path) -> None:
    """Add the results to a file of JSON lines, all or none; create the file if it is absent.

    Raise StorageError if it cannot be written, StorageUnavailable if the disk is full.
    """
    append_lines(path, [result.to_json() for result in results])


def read_results(path: str | Path) -> list[Result]:
    """Return the results in a file of JSON lines.

    A last line whose writer was killed is left out, and the log says so. Raise ResultsFileError if
    the file holds no results, or other lines.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:  # ValueError: a null byte, or not UTF-8
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
    """Return whether a line is the start of a result whose end was never written."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return any(line.startswith(start) or start.startswith(line) for start in _LINE_STARTS)
    return False


def read_failures(path: str | Path) -> list[Failure]:
    """Return the failures of the sweep that wrote this file of results.

    A file that no sweep wrote has no failures. Raise ResultsFileError for other lines.
    """
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
