"""How the making of samples went: told with every unit, added up for every shard."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from raymetrics import errors
from raymetrics.errors import RaymetricsError

GENERATE, EXTRACT, COMMIT = "generate", "extract", "commit"  # the stages


@dataclass(frozen=True)
class UnitRecord:
    """The samples of a unit or of a shard, and what happened to them.

    target: the number of the set in the plan. first, rows: the planned samples.
    left_out: the samples that could not be made, and why; the others were made.
    failure: kind and message of the error because of which no sample was made.
    seconds: the working time of each stage, without waiting.
    single_sample_units: units that were generated again one sample after another.
    store_retries: requests that were sent to the store again.
    made_on: kinds of machine. image_size: height and width, None where no image was made.
    """

    target: int
    first: int
    rows: int
    device: str = "unknown"
    left_out: Mapping[int, str] = field(default_factory=dict)
    failure: tuple[str, str] | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    single_sample_units: int = 0
    store_retries: int = 0
    bytes_written: int = 0
    made_on: Sequence[str] = ()
    image_size: tuple[int, int] | None = None

    @property
    def ids(self) -> range:
        """The planned samples."""
        return range(self.first, self.first + self.rows)

    def with_failure(self, error: RaymetricsError) -> UnitRecord:
        """Return a copy that says that no sample could be made, and why."""
        return replace(self, failure=(type(error).__name__, error.message))

    def error(self) -> RaymetricsError | None:
        """Return the failure as an exception of the kind that was raised; None without one."""
        if self.failure is None:
            return None
        kind, message = self.failure
        raised: RaymetricsError = getattr(errors, kind, RaymetricsError)(message)
        return raised

    def with_time(self, stage: str, seconds: float) -> UnitRecord:
        """Return a copy with the seconds that a stage worked."""
        return replace(self, seconds={**self.seconds, stage: seconds})

    def to_json(self) -> str:
        """Return the record as text, as it travels through the stream."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> UnitRecord:
        """Read what `to_json` returned."""
        value: dict[str, Any] = json.loads(text)
        left_out = {int(sample): why for sample, why in value.pop("left_out").items()}
        for name in ("failure", "image_size"):
            value[name] = tuple(value[name]) if value[name] else None
        return cls(**value, left_out=left_out)


def merge_records(records: Sequence[UnitRecord]) -> UnitRecord:
    """Merge the records of a shard's units, in order, into the record of the shard.

    The first of several failures counts, and the device of the first unit.
    """
    stages = {stage for record in records for stage in record.seconds}
    left_out: dict[int, str] = {}
    for record in records:
        left_out.update(record.left_out)
    return replace(
        records[0],
        rows=records[-1].ids.stop - records[0].first,
        left_out=left_out,
        failure=next((record.failure for record in records if record.failure), None)
        or _mixed_sizes(records),
        image_size=next((record.image_size for record in records if record.image_size), None),
        seconds={s: sum(record.seconds.get(s, 0.0) for record in records) for s in sorted(stages)},
        single_sample_units=sum(record.single_sample_units for record in records),
        made_on=sorted({machine for record in records for machine in record.made_on}),
    )


def _mixed_sizes(records: Sequence[UnitRecord]) -> tuple[str, str] | None:
    """Return the failure of a shard whose images have several sizes; None if they have one."""
    sizes = sorted({record.image_size for record in records if record.image_size})
    if len(sizes) < 2:
        return None
    sizes_text = " and ".join(f"{height} x {width}" for height, width in sizes)
    ids = f"{records[0].first}-{records[-1].ids.stop - 1}"
    return "SourceError", f"samples {ids} have images of {sizes_text}; give all of them one size"
