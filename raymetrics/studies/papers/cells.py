"""Find the numbers of a recipe in files of results, and compare them with the paper's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from raymetrics.errors import RaymetricsError
from raymetrics.results import Result, read_results
from raymetrics.shards.shard_set import open_shards
from raymetrics.studies.papers.claims import Curve, Number
from raymetrics.studies.papers.recipes import Cell, Query, Series, fill_text

OTHER_DATA = "other data: not comparable"
_PUBLISHED_WEIGHTS = "published"  # in a protocol, for the field "weights"


@dataclass(frozen=True)
class ComparedCell:
    """A number of a paper beside the same number here.

    differences: what of the protocol is not the paper's; empty if all of it is.
    """

    name: str
    paper: Number | None
    ours: Number
    differences: tuple[str, ...]

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's, in deviations; None without both numbers or any deviation."""
        if self.paper is None or self.differences:
            return None
        deviation = math.hypot(self.paper.deviation or 0, self.ours.deviation or 0)
        return (self.ours.value - self.paper.value) / deviation if deviation else None

    @property
    def protocol_text(self) -> str:
        """Whether the protocol is the paper's, in words."""
        if self.differences:
            return "; ".join(self.differences)
        return "" if self.paper is None else "yes"


def field_of(result: Result, path: str) -> Any:
    """Return a field by its dotted name, as "subset.scheme"; None if there is none."""
    value: Any = asdict(result)
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def find_results(query: Query, names: Mapping[str, str]) -> list[Result]:
    """Return the results that a query means. RaymetricsError, with what there is, if there is none.

    Of several lines about the same, as after a repeated command, the last one counts.
    """
    file = fill_text(query.file, names)
    wanted = {
        path: fill_text(value, names) if isinstance(value, str) else value
        for path, value in query.where.items()
    }
    results = read_results(file)
    matching = [
        result
        for result in results
        if all(_agrees(field_of(result, path), value) for path, value in wanted.items())
    ]
    if not matching:
        labels = ", ".join(dict.fromkeys(result.label for result in results))
        raise RaymetricsError(f"{file} has no result with {wanted}; there are {labels}")
    latest = {(r.label, r.real.identity, r.generated.identity, r.generated.source): r
              for r in matching}  # fmt: skip
    return list(latest.values())


def _agrees(actual: object, wanted: object) -> bool:
    """Tell whether a field has the wanted value.

    An empty text stands for a field that is absent, and a text that ends with * for a beginning.
    """
    if wanted == "":
        return actual is None
    if isinstance(wanted, str) and wanted.endswith("*"):
        return str(actual).startswith(wanted[:-1])
    return actual == wanted or (actual is not None and str(actual) == str(wanted))


def read_cell(cell: Cell, names: Mapping[str, str]) -> tuple[Number, Result]:
    """Return the number of a cell, and the result it is from. RaymetricsError without one."""
    result = find_results(cell.query, names)[-1]
    value = field_of(result, cell.path)
    if not isinstance(value, int | float):
        raise RaymetricsError(f"{result.label} has no number {cell.path}")
    spread = result.spread if cell.path == "value" else None
    return (
        Number(value * cell.times, None if spread is None else spread * cell.times),
        result,
    )


def read_curve(series: Series, names: Mapping[str, str]) -> Curve:
    """Return the points of a series, by ascending key. RaymetricsError if there are none."""
    points: dict[float, Number] = {}
    for result in find_results(series.query, names):
        key, value = field_of(result, series.key), field_of(result, series.path)
        key = series.default if key is None else float(key)
        if key is not None and value is not None:
            points[key] = Number(float(value), result.spread)
    if not points:
        raise RaymetricsError(f"{series.name}: no result has both {series.key} and {series.path}")
    keys = sorted(points)
    return Curve(tuple(keys), tuple(points[key] for key in keys))


def compare_cell(
    cell: Cell,
    dataset: str,
    protocols: Mapping[str, Mapping[str, Any]],
    names: Mapping[str, str],
    *,
    is_mini: bool,
) -> ComparedCell:
    """Return a number beside the paper's, with what keeps the two from being comparable."""
    ours, result = read_cell(cell, names)
    title, paper = fill_text(cell.name, names), None
    if dataset in cell.paper:
        paper = Number(cell.paper[dataset], cell.deviation.get(dataset))
    if is_mini:
        return ComparedCell(title, paper, ours, (OTHER_DATA,))
    protocol = protocols.get(cell.protocol or "", {})
    return ComparedCell(title, paper, ours, tuple(differences(result, protocol, names)))


def differences(
    result: Result, protocol: Mapping[str, Any], names: Mapping[str, str]
) -> Sequence[str]:
    """Describe every field of a result that is not as in a protocol of a paper."""
    texts = []
    for path, expected in protocol.items():
        wanted = fill_text(expected, names) if isinstance(expected, str) else expected
        actual = _weights_of(result) if path == "weights" else field_of(result, path)
        if not _agrees(actual, wanted):
            texts.append(f"{path} is {actual}, the paper has {wanted}")
    return texts


def _weights_of(result: Result) -> str:
    """Return "published" if the network of a result has weights whose digest is known."""
    try:
        files = open_shards(result.generated.uri).spec.files.get(str(result.space["name"]), {})
    except RaymetricsError:
        files = {}
    return _PUBLISHED_WEIGHTS if files.get("published") else "of another digest"
