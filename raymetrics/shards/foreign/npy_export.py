"""Columns as .npy files, which numpy maps into memory: np.load(file, mmap_mode="r")."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from raymetrics.shards import schema
from raymetrics.shards.foreign.atomic_folder import whole_block
from raymetrics.shards.schema import Column
from raymetrics.shards.view import View


def write_npy(view: View, columns: Sequence[Column], folder: Path) -> None:
    """Write COLUMN.npy float32 [n, d], sample_id.npy int64 [n], and label.npy where known.

    Texts have no such files: prompts are left out.
    """
    shapes: dict[str, tuple[int, ...]] = {c.name: (len(view), c.dimension) for c in columns}
    shapes[schema.SAMPLE_ID] = (len(view),)
    if view.shards.spec.labels:
        shapes[schema.LABEL] = (len(view),)
    with ExitStack() as files:
        open_files = {
            name: files.enter_context((folder / f"{name}.npy").open("wb")) for name in shapes
        }
        for name, shape in shapes.items():
            dtype = "<f4" if len(shape) == 2 else "<i8"
            header = {"descr": dtype, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(open_files[name], header)
        for shard in view.present:
            block = whole_block(view, shard, columns)
            for name in shapes:
                open_files[name].write(np.ascontiguousarray(block[name]).data)
