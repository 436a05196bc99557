"""Write the classes that a network sees in images to a Parquet file."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raymetrics.errors import ExtractorError
from raymetrics.heatmaps import Heatmaps
from raymetrics.shards.store import Store
from raymetrics.studies.heatmap.request import HeatmapRequest

CLASSIFICATIONS_FILE = "classifications.parquet"
_METADATA_KEY = "raymetrics"  # of a JSON object in the metadata of the file


def require_classes(request: HeatmapRequest) -> None:
    """Raise ExtractorError unless the network gives classes to images."""
    if not request.has_logits:
        columns = ", ".join(request.generated.shards.columns)
        raise ExtractorError(
            f"classifications take the logits of {request.column.extractor}; "
            f"{request.generated.shards.uri} has {columns}"
        )


def write_classifications(
    to: str, heatmaps: Heatmaps, class_names: Sequence[str], made_of: Mapping[str, object]
) -> None:
    """Write the most probable classes of images to `to`/classifications.parquet.

    One row for each class of an image: sample_id, rank from 1 on, class, name, probability. The
    images have the order of the heatmaps. made_of: the source and the network, for the metadata.
    """
    count, top = heatmaps.classes.shape
    classes = heatmaps.classes.ravel()
    table = pa.table(
        {
            "sample_id": pa.array(heatmaps.sample_ids.repeat(top), pa.int64()),
            "rank": pa.array(np.tile(np.arange(1, top + 1), count), pa.int32()),
            "class": pa.array(classes, pa.int64()),
            "name": pa.array([class_name(n, class_names) for n in classes.tolist()], pa.string()),
            "probability": pa.array(heatmaps.probabilities.ravel(), pa.float32()),
        }
    )
    buffer = io.BytesIO()
    pq.write_table(
        table.replace_schema_metadata({_METADATA_KEY: json.dumps(dict(made_of))}), buffer
    )
    Store(to).replace(CLASSIFICATIONS_FILE, buffer.getvalue())


def class_name(number: int, names: Sequence[str]) -> str:
    """Return the name of a class, or its number where the network has no names."""
    return names[number] if number < len(names) else str(number)
