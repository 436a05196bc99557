"""Tar files as WebDataset reads them: the files of a sample share a name up to the first dot."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from raymetrics.shards import schema
from raymetrics.shards.foreign.atomic_folder import shard_file_name, whole_block
from raymetrics.shards.schema import Column
from raymetrics.shards.shard_set import Block
from raymetrics.shards.view import View


def write_webdataset(view: View, columns: Sequence[Column], folder: Path) -> None:
    """Write samples-FIRST-LAST.tar for every shard.

    A tar holds SAMPLE_ID.COLUMN.npy (float32 [d]), SAMPLE_ID.cls where labels are known,
    SAMPLE_ID.txt where prompts are, and SAMPLE_ID.json. Equal samples give equal bytes.
    """
    set_fields = {"source": view.shards.spec.source, "fingerprint": view.shards.spec.fingerprint}
    for shard in view.present:
        block = whole_block(view, shard, columns)
        file = (folder / shard_file_name(block)).with_suffix(".tar")
        with tarfile.open(file, "w", format=tarfile.USTAR_FORMAT) as tar:
            for row in range(len(block[schema.SAMPLE_ID])):
                for name, content in _sample_files(block, row, columns, set_fields):
                    entry = tarfile.TarInfo(name)
                    entry.size = len(content)
                    tar.addfile(entry, io.BytesIO(content))


def _sample_files(
    block: Block, row: int, columns: Sequence[Column], set_fields: dict[str, str]
) -> Iterator[tuple[str, bytes]]:
    """Yield the files of one sample."""
    sample_id = int(block[schema.SAMPLE_ID][row])
    for column in columns:
        buffer = io.BytesIO()
        np.save(buffer, block[column.name][row])
        yield f"{sample_id:012d}.{column.name}.npy", buffer.getvalue()
    if schema.LABEL in block:
        yield f"{sample_id:012d}.cls", str(int(block[schema.LABEL][row])).encode()
    if schema.PROMPT in block:
        yield f"{sample_id:012d}.txt", block[schema.PROMPT][row].encode()
    yield f"{sample_id:012d}.json", json.dumps({"sample_id": sample_id, **set_fields}).encode()
