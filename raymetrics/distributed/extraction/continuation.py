"""Whether a set that is there may be continued: some of its samples are made again and compared.

Digests tell whether anything changed that they cover. Samples tell whether it matters, and whether
anything changed that no digest covers, such as a file that a user's own code reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from raymetrics.errors import SpecMismatch
from raymetrics.extractors import Extractor
from raymetrics.extractors.base import NetworkExtractor
from raymetrics.extractors.user_function import Function as OwnExtractor
from raymetrics.fixed_batches import in_blocks
from raymetrics.generators import Generator
from raymetrics.generators.trial import user_function
from raymetrics.shards import layout, schema
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.shard_set import ShardSet, open_shards
from raymetrics.shards.spec_changes import Change, changes
from raymetrics.shards.store import Store

# How far apart features may be, by their length. Other processors, precisions and versions move
# them by far less than NEAR, another network by far more. Where code has changed they must be the
# SAME but for rounding, as two snapshots of one training run may be near.
NEAR = 0.05
SAME = 1e-3

INSTEAD = "extract to another place (another --to)"


class Distance(NamedTuple):
    """How far a sample that is made again is from what is there, in its farthest column."""

    relative: float
    sample: int
    column: str


def continue_set(
    store: Store, asked: DatasetSpec, generator: Generator, networks: Sequence[Extractor]
) -> tuple[DatasetSpec, str]:
    """Find how a set is to be asked for, so that it continues the one that is there.

    Where nothing but a user's own code or folders have changed, and the first and the last sample
    come out as they are there, the set keeps the identity that it has; the second value says so.
    SpecMismatch, which says what has changed, if they come out otherwise. Only sets in which
    something is a user's own are looked at: of all else the specification holds digests.
    """
    there = layout.read_spec(store)
    if there is None:
        return asked, ""
    changed = list(changes(_makers(there), _makers(asked)))
    if not all(change.of_code for change in changed):
        return asked, ""  # refused when the set is entered
    shards = open_shards(str(store))
    if not shards.present or not _worth_a_look(shards, generator, networks, changed):
        return asked, ""
    farthest = _farthest(shards, generator, networks)
    if farthest.relative > (SAME if changed else NEAR):
        raise SpecMismatch(_refusal(shards, farthest, changed, asked.source))
    if not changed:
        return asked, ""
    words = _words(changed, asked.source)
    kept = replace(asked, generator=there.generator, extractors=there.extractors)
    return kept, f"{words} since the set was begun, and its samples have not: it is continued"


def _makers(spec: DatasetSpec) -> dict[str, object]:
    return {"generator": dict(spec.generator), "extractors": [dict(e) for e in spec.extractors]}


def _worth_a_look(
    shards: ShardSet, generator: Generator, networks: Sequence[Extractor], changed: Sequence[Change]
) -> bool:
    """Whether samples should, and can, be made again here."""
    function = user_function(generator)
    is_own = any(isinstance(network, OwnExtractor) for network in networks)
    if getattr(getattr(generator, "inner", generator), "trial", None) is False:
        return False
    devices = (shards.seal or {}).get("devices") or ["cpu"]
    if "cpu" not in devices and not torch.cuda.is_available():
        return False  # noise that is drawn on a GPU is another one here
    # A shipped generator may take minutes for an image here; a data set takes none.
    return bool(changed) or function is not None or (is_own and generator.length is not None)


def _farthest(shards: ShardSet, generator: Generator, networks: Sequence[Extractor]) -> Distance:
    """The largest distance of the set's first and last sample from what they are made again."""
    there = _samples_there(shards)
    ids = there.pop(schema.SAMPLE_ID)
    if not len(ids):  # of a match that keeps what it accepts, and has accepted none
        return Distance(0.0, 0, "")
    images, labels = generator(ids), generator.labels(ids)
    distances = [Distance(0.0, int(ids[0]), "")]
    if labels is not None and schema.LABEL in there and (labels != there[schema.LABEL]).any():
        wrong = int(ids[(labels != there[schema.LABEL]).argmax()])
        return Distance(np.inf, wrong, schema.LABEL)
    for network in networks:
        outputs = _features(network, ids, images)
        for column in schema.columns_of(network.name, network.columns):
            apart = _relative(outputs[column.output], there[column.name])
            row = int(apart.argmax())
            distances.append(Distance(float(apart[row]), int(ids[row]), column.name))
    return max(distances)


def _samples_there(shards: ShardSet) -> dict[str, np.ndarray]:
    """The first row of the first shard and the last of the last one: one if they are the same."""
    columns = [*shards.columns, *([schema.LABEL] if shards.spec.labels else [])]
    first, last = (shards.block(shards.present[end], columns) for end in (0, -1))
    both = {name: np.concatenate([first[name][:1], last[name][-1:]]) for name in first}
    _, rows = np.unique(both[schema.SAMPLE_ID], return_index=True)
    return {name: values[rows] for name, values in both.items()}


def _features(network: Extractor, ids: np.ndarray, images: np.ndarray) -> dict[str, np.ndarray]:
    if isinstance(network, NetworkExtractor):
        return network(images)  # the empty places of a block would take its time
    return in_blocks(network, ids, images, network.block)


def _relative(made: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Distances of rows by the length of the longer one, float64 [n]; 0 of two that are 0."""
    rows = made.astype(np.float64), there.astype(np.float64)
    longer = np.maximum(*(np.linalg.norm(x, axis=1) for x in rows))
    apart = np.linalg.norm(rows[0] - rows[1], axis=1)
    return np.divide(apart, longer, out=np.zeros_like(apart), where=longer > 0)


def _words(changed: Sequence[Change], source: str) -> str:
    return ", ".join(dict.fromkeys(change.in_words(source) for change in changed))


def _refusal(shards: ShardSet, farthest: Distance, changed: Sequence[Change], source: str) -> str:
    far = "" if farthest.column == schema.LABEL else f", {farthest.relative:.0%} apart"
    what = f"({farthest.column}{far})"
    if not changed:
        return (
            f"sample {farthest.sample}, made again, is not the one that {shards.uri} holds {what}, "
            f"although nothing has changed that the set is told to be made of: {source} or an "
            "extractor reads something that no option and no `spec` names; "
            f"{INSTEAD}, and name it there"
        )
    parts = {change.path[0] for change in changed}
    now = "is another image" if parts == {"generator"} else "has other features"
    return (
        f"{shards.uri} holds a set made from something else: {_words(changed, source)}, and sample "
        f"{farthest.sample} {now} {what}; {INSTEAD}, or bring back what it was made from"
    )
