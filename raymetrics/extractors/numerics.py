"""Describe how an extractor computes, as far as only the last bits of features depend on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self, cast

import torch

from raymetrics.errors import ExtractorError
from raymetrics.extractors.options import Options

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}

_CPU_BLOCK = 16
_GPU_BLOCK = 64
_GPU_BLOCK_FOR_TENSOR_CORES = 256  # they need more images at a time until they are busy


@dataclass(frozen=True)
class Numerics:
    """The block and the layout of an extractor.

    block: the images in each call of the network, see `raymetrics.fixed_batches`.
    layout: the order in memory of a batch [n, c, h, w] and of the kernels: "contiguous", or
    "channels_last" with the channels of a pixel side by side.

    Libraries choose their instructions by both, and the order of sums follows, so that features
    differ in their last bits. Neither is part of an extractor's `spec`, which decides whether two
    sets can be compared. Raises ExtractorError for values that it cannot have.
    """

    block: int
    layout: str

    def __post_init__(self) -> None:
        if not isinstance(self.block, int) or self.block < 1:
            raise ExtractorError(
                f"the block of an extractor is {self.block!r}, expected a whole number from 1 on"
            )
        if self.layout not in LAYOUTS:
            raise ExtractorError(
                f"the layout of an extractor is {self.layout!r}, expected one of "
                f"{', '.join(LAYOUTS)}"
            )

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout as torch calls it."""
        return LAYOUTS[self.layout]

    def as_dict(self) -> dict[str, object]:
        """Return the fields by name, as they are recorded."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, object]) -> Self:
        """Return the numerics of recorded fields; raise ExtractorError if one is missing."""
        missing = [name for name in ("block", "layout") if name not in fields]
        if missing:
            raise ExtractorError(
                f"recorded numerics of an extractor are {dict(fields)}, without "
                f"{' and '.join(missing)}; expected block and layout"
            )
        return cls(cast(int, fields["block"]), cast(str, fields["layout"]))


def default_numerics(device: torch.device, precision: str) -> Numerics:
    """Return numerics that keep the device busy with networks of this precision.

    The layout of a GPU follows its kernels: those of tensor cores want the channels last, those of
    true float32 do not.
    """
    if device.type != "cuda":
        return Numerics(_CPU_BLOCK, "channels_last")
    if precision == "float32":
        return Numerics(_GPU_BLOCK, "contiguous")
    return Numerics(_GPU_BLOCK_FOR_TENSOR_CORES, "channels_last")


def choose_numerics(
    options: Options,
    device: torch.device,
    precision: str,
    recorded: Mapping[str, object] | None = None,
) -> Numerics:
    """Return the numerics that the options `block` and `layout` name.

    Those that are not named are the recorded ones; without a record they are the default ones.
    """
    usual = (
        default_numerics(device, precision) if recorded is None else Numerics.from_dict(recorded)
    )
    return Numerics(
        options.number("block", usual.block, minimum=1),
        options.choice("layout", LAYOUTS, usual.layout),
    )
