"""Decide whether an existing set may be continued: make some of its samples again and compare.

Digests show whether anything has changed that they cover. Samples show whether the change matters,
and whether anything has changed that no digest covers, such as a file that a user's code reads.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from raymetrics.distributed.devices import worker_device
from raymetrics.errors import SpecMismatch
from raymetrics.extractors import Extractor
from raymetrics.extractors.base import NetworkExtractor, extract_tensors, takes_prompts
from raymetrics.extractors.user_function import UserFunctionExtractor
from raymetrics.fixed_batches import run_in_fixed_batches
from raymetrics.generators import Generator
from raymetrics.generators.base import find_prompts
from raymetrics.generators.trial import find_user_generator
from raymetrics.shards import layout, schema
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.shard_set import ShardSet, open_shards
from raymetrics.shards.spec_changes import Change, changes
from raymetrics.shards.store import Store

# How far apart features may be, relative to their length. Other processors, precisions and versions
# move them by far less than the near distance, another network by far more. Where code has changed
# they must be the same but for rounding, as two snapshots of one training run may be near.
_MAX_NEAR_DISTANCE = 0.05
_MAX_SAME_DISTANCE = 1e-3

_ADVICE = "extract to another place (another --to)"


class _SampleDistance(NamedTuple):
    """How far a sample that is made again is from the stored one, in its farthest column."""

    relative: float
    sample: int
    column: str


def continue_set(
    store: Store,
    requested_spec: DatasetSpec,
    generator: Generator,
    networks: Sequence[Extractor],
    names: Collection[str],
) -> tuple[DatasetSpec, str]:
    """Return the specification that continues the set in a store, and a note for the user.

    names: the files in the store, as they have just been listed.

    Where nothing but a user's own code or folders have changed, and the first and the last sample
    come out as they are stored, the set keeps its identity, and the note says so. Raises
    SpecMismatch, which says what has changed, if these samples come out otherwise. Only sets in
    which something is a user's own are compared: the specification holds digests of all else.
    """
    existing_spec = layout.read_spec(store)
    if existing_spec is None:
        return requested_spec, ""
    changed = list(changes(_makers(existing_spec), _makers(requested_spec)))
    if not all(change.concerns_code for change in changed):
        return requested_spec, ""  # refused when the set is opened for writing
    shards = open_shards(str(store), names=names)
    if not shards.present or not _should_compare(shards, generator, networks, changed):
        return requested_spec, ""
    farthest = _farthest_sample(shards, generator, networks)
    if farthest.relative > (_MAX_SAME_DISTANCE if changed else _MAX_NEAR_DISTANCE):
        raise SpecMismatch(_refusal_message(shards, farthest, changed, requested_spec.source))
    if not changed:
        return requested_spec, ""
    words = _describe_changes(changed, requested_spec.source)
    continued_spec = replace(
        requested_spec, generator=existing_spec.generator, extractors=existing_spec.extractors
    )
    return (
        continued_spec,
        f"{words} since the set was begun, and its samples have not: it is continued",
    )


def _makers(spec: DatasetSpec) -> dict[str, object]:
    return {"generator": dict(spec.generator), "extractors": [dict(e) for e in spec.extractors]}


def _should_compare(
    shards: ShardSet, generator: Generator, networks: Sequence[Extractor], changed: Sequence[Change]
) -> bool:
    """Return whether samples should be made again, and can be made again on this machine."""
    function = find_user_generator(generator)
    has_user_extractor = any(isinstance(network, UserFunctionExtractor) for network in networks)
    if getattr(getattr(generator, "inner", generator), "trial", None) is False:
        return False
    devices = (shards.seal or {}).get("devices") or ["cpu"]
    if "cpu" not in devices and worker_device().type == "cpu":
        return False  # a GPU draws other noise than this processor
    # A shipped generator may take minutes for an image here; a data set takes none.
    return (
        bool(changed)
        or function is not None
        or (has_user_extractor and generator.length is not None)
    )


def _farthest_sample(
    shards: ShardSet, generator: Generator, networks: Sequence[Extractor]
) -> _SampleDistance:
    """Make the set's first and last sample again; return the largest distance."""
    stored = _stored_samples(shards)
    ids = stored.pop(schema.SAMPLE_ID)
    if not len(ids):  # a match that keeps what it accepts may have accepted none
        return _SampleDistance(0.0, 0, "")
    images, labels = generator(ids), generator.labels(ids)
    distances = [_SampleDistance(0.0, int(ids[0]), "")]
    if labels is not None and schema.LABEL in stored and (labels != stored[schema.LABEL]).any():
        wrong = int(ids[(labels != stored[schema.LABEL]).argmax()])
        return _SampleDistance(np.inf, wrong, schema.LABEL)
    prompts = find_prompts(generator, ids)
    if prompts is not None and schema.PROMPT in stored:
        differs = np.array(prompts, object) != stored[schema.PROMPT]
        if differs.any():
            return _SampleDistance(np.inf, int(ids[differs.argmax()]), schema.PROMPT)
    for network in networks:
        outputs = _extract_features(network, ids, images, prompts)
        for column in schema.make_columns(network.name, network.columns):
            apart = _relative_distances(outputs[column.output], stored[column.name])
            row = int(apart.argmax())
            distances.append(_SampleDistance(float(apart[row]), int(ids[row]), column.name))
    return max(distances)


def _stored_samples(shards: ShardSet) -> dict[str, np.ndarray]:
    """Read the first row of the first shard and the last row of the last shard.

    Returns one row if both are the same sample.
    """
    known = [name for name, is_known in shards.spec.facts.items() if is_known]
    columns = [*shards.columns, *known]
    first, last = (shards.block(shards.present[end], columns) for end in (0, -1))
    ends = {name: np.concatenate([first[name][:1], last[name][-1:]]) for name in first}
    _, rows = np.unique(ends[schema.SAMPLE_ID], return_index=True)
    return {name: values[rows] for name, values in ends.items()}


def _extract_features(
    network: Extractor, ids: np.ndarray, images: np.ndarray, prompts: Sequence[str] | None
) -> dict[str, np.ndarray]:
    if isinstance(network, NetworkExtractor):
        return network(images)  # a whole fixed batch would take longer
    if takes_prompts(network):
        tensors = extract_tensors(network, ids, torch.from_numpy(images), prompts)
        return {name: values.cpu().numpy() for name, values in tensors.items()}
    return run_in_fixed_batches(network, ids, images, network.block)


def _relative_distances(recomputed: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """Return distances of rows relative to the longer row, float64 [n]; 0 where both are 0."""
    rows = recomputed.astype(np.float64), stored.astype(np.float64)
    longer = np.maximum(*(np.linalg.norm(x, axis=1) for x in rows))
    apart = np.linalg.norm(rows[0] - rows[1], axis=1)
    return np.divide(apart, longer, out=np.zeros_like(apart), where=longer > 0)


def _describe_changes(changed: Sequence[Change], source: str) -> str:
    return ", ".join(dict.fromkeys(change.describe(source) for change in changed))


def _refusal_message(
    shards: ShardSet, farthest: _SampleDistance, changed: Sequence[Change], source: str
) -> str:
    is_feature = farthest.column not in (schema.LABEL, schema.PROMPT)
    far = "" if not is_feature else f", {farthest.relative:.0%} apart"
    what = f"({farthest.column}{far})"
    if not changed:
        return (
            f"sample {farthest.sample}, made again, is not the one that {shards.uri} holds {what}, "
            f"although nothing has changed that the set is told to be made of: {source} or an "
            "extractor reads something that no option and no `spec` names; "
            f"{_ADVICE}, and name it there"
        )
    parts = {change.path[0] for change in changed}
    change_text = "is another image" if parts == {"generator"} else "has other features"
    return (
        f"{shards.uri} holds a set made from something else: {_describe_changes(changed, source)}, "
        f"and sample {farthest.sample} {change_text} {what}; {_ADVICE}, or bring back what it was "
        "made from"
    )
