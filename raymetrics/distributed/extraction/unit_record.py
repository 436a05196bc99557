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
class Account:
    """Of a unit, or of a shard: which samples it is about, and what happened to them.

    target: of which set of the stream. first, rows: the samples that were asked for.
    left_out: those that could not be made, and why; the others were.
    failure: kind and message of the error because of which none was made.
    seconds: that stages worked, without waiting. retried: units that were made again one sample
    after another. resent: requests that a store was sent again. written: bytes. image_size: height
    and width, None where no image was made.
    """

    target: int
    first: int
    rows: int
    device: str = "unknown"
    left_out: Mapping[int, str] = field(default_factory=dict)
    failure: tuple[str, str] | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    retried: int = 0
    resent: int = 0
    written: int = 0
    made_on: Sequence[str] = ()
    image_size: tuple[int, int] | None = None

    @property
    def ids(self) -> range:
        """The samples that were asked for."""
        return range(self.first, self.first + self.rows)

    def failed(self, error: RaymetricsError) -> Account:
        """The same of samples that could not be made at all."""
        return replace(self, failure=(type(error).__name__, error.message))

    def error(self) -> RaymetricsError | None:
        """The failure as it was raised."""
        if self.failure is None:
            return None
        kind, message = self.failure
        raised: RaymetricsError = getattr(errors, kind, RaymetricsError)(message)
        return raised

    def took(self, stage: str, seconds: float) -> Account:
        """The same, with the time that a stage worked."""
        return replace(self, seconds={**self.seconds, stage: seconds})

    def to_json(self) -> str:
        """As it travels through the stream."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Account:
        """What `to_json` gave."""
        value: dict[str, Any] = json.loads(text)
        left_out = {int(sample): why for sample, why in value.pop("left_out").items()}
        for pair in ("failure", "image_size"):
            value[pair] = tuple(value[pair]) if value[pair] else None
        return cls(**value, left_out=left_out)


def joined(units: Sequence[Account]) -> Account:
    """The account of a shard: that of its units, in order. Of several failures the first is told;
    the device is the first one's."""
    stages = {stage for unit in units for stage in unit.seconds}
    left_out: dict[int, str] = {}
    for unit in units:
        left_out.update(unit.left_out)
    return replace(
        units[0],
        rows=units[-1].ids.stop - units[0].first,
        left_out=left_out,
        failure=next((unit.failure for unit in units if unit.failure), None) or _mixed_sizes(units),
        image_size=next((unit.image_size for unit in units if unit.image_size), None),
        seconds={s: sum(unit.seconds.get(s, 0.0) for unit in units) for s in sorted(stages)},
        retried=sum(unit.retried for unit in units),
        made_on=sorted({machine for unit in units for machine in unit.made_on}),
    )


def _mixed_sizes(units: Sequence[Account]) -> tuple[str, str] | None:
    """The failure of a shard whose images have several sizes; None if they have one."""
    sizes = sorted({unit.image_size for unit in units if unit.image_size})
    if len(sizes) < 2:
        return None
    found = " and ".join(f"{height} x {width}" for height, width in sizes)
    ids = f"{units[0].first}-{units[-1].ids.stop - 1}"
    return "SourceError", f"samples {ids} have images of {found}; give all of them one size"
