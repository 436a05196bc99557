"""Images to features. torch; may import the layers below, knows nothing of Ray or shards.

`make_extractor` turns a name into an extractor.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from raymetrics.errors import ExtractorError
from raymetrics.extractors.base import Extractor

__all__ = ["NAMED", "Extractor", "make_extractor"]


def _efficientnet_lite0(device: torch.device) -> Extractor:
    from raymetrics.extractors.efficientnet_lite import efficientnet_lite0

    return efficientnet_lite0(device)


def _digits(device: torch.device) -> Extractor:
    from raymetrics.extractors.digits import digits

    return digits(device)


NAMED: dict[str, Callable[[torch.device], Extractor]] = {
    "efficientnet-lite0": _efficientnet_lite0,
    "digits": _digits,
}


def make_extractor(name: str, device: torch.device) -> Extractor:
    """The extractor of this name, with its weights loaded onto the device."""
    if name not in NAMED:
        raise ExtractorError(f"no extractor {name!r}; there are {', '.join(NAMED)}")
    return NAMED[name](device)
