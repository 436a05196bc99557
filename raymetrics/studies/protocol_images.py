"""Whether the images of a side are those that a protocol compares: their size, and their crop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raymetrics import option_strings
from raymetrics.errors import SpecMismatch
from raymetrics.metrics import Protocol
from raymetrics.shards.comparability import size_text
from raymetrics.shards.view import View


def require_images_of_view(protocol: Protocol | None, side: str, view: View) -> None:
    """Raise SpecMismatch if the images of a shard set are not those of the protocol."""
    spec = view.shards.spec
    decoding: Any = spec.generator.get("decoding")
    require_images(protocol, side, spec.source, decoding, spec.image_size)


def require_images(
    protocol: Protocol | None,
    side: str,
    source: str,
    decoding: Mapping[str, object] | None,
    size: tuple[int, int] | None,
) -> None:
    """Raise SpecMismatch if the images of a source are not those of the protocol.

    decoding: the rules by which a data set was decoded; None for another source. size: height and
    width, None where they are not known. Images that have the size in their files were cropped
    elsewhere, of which nothing is known.
    """
    rule = None if protocol is None else protocol.images
    if rule is None or protocol is None:
        return
    if size is not None and size != (rule.size, rule.size):
        raise SpecMismatch(
            f"{protocol.name} compares images of {rule.size} x {rule.size} pixels, the {side} ones "
            f"of {source} are {size_text(size)}{_advice(source, rule.options, decoding)}"
        )
    resized = decoding is not None and decoding.get("size") is not None
    if resized and rule.resize is not None:
        from raymetrics.generators.image_datasets.decode import RESIZES

        expected = RESIZES[rule.resize].description
        if decoding is not None and decoding["resize"] != expected:
            raise SpecMismatch(
                f"{protocol.name} resizes images by: {expected}; the {side} ones of {source} were "
                f"resized by: {decoding['resize']}{_advice(source, rule.options, decoding)}"
            )


def _advice(source: str, options: Mapping[str, str], decoding: Mapping[str, object] | None) -> str:
    """Return the source line to use, of a data set."""
    if decoding is None:
        return "; generate that size"
    name, given = option_strings.parse_options(source)
    kept = {key: value for key, value in given.items() if key not in ("size", "resize")}
    return f"; name the source as '{option_strings.format_options(name, {**kept, **options})}'"
