"""Generate images on straight lines in W between samples (Kynkaanniemi et al. 2019, section 5.1).

`paths_source` writes the text of this source, the callable `_TARGET` of this module with the
options of `InterpolatedPaths`:

    ...interpolated_paths:InterpolatedPaths?of=digits&ends=/data/ends.parquet&steps=9

In the option `of`, the characters of another source's options must be percent-encoded, "?" as %3F,
"=" as %3D, "&" as %26: `of=digits%3Ftruncate%3Dclamp:0.7`.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from raymetrics.errors import SourceError
from raymetrics.generators import absolute_source, open_source
from raymetrics.generators.base import Generator, LatentGenerator, require_latent_generator
from raymetrics.generators.latents.latent_batches import (
    LatentsSource,
    sample_w,
    synthesize_samples,
    synthesize_tensors,
)
from raymetrics.generators.network_files import read_bytes
from raymetrics.generators.tensor_generator import TensorGenerator
from raymetrics.option_strings import format_options

_TARGET = "raymetrics.generators.latents.interpolated_paths:InterpolatedPaths"
_COLUMNS = ("start", "end")
_MAX_PATHS = 10**8  # of a file; a damaged file may announce more rows than memory can hold


def paths_source(source: str, ends: str, steps: int) -> str:
    """Return the text of the source of images between samples; see `InterpolatedPaths`.

    source: the source of the samples. Local files of both `source` and `ends` get absolute paths,
    as workers may run in other folders.
    """
    file = ends if "://" in ends else str(Path(ends).resolve())
    return format_options(
        _TARGET, {"of": absolute_source(source), "ends": file, "steps": str(steps)}
    )


class InterpolatedPaths(TensorGenerator):
    """A generator of images on paths: sample path * steps + step is image `step` of the path.

    The images of the ends are not samples. of: a latent source, truncated or not. ends: a Parquet
    file with a path in each row, int64 columns `start` and `end`, sample ids of that source.
    steps: the number of images on each path. device: where the source computes.
    """

    def __init__(
        self, of: str, ends: str, steps: str | int, device: str | torch.device = "cpu"
    ) -> None:
        self.steps = int(steps)
        if self.steps < 1:
            raise SourceError(f"steps is {steps}, expected the images on a path, at least 1")
        self.inner = require_latents_source(open_source(of, torch.device(device)))
        data = read_bytes(ends)
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.ends = _read_ends(data, ends)
        self._require_known_ids(ends)

    def _require_known_ids(self, where: str) -> None:
        length = self.inner.length
        if self.ends.min() < 0 or (length is not None and self.ends.max() >= length):
            known = "from 0 on" if length is None else f"0-{length - 1}"
            raise SourceError(
                f"{where} has sample ids {self.ends.min()}-{self.ends.max()}, but "
                f"{self.inner.name} has {known}"
            )

    @property
    def name(self) -> str:
        return f"paths of {self.inner.name}"

    @property
    def length(self) -> int:
        return len(self.ends) * self.steps

    @property
    def block(self) -> int:
        """The batch size of the source."""
        return self.inner.block

    @property
    def spec(self) -> dict[str, object]:
        return {"of": dict(self.inner.spec), "ends_sha256": self.sha256, "steps": self.steps}

    def labels(self, sample_ids: np.ndarray) -> None:
        """Return None: an image between two classes has no class."""

    def latents(self, sample_ids: np.ndarray) -> np.ndarray:
        """Compute w(start) + t (w(end) - w(start)) for samples, float32 [n, w].

        t = (step + 1) / (steps + 1). If the layers of the source have different w, each layer has
        its own line: float32 [n, layers, w].
        """
        path, step = np.divmod(sample_ids, self.steps)
        # The steps of a path share its ends, and several paths may share an end.
        unique, rows = np.unique(self.ends[path], return_inverse=True)
        start, end = sample_w(self.inner, unique).astype(np.float64)[rows.reshape(-1, 2).T]
        t = ((step + 1) / (self.steps + 1)).reshape(-1, *[1] * (start.ndim - 1))
        return (start + t * (end - start)).astype(np.float32)

    def synthesize(self, w: np.ndarray) -> np.ndarray:
        """Synthesize images uint8 [n, 3, h, w] from w float32 [n, w]."""
        return self.inner.synthesize(w)

    def synthesize_tensors(self, w: np.ndarray) -> Tensor:
        """Synthesize images uint8 [n, 3, h, w] on the source's device from w float32 [n, w]."""
        return synthesize_tensors(self.inner, w)

    def tensors(self, sample_ids: np.ndarray) -> Tensor:
        """Generate images uint8 [n, 3, h, w] on the source's device from sample ids int64 [n]."""
        return synthesize_samples(self.inner, sample_ids, self.latents(sample_ids))


def require_latents_source(generator: Generator) -> LatentGenerator | LatentsSource:
    """Return the generator; raise SourceError if its samples are no images of latents."""
    return (
        generator if isinstance(generator, LatentsSource) else require_latent_generator(generator)
    )


def _read_ends(data: bytes, where: str) -> np.ndarray:
    """Read the columns `start` and `end` of a Parquet file, int64 [paths, 2].

    Raises SourceError if the file is damaged, has no rows or too many, or has no such columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_metadata(io.BytesIO(data)).num_rows
        if rows > _MAX_PATHS:
            raise SourceError(f"{where} has {rows} rows, expected at most {_MAX_PATHS} paths")
        table = pq.read_table(io.BytesIO(data))
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"cannot read the ends of paths in {where}: {error}") from None
    column_types = {f.name: str(f.type) for f in table.schema}
    right = all(column_types.get(name) == "int64" for name in _COLUMNS)
    if not right or not table.num_rows or any(table[name].null_count for name in _COLUMNS):
        raise SourceError(
            f"{where} has {table.num_rows} rows of {column_types}, expected a row for every path, "
            "with sample ids int64 in columns start and end"
        )
    return np.column_stack([table[name].to_numpy() for name in _COLUMNS])
