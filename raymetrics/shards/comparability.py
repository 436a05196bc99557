"""Whether the features of two shard sets can be compared."""

from __future__ import annotations

from raymetrics.errors import SpecMismatch
from raymetrics.shards.layout import comparable_fields, differences
from raymetrics.shards.shard_set import ShardSet


def shared_extractors(real: ShardSet, generated: ShardSet) -> list[str]:
    """Return the names of the extractors that both sets have features of."""
    names = [{str(spec["name"]) for spec in side.spec.extractors} for side in (real, generated)]
    return sorted(names[0] & names[1])


def require_same_extractor(
    real: ShardSet, generated: ShardSet, extractor: str, *, any_size: bool = False
) -> None:
    """Raise SpecMismatch unless both sets have features of the extractor, made alike.

    any_size: accept images of different sizes.
    """
    shared = shared_extractors(real, generated)
    if extractor not in shared:
        raise SpecMismatch(
            f"extractor {extractor!r} is not in both sets; both have {', '.join(shared) or 'none'}"
        )
    real_spec, generated_spec = (
        next(spec for spec in side.spec.extractors if spec["name"] == extractor)
        for side in (real, generated)
    )
    fields = differences(comparable_fields(real_spec), comparable_fields(generated_spec))
    if fields:
        difference_text = "; ".join(fields).replace("asked for", "on the other side")
        raise SpecMismatch(
            f"{real.uri} and {generated.uri} used {extractor} differently, so their features "
            f"cannot be compared ({difference_text}); extract one of them again, to another place"
        )
    if not any_size:
        require_same_size(real, generated)


def require_same_size(real: ShardSet, generated: ShardSet) -> None:
    """Raise SpecMismatch if the images of both sets have known sizes that differ.

    Features of small images that an extractor enlarges are far from features of large images.
    """
    real_size, generated_size = real.spec.image_size, generated.spec.image_size
    if real_size and generated_size and real_size != generated_size:
        raise SpecMismatch(
            f"the images of {real.uri} are {size_text(real_size)} pixels, those of {generated.uri} "
            f"{size_text(generated_size)}, which moves every number; extract one of them at the "
            "size of the other, as in 'photos?size=256', or ask for it: --any-size (any_size=True)"
        )


def require_same_machines(shards: ShardSet) -> None:
    """Raise SpecMismatch if several kinds of machine made the shards of a set."""
    kinds = shards.machine_kinds()
    if len(kinds) > 1:
        raise SpecMismatch(
            f"{shards.uri} was made on {len(kinds)} kinds of machine ({'; '.join(kinds)}), whose "
            "last bits may differ; make it on one kind, or leave out --same-machines "
            "(same_machines=True)"
        )


def size_text(size: tuple[int, int] | None) -> str:
    """Write "256 x 256" for a height and a width; "unknown" of a set that does not say."""
    return "unknown" if size is None else f"{size[0]} x {size[1]}"


def require_shared_extractors(real: ShardSet, generated: ShardSet) -> list[str]:
    """Return the extractors that both sets share. Raise SpecMismatch if they share none."""
    shared = shared_extractors(real, generated)
    if not shared:
        real_names, generated_names = (
            ", ".join(str(spec["name"]) for spec in side.spec.extractors)
            for side in (real, generated)
        )
        raise SpecMismatch(
            f"{real.uri} has features of {real_names}, {generated.uri} of {generated_names}; "
            "extract both with the same extractor"
        )
    return shared
