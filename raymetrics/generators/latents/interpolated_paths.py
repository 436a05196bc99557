"""Images on straight lines in W between samples (Kynkaanniemi et al. 2019, section 5.1), a source:

    raymetrics.generators.latents.interpolated_paths:Paths?of=digits&ends=/data/ends.parquet&steps=9

`source_of` writes it. Options of `of` must be percent-encoded, "?" as %3F, "=" as %3D, "&" as %26:
`of=digits%3Ftruncate%3Dclamp:0.7`.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import torch

from raymetrics.errors import SourceError
from raymetrics.generators import absolute_source, open_source
from raymetrics.generators.base import Generator, LatentGenerator, require_latent_generator
from raymetrics.generators.latents.latent_batches import LatentsSource, sample_w, synthesize_samples
from raymetrics.generators.network_files import read_bytes
from raymetrics.option_strings import format_options

_TARGET = "raymetrics.generators.latents.interpolated_paths:InterpolatedPaths"
_COLUMNS = ("start", "end")
_MAX_PATHS = 10**8  # of a file, which may announce more rows than any memory holds


def paths_source(source: str, ends: str, steps: int) -> str:
    """The source of the images between samples of the source `of`; see `Paths`.

    Local files of both by absolute paths, as workers may be elsewhere.
    """
    file = ends if "://" in ends else str(Path(ends).resolve())
    return format_options(
        _TARGET, {"of": absolute_source(source), "ends": file, "steps": str(steps)}
    )


class InterpolatedPaths:
    """Sample path * steps + step is intermediate image `step` of a path; the ends are left out.

    of: a latent source, truncated or not. ends: a Parquet file with int64 columns `start` and
    `end`, sample ids of that source; a path in each row. steps: images on each path.
    """

    def __init__(self, of: str, ends: str, steps: str | int) -> None:
        self.steps = int(steps)
        if self.steps < 1:
            raise SourceError(f"steps is {steps}, expected the images on a path, at least 1")
        self.inner = require_latents_source(open_source(of, _default_device()))
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
        """That of the source."""
        return self.inner.block

    @property
    def spec(self) -> dict[str, object]:
        return {"of": dict(self.inner.spec), "ends_sha256": self.sha256, "steps": self.steps}

    def labels(self, sample_ids: np.ndarray) -> None:
        """Between two classes there is none; w carries what there is of them."""

    def latents(self, sample_ids: np.ndarray) -> np.ndarray:
        """w(start) + t (w(end) - w(start)), t = (step + 1) / (steps + 1); float32 [n, w]."""
        path, step = np.divmod(sample_ids, self.steps)
        # Steps of one path share its ends, and paths may share them too.
        unique, rows = np.unique(self.ends[path], return_inverse=True)
        start, end = sample_w(self.inner, unique).astype(np.float64)[rows.reshape(-1, 2).T]
        t = (step + 1) / (self.steps + 1)
        return (start + t[:, None] * (end - start)).astype(np.float32)

    def synthesize(self, w: np.ndarray) -> np.ndarray:
        """w float32 [n, w] -> images uint8 [n, 3, h, w]."""
        return self.inner.synthesize(w)

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        """sample_ids int64 [n] -> images uint8 [n, 3, h, w]."""
        return synthesize_samples(self.inner, sample_ids, self.latents(sample_ids))


def require_latents_source(generator: Generator) -> LatentGenerator | LatentsSource:
    """The generator, if its samples are images of latents; else SourceError."""
    return (
        generator if isinstance(generator, LatentsSource) else require_latent_generator(generator)
    )


def _default_device() -> torch.device:
    """The accelerator, or the CPU: a `module:callable` is not told which."""
    return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")


def _read_ends(data: bytes, where: str) -> np.ndarray:
    """The columns `start` and `end` of a Parquet file, int64 [paths, 2]. SourceError."""
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
            f"{where} has {table.num_rows} rows of {column_types}, expected a row for every path, with "
            "sample ids int64 in columns start and end"
        )
    return np.column_stack([table[name].to_numpy() for name in _COLUMNS])
