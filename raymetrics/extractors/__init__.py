"""Images to features. torch; may import the layers below, knows nothing of Ray or shards.

`make_extractor` turns what a user writes into an extractor.
"""

from __future__ import annotations

import importlib

import torch

from raymetrics.errors import ExtractorError
from raymetrics.extractors.base import Architecture, Extractor, make
from raymetrics.extractors.options import Options

__all__ = ["NAMED", "Extractor", "architecture", "make_extractor"]

OPTIONS = ("weights", "resize", "columns", "precision", "name")

# The module below this package that holds each `Architecture`, and its name there.
NAMED = {
    "efficientnet-lite0": "efficientnet_lite:ARCHITECTURE",
    "digits": "digits:ARCHITECTURE",
}


def architecture(name: str) -> Architecture:
    """The published network of this name. ExtractorError if there is none."""
    if name not in NAMED:
        raise ExtractorError(f"no extractor {name!r}; there are {', '.join(NAMED)}")
    module, _, attribute = NAMED[name].partition(":")
    found: Architecture = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
    return found


def make_extractor(text: str, device: torch.device) -> Extractor:
    """The extractor that `text` names, with its weights on the device; options follow a `?`.

    inception, vgg16, ...          a network of NAMED; see the options below
    untrained-inception?seed=1     the same with random weights

    weights=PATH        a file of weights in any layout that the network is published in
    resize=NAME         another convention of `raymetrics.extractors.resize`
    columns=NAME,NAME   other outputs than the usual ones
    precision=NAME      float32, or bfloat16 or float16 where the device computes in them
    name=NAME           another name, so that a set may hold two variants
    """
    options = Options.parse(text)
    found = architecture(options.network)
    options.allow(("seed", *OPTIONS[1:]) if options.untrained else OPTIONS)
    return make(found, options, device)
