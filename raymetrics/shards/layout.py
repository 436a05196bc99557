"""How a shard set lies in its store: dataset.json, one file per range, manifest.json last.

dataset.json                                   what the set is made of, and which ids it wants
samples-000000000000-000000002047.parquet      one shard; its presence is the checkpoint
...
manifest.json                                  seals the set: rows and digest of every shard
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from raymetrics import sample_ranges
from raymetrics.errors import SampleRangeError, ShardError, SpecMismatch
from raymetrics.provenance import fingerprint
from raymetrics.shards import json_fields, schema
from raymetrics.shards.json_fields import (
    FLAG,
    OBJECT,
    TEXT,
    FieldKind,
    list_of,
    object_of,
    pair_of,
    struct,
    whole_number,
)
from raymetrics.shards.manifest import withdraw_if_lost
from raymetrics.shards.schema import Column
from raymetrics.shards.shard_files import DATASET as DATASET
from raymetrics.shards.shard_files import MANIFEST as MANIFEST
from raymetrics.shards.shard_files import present_ranges
from raymetrics.shards.shard_files import shard_name as shard_name
from raymetrics.shards.shard_files import shard_range as shard_range
from raymetrics.shards.shard_files import shard_ranges as shard_ranges
from raymetrics.shards.spec_changes import changes
from raymetrics.shards.spec_changes import differences as differences
from raymetrics.shards.store import Store
from raymetrics.uris import require_no_secret

# The generator of a set that `export` copied from another set.
SELECTION_NAME = "selection"
# In the address of a set that is to be extracted: stands for the first digits of its fingerprint.
FINGERPRINT_PLACEHOLDER = "{fingerprint}"
_FINGERPRINT_DIGITS = 16
# How often a writer looks whether another one has written over what it wrote.
WRITE_CHECKS = 10


@dataclass(frozen=True)
class DatasetSpec:
    """What a shard set is made of, and which sample ids it is to hold."""

    source: str  # as written on the command line, to make any image again
    generator: Mapping[str, object]
    extractors: Sequence[Mapping[str, object]]  # by name
    columns: tuple[Column, ...]
    class_names: Mapping[str, Sequence[str]]  # by extractor, for the columns called logits
    labels: bool
    shard_rows: int
    samples: tuple[range, ...]
    extractor_texts: tuple[str, ...] = ()  # the extractors as written, to make any shard again
    files: Mapping[str, Mapping[str, object]] = field(default_factory=dict)  # of their weights
    label_names: tuple[str, ...] = ()  # what the labels 0, 1, ... stand for, where they have names
    image_size: tuple[int, int] | None = None  # height and width; None until it is known
    encodings: tuple[str, ...] = ()  # endings of a data set's image files, as ".jpg"
    # How networks are run, by the names of extractors: what moves the last bits of features and no
    # more. Chosen when the set is begun, and taken by whoever continues it, on any machine.
    numerics: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    prompts: bool = False  # whether shards have the column `prompt`

    def __post_init__(self) -> None:
        schema.require_distinct_names(self.columns)

    @property
    def identity(self) -> dict[str, object]:
        """All that changes the numbers, and nothing else."""
        return {
            "schema": schema.VERSION,
            "generator": dict(self.generator),
            "extractors": [dict(spec) for spec in self.extractors],
            **({"prompts": True} if self.prompts else {}),
        }

    @property
    def facts(self) -> dict[str, bool]:
        """Whether shards have each of the columns that tell of samples what is known of them."""
        return {schema.LABEL: self.labels, schema.PROMPT: self.prompts}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the identity."""
        return fingerprint(self.identity)

    def fill_address(self, address: str) -> str:
        """Return the address with the fingerprint in the place of `FINGERPRINT_PLACEHOLDER`."""
        return address.replace(FINGERPRINT_PLACEHOLDER, self.fingerprint[:_FINGERPRINT_DIGITS])

    @property
    def is_selection(self) -> bool:
        """Whether `export` copied the samples from another set."""
        return self.generator.get("name") == SELECTION_NAME

    def to_json(self) -> bytes:
        """Return the text of dataset.json. Raise ShardError if a source holds a secret."""
        for text in (self.source, *self.extractor_texts):
            require_no_secret(text, ShardError)
        value = {
            **self.identity,
            "fingerprint": self.fingerprint,
            "source": self.source,
            "columns": {
                c.name: {"extractor": c.extractor, "output": c.output, "dimension": c.dimension}
                for c in self.columns
            },
            "labels": self.labels,
            "shard_rows": self.shard_rows,
            "samples": [sample_ranges.format_range(ids) for ids in self.samples],
            "asked": list(self.extractor_texts),
            "label_names": list(self.label_names),
            **({} if self.image_size is None else {"image_size": list(self.image_size)}),
            **({"encodings": list(self.encodings)} if self.encodings else {}),
            **({"numerics": self.numerics} if self.numerics else {}),
            "files": {name: dict(file) for name, file in self.files.items()},
            "class_names": {name: list(names) for name, names in self.class_names.items()},
        }
        return json.dumps(value, indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes, where: str) -> DatasetSpec:
        """Read dataset.json. Raise ShardError if it is damaged or has an unknown schema."""
        try:
            value = json_fields.parse_object(data)
            json_fields.require_fields(value, {"schema": whole_number()}, {})
            if value["schema"] != schema.VERSION:
                raise ShardError(
                    f"{where}/{DATASET} has schema {value['schema']}, this raymetrics reads "
                    f"{schema.VERSION}; use the version that wrote it, or extract again elsewhere"
                )
            json_fields.require_fields(value, _FIELDS, _OPTIONAL)
            if "accepted" in value:
                raise ShardError(
                    f"{where} was written by match --keep accepted, which is no longer read; match "
                    "again to another place, and copy what is accepted: raymetrics export "
                    "'SHARDS?ids=accepted.parquet' --to DIR --as shards"
                )
            return cls(
                source=value["source"],
                generator=value["generator"],
                extractors=value["extractors"],
                columns=tuple(Column(**column) for column in value["columns"].values()),
                class_names=value["class_names"],
                labels=value["labels"],
                shard_rows=value["shard_rows"],
                samples=tuple(sample_ranges.parse_range(text) for text in value["samples"]),
                extractor_texts=tuple(value["asked"]),
                files=value["files"],
                label_names=tuple(value["label_names"]),
                image_size=tuple(value["image_size"]) if "image_size" in value else None,
                encodings=tuple(value.get("encodings", ())),
                numerics=value.get("numerics", {}),
                prompts=value.get("prompts", False),
            )
        except json_fields.PARSE_ERRORS as error:
            raise ShardError(
                f"{where}/{DATASET} is damaged ({error}); restore it, or extract again to another "
                "place"
            ) from None


def _is_range(text: object) -> bool:
    try:
        return (
            isinstance(text, str)
            and sample_ranges.parse_range(text).stop <= json_fields.SAMPLE_ID_LIMIT
        )
    except (SampleRangeError, ValueError):  # of too many digits
        return False


def _has_name(extractor: object) -> bool:
    return isinstance(extractor, dict) and isinstance(extractor.get("name"), str)


_FIELDS = {
    "source": TEXT,
    "generator": OBJECT,
    "extractors": list_of(FieldKind("objects with a name", _has_name)),
    "columns": object_of(
        struct({"extractor": TEXT, "output": TEXT, "dimension": whole_number(1, 2**31 - 1)})
    ),
    "class_names": object_of(list_of(TEXT)),
    "labels": FLAG,
    "shard_rows": whole_number(1),
    "samples": list_of(FieldKind("ranges as 0-99, below 10^12", _is_range)),
    "asked": list_of(TEXT),
    "files": object_of(OBJECT),
    "label_names": list_of(TEXT),
}
_OPTIONAL = {
    "accepted": OBJECT,
    "image_size": pair_of(whole_number(1, 2**31 - 1)),
    "encodings": list_of(TEXT),
    "numerics": object_of(OBJECT),
    "prompts": FLAG,
}


def comparable_fields(extractor: Mapping[str, object]) -> dict[str, object]:
    """Return the fields of an extractor's specification that its numbers depend on.

    The columns are not among them, as a set may keep fewer.
    """
    return {field: value for field, value in extractor.items() if field != "columns"}


def read_spec(store: Store) -> DatasetSpec | None:
    """Return the specification of the set in this store; None if it holds no set."""
    data = store.read(DATASET)
    return None if data is None else DatasetSpec.from_json(data, str(store))


def require_same_spec(existing: DatasetSpec, requested: DatasetSpec, store: Store) -> None:
    """Raise SpecMismatch, with all differences, unless both give the same numbers."""
    if existing.fingerprint != requested.fingerprint:
        change_texts = [
            change.describe(requested.source)
            for change in changes(existing.identity, requested.identity)
        ]
        raise SpecMismatch(
            f"{store} holds a set made from something else ({'; '.join(change_texts)}); extract to "
            "another place (another --to), or bring back what it was made from"
        )


def create_or_extend_spec(store: Store, requested: DatasetSpec) -> DatasetSpec:
    """Return the specification that `open_for_writing` returns, without the shards."""
    return open_for_writing(store, requested)[0]


def open_for_writing(
    store: Store, requested: DatasetSpec, names: Collection[str] | None = None
) -> tuple[DatasetSpec, list[range]]:
    """Open the set for writing: make dataset.json, or add the requested ids to it; and return
    the shards that are there, ascending, whether the store lists them yet or not.

    names: the files in the store, if they have just been listed. A shard that another writer
    commits after that listing may be computed here too, and stays the one that it is.

    The shard size of a set is the one that it was begun with. A set that was begun and never
    given a shard gives way. SpecMismatch for a set made from something else.
    """
    existing = read_spec(store)
    names = store.names() if names is None else names
    if existing is None and store.create(DATASET, requested.to_json()):
        return requested, shard_ranges(names)
    existing = existing or read_spec(store)
    assert existing is not None  # somebody else has made it in this moment
    # As it was cut before, and as it is to be: the last shard of a set that grows may be short.
    wanted = [*existing.samples, *requested.samples]
    present = present_ranges(store, names, wanted, existing.shard_rows)
    # Listed again, because a set is not replaced for which another writer just made a first shard.
    if not present and not present_ranges(store, store.names(), wanted, existing.shard_rows):
        # Somebody else may be making the first shards of the same set.
        same = existing.fingerprint == requested.fingerprint
        new_spec = replace(
            requested,
            shard_rows=existing.shard_rows if same else requested.shard_rows,
            numerics=existing.numerics if same else {},
        )
        store.replace(DATASET, new_spec.to_json())
        return new_spec, []
    require_same_spec(existing, requested, store)
    withdraw_if_lost(store, existing.fingerprint, [shard_name(ids) for ids in present])
    # Equal tensors may come from several files; one that was published vouches for them all.
    published_files = {name: file for name, file in existing.files.items() if file.get("published")}
    extended = replace(
        requested,
        shard_rows=existing.shard_rows,
        files={**requested.files, **published_files},
        image_size=requested.image_size or existing.image_size,
        numerics=existing.numerics,
    )
    return add_samples(store, extended, ()), present


def add_samples(store: Store, spec: DatasetSpec, present: Iterable[range]) -> DatasetSpec:
    """Add samples to those that the set is to have, in dataset.json; return the specification.

    Also writes the size of images and the numerics, if the set has none yet.
    Those of others who extended the set in the meantime stay. Of two who write in the same moment
    one loses what it wrote: so it looks again, and whoever has made shards calls this at its end.
    SpecMismatch if it became another set.
    """
    additions = [*spec.samples, *present]
    for _ in range(WRITE_CHECKS):
        existing = read_spec(store) or spec
        require_same_spec(existing, spec, store)
        samples = tuple(sample_ranges.union([*existing.samples, *additions]))
        spec = replace(
            spec,
            samples=samples,
            image_size=spec.image_size or existing.image_size,
            numerics=existing.numerics or spec.numerics,
        )
        before = (existing.samples, existing.image_size, existing.numerics)
        if (samples, spec.image_size, spec.numerics) == before:
            break
        store.replace(DATASET, spec.to_json())
    return spec


def holds_shard_set(store: Store) -> bool:
    """Return whether a shard set is there. A folder of images may have its own dataset.json."""
    data = store.read(DATASET)
    try:
        value = None if data is None else json.loads(data)
    except ValueError:
        return False
    return isinstance(value, dict) and {"fingerprint", "schema", "samples"} <= value.keys()


def missing_shards(
    spec: DatasetSpec, present: Iterable[range], wanted: Iterable[range]
) -> list[range]:
    """Return the shards to make for all wanted ids to exist, cut at multiples of shard_rows."""
    gaps = sample_ranges.subtract(wanted, present)
    return [
        shard for gap in gaps for shard in sample_ranges.split_at_multiples(gap, spec.shard_rows)
    ]
