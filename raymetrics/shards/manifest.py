"""Read manifest.json, and withdraw what it promises; `raymetrics.shards.seal` writes it."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from raymetrics.shards import json_fields
from raymetrics.shards.json_fields import DIGEST, OBJECT, TEXT, list_of, object_of, whole_number
from raymetrics.shards.shard_files import MANIFEST
from raymetrics.shards.store import Store

_NEEDED = {"fingerprint": DIGEST}
_OPTIONAL = {
    "samples": list_of(TEXT),
    "rows": whole_number(),
    "digest": DIGEST,
    "shards": object_of(DIGEST),
    "left_out": object_of(TEXT, str.isdecimal),
    "devices": list_of(TEXT),
    "made_on": list_of(TEXT),
    "sealed_by": OBJECT,
}
_MACHINE_FIELDS = ("devices", "made_on")  # of the machines that made shards


def read_manifest(store: Store, set_fingerprint: str) -> dict[str, Any]:
    """Read what manifest.json says of the set with this fingerprint.

    Empty if there is no such file, or one of another set, or a damaged one: `extract` writes
    another.
    """
    data = store.read(MANIFEST)
    if data is None:
        return {}
    try:
        manifest = json_fields.parse_object(data)
        json_fields.require_fields(manifest, _NEEDED, _OPTIONAL)
    except json_fields.PARSE_ERRORS:
        return {}
    return manifest if manifest["fingerprint"] == set_fingerprint else {}


def withdraw_promises(store: Store, set_fingerprint: str) -> None:
    """Remove the digests from manifest.json before shards are replaced.

    The machines that made the shards stay known. So a run that dies before it seals the set again
    leaves no false digests.
    """
    manifest = read_manifest(store, set_fingerprint)
    if "shards" in manifest:
        kept_fields = {
            name: manifest[name] for name in ("fingerprint", *_MACHINE_FIELDS) if name in manifest
        }
        store.replace(MANIFEST, json.dumps(kept_fields, indent=1).encode())


def withdraw_if_lost(store: Store, set_fingerprint: str, names: Collection[str]) -> None:
    """Withdraw the promised digests if a promised shard is missing.

    names: the existing shards. A missing one may be made again on another kind of machine, which
    gives other bits.
    """
    if not read_manifest(store, set_fingerprint).get("shards", {}).keys() <= set(names):
        withdraw_promises(store, set_fingerprint)
