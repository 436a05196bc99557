"""Compute features of images with torch; the package knows nothing of Ray or shards.

`make_extractor` turns the text that a user writes into an extractor.
"""

from __future__ import annotations

import importlib
import os.path
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch

from raymetrics.errors import ExtractorError
from raymetrics.extractors.base import Extractor, PublishedNetwork, build_extractor
from raymetrics.extractors.options import UNTRAINED_PREFIX, Options
from raymetrics.metrics.frechet_ratio import FDR6_SPACES
from raymetrics.option_strings import format_options
from raymetrics.permissions import CALLABLE, SCORE_PREFIX

__all__ = [
    "EXTRACTOR_GROUPS",
    "PUBLISHED_NETWORKS",
    "Extractor",
    "expand_groups",
    "make_extractor",
    "published_network",
]

# Options that every extractor of a group may have.
_GROUP_OPTIONS = ("seed", "precision", "compile", "block", "layout", "graph")

_OPTIONS = (
    "weights", "resize", "columns", "precision", "compile", "block", "layout", "graph", "name"
)  # fmt: skip

# By name, "module:attribute": the module in this package and the `PublishedNetwork` in it.
PUBLISHED_NETWORKS = {
    "efficientnet-lite0": "efficientnet_lite:ARCHITECTURE",
    "inception": "inception:ARCHITECTURE",
    "inception-torchvision": "inception_torchvision:ARCHITECTURE",
    "vgg16": "vgg16:ARCHITECTURE",
    "clip-vit-b-32": "clip:VIT_B_32",
    "clip-vit-l-14": "clip:VIT_L_14",
    "clip-vit-l-14-336": "clip:VIT_L_14_336",
    "dinov2-vit-s-14": "dinov2:VIT_S_14",
    "dinov2-vit-b-14": "dinov2:VIT_B_14",
    "dinov2-vit-l-14": "dinov2:VIT_L_14",
    "dinov2-vit-g-14": "dinov2:VIT_G_14",
    "swav-resnet50": "swav:ARCHITECTURE",
    "convnextv2-base": "convnextv2:BASE",
    "dinov2-vit-l-14-256": "timm_transformers:DINOV2_256",
    "mae-vit-l-16": "timm_transformers:MAE",
    "siglip2-so400m-16-256": "timm_transformers:SIGLIP2",
    "clip-vit-l-14-256": "timm_transformers:CLIP_256",
    "dinov3-vit-l-16": "timm_transformers:DINOV3",
    "sscd-disc-mixup": "sscd:DISC_MIXUP",
    "sscd-disc-mixup-320": "sscd:DISC_MIXUP_320",
    "resnet50": "resnet50:V2",
    "resnet50-v1": "resnet50:V1",
    "digits": "digits:ARCHITECTURE",
}
CLIP_SCORES = ("clipscore-vit-b-32", "clipscore-vit-l-14")  # of images and their prompts

# By name, the extractors that a number needs together.
EXTRACTOR_GROUPS = {
    # The six spaces of FDr6 (Yang et al. 2026, arXiv 2604.28190), in the order of its tables.
    "fdr6": FDR6_SPACES,
}


def expand_groups(texts: Iterable[str]) -> list[str]:
    """Replace every text that names a group of `EXTRACTOR_GROUPS` by its extractors.

    Each extractor has the group's options, and the prefix `untrained-` if the group has it. Raises
    ExtractorError for an option that means another thing for each network, such as a file.
    """
    expanded = []
    for text in texts:
        options = Options.parse(text)
        names = EXTRACTOR_GROUPS.get(options.network)
        if names is None:
            expanded.append(text)
            continue
        options.require_known(_GROUP_OPTIONS)
        prefix = UNTRAINED_PREFIX if options.untrained else ""
        expanded += [format_options(prefix + name, options.option_values) for name in names]
    return expanded


def published_network(name: str) -> PublishedNetwork:
    """Return the published network of this name; raise ExtractorError if none has it."""
    if name not in PUBLISHED_NETWORKS:
        raise ExtractorError(f"no extractor {name!r}; there are {', '.join(PUBLISHED_NETWORKS)}")
    module, _, attribute = PUBLISHED_NETWORKS[name].partition(":")
    network: PublishedNetwork = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
    return network


def make_extractor(
    text: str,
    device: torch.device,
    limit: float | None = None,
    numerics: Mapping[str, object] | None = None,
) -> Extractor:
    """Make the extractor that `text` names, with its weights on the device.

    limit: seconds for the first call of a network in a file. That call then happens in another
    process, which can be ended (`raymetrics.extractors.trial`); with None the call happens in this
    process, and the function waits for its end without a limit.
    numerics: the fields of the `Numerics` with which a set was begun, for the block and the layout
    that the text does not name; with None the default ones. A Python callable has its own block.

    inception, vgg16, ...          a network of `PUBLISHED_NETWORKS`; see the options below
    untrained-inception?seed=1     the same network with random weights
    path/to/network.pt             your own in a file, see `raymetrics.extractors.user_network_file`
    module:callable                your own in Python, see `raymetrics.extractors.user_function`
    score:module:callable          your own score of images, or of images and their prompts, see
                                   `raymetrics.extractors.user_score`
    clipscore-vit-b-32, ...        cosines of images and prompts, see `...clip_score`

    Options follow a question mark:

    weights=PATH        a file of weights in any layout in which the network is published
    resize=NAME         another convention of `raymetrics.extractors.resize`
    columns=NAME,NAME   other outputs than the default ones
    precision=NAME      float32, tf32, bfloat16 or float16; see `raymetrics.extractors.precision`;
                        by default that of the network, float32 for most
    compile=yes         run the network that torch.compile makes of it
    block=N, layout=NAME  see `raymetrics.extractors.numerics`; they change only the last bits
    graph=no            launch every kernel on its own on a GPU, without a CUDA graph
    name=NAME           another name, so that a set may hold two variants of a network

    Raises ExtractorError, with the forms that are expected, for any other text.
    """
    options = Options.parse(text)
    name = f"{UNTRAINED_PREFIX if options.untrained else ''}{options.network}"
    if options.network in PUBLISHED_NETWORKS:
        options.require_known(("seed", *_OPTIONS[1:]) if options.untrained else _OPTIONS)
        return build_extractor(published_network(options.network), options, device, numerics)
    if options.network in CLIP_SCORES:
        from raymetrics.extractors.clip_score import build_clip_score

        return build_clip_score(options, device)
    if os.path.isfile(name):
        from raymetrics.extractors.trial import try_columns
        from raymetrics.extractors.user_network_file import open_network_file

        columns = None if limit is None else try_columns(text, device, limit)
        return open_network_file(Path(name), options, device, columns, numerics)
    if options.network in EXTRACTOR_GROUPS:
        raise ExtractorError(
            f"{options.network} is a group of extractors, expected one; write one of "
            f"{', '.join(EXTRACTOR_GROUPS[options.network])}"
        )
    score = name.removeprefix(SCORE_PREFIX)
    if score != name and CALLABLE.fullmatch(score):
        from raymetrics.extractors.user_score import UserScore

        return UserScore(score, options.option_values)
    if CALLABLE.fullmatch(name):
        from raymetrics.extractors.user_function import UserFunctionExtractor

        return UserFunctionExtractor(name, options.option_values)
    raise ExtractorError(
        f"no extractor {options.network!r}; there are {', '.join(PUBLISHED_NETWORKS)}, "
        f"{', '.join(CLIP_SCORES)}, the groups {', '.join(EXTRACTOR_GROUPS)}, the file of a "
        "network (path/to/network.pt), module:callable, and score:module:callable"
    )
