"""A folder that `datasets.load_dataset` reads, and the hub shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raymetrics.printable import escape_unprintable
from raymetrics.shards.foreign.atomic_folder import shard_file_name, whole_block
from raymetrics.shards.schema import Column
from raymetrics.shards.view import View


def write_huggingface(view: View, columns: Sequence[Column], folder: Path) -> None:
    """Write data/*.parquet, and README.md: the card, with the features in its head."""
    (folder / "data").mkdir()
    for shard in view.present:
        block = whole_block(view, shard, columns)
        table = pa.table({name: _to_arrow(values) for name, values in block.items()})
        file = folder / "data" / shard_file_name(block)
        pq.write_table(table, file, compression="none", use_dictionary=False)
    (folder / "README.md").write_text(_card_text(view, columns), encoding="utf-8")


def _to_arrow(values: np.ndarray) -> pa.Array:
    """Return float32 [n, d] as lists of one length: the library reads no tensors of Arrow."""
    if values.ndim == 1:
        return pa.array(values)
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _card_text(view: View, columns: Sequence[Column]) -> str:
    """Return the text of README.md. JSON is YAML too, so names need no rules of their own."""
    spec = view.shards.spec
    integer_columns = ["sample_id", "label"] if spec.labels else ["sample_id"]
    features: list[dict[str, object]] = [
        {"name": name, "dtype": "int64"} for name in integer_columns
    ]
    features += [{"name": "prompt", "dtype": "string"}] if spec.prompts else []
    features += [{"name": c.name, "list": "float32", "length": c.dimension} for c in columns]
    files = [{"split": "train", "path": "data/*.parquet"}]
    head = {
        "configs": [{"config_name": "default", "data_files": files}],
        "dataset_info": {"features": features},
    }
    return f"""---
{"".join(f"{key}: {json.dumps(value)}" + chr(10) for key, value in head.items())}---
# Features of {escape_unprintable(spec.source)}

{len(view)} samples; `sample_id` is the seed or the index of an image. Values have the digest
`{view.digest()}`, and were made by raymetrics from

```json
{json.dumps(spec.identity, indent=1)}
```
"""
