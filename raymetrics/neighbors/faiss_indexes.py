"""FAISS flat indexes, on the GPU where there is one, asked in blocks that fit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from raymetrics.errors import RaymetricsError

LARGEST_FETCH = 1024  # FAISS's kernels for GPUs select 2048 at most
MIN_BLOCK = 16
_MIN_BLAS_NUMBERS = 2000


@cache
def load_faiss() -> Any:
    """The module. RaymetricsError says which of the two packages to install.

    The OpenBLAS inside of FAISS's packages (0.3.15, of 2021) does not know processors younger
    than itself and treats them as of 2004, at a seventh of their speed. While it is loaded it is
    told what numpy's own, younger OpenBLAS has found. Nor does FAISS (1.15) use its matrix
    product for less than 128,000 numbers of queries, such as 900 sketches, which is eight times
    slower; it is told to from 2,000 on.
    """
    user_core = os.environ.get("OPENBLAS_CORETYPE")
    core = user_core or numpy_blas_core()
    try:
        if core:
            os.environ["OPENBLAS_CORETYPE"] = core
        import faiss
    except ImportError:
        raise RaymetricsError(
            "FAISS is not installed: pip install 'raymetrics[cpu]', or 'raymetrics[gpu]' where "
            "there is an NVIDIA GPU; never both"
        ) from None
    finally:
        if core and not user_core:
            del os.environ["OPENBLAS_CORETYPE"]
    faiss.cvar.distance_compute_blas_threshold = _MIN_BLAS_NUMBERS
    return faiss


def numpy_blas_core() -> str | None:
    """The processor's family as numpy's OpenBLAS names it, in names that an old one knows; None
    where numpy has another BLAS."""
    architectures = [
        i["architecture"] for i in threadpool_info() if i["internal_api"] == "openblas"
    ]
    newer = {"Cooperlake": "SkylakeX", "SapphireRapids": "SkylakeX"}
    return newer.get(architectures[0], architectures[0]) if architectures else None


def count_gpus(faiss: Any) -> int:
    """How many GPUs FAISS sees; 0 for the CPU's package, which only lacks the resources' class.

    Asked beforehand and never tried: without a GPU some of FAISS's functions for GPUs end the
    process instead of raising an error.
    """
    return int(faiss.get_num_gpus()) if hasattr(faiss, "StandardGpuResources") else 0


class FlatIndex:
    """The nearest (`l2`) or the greatest inner products (`ip`) among float32 rows [m, d].

    All rows are added at once: a GPU's index that grows is copied as a whole.
    """

    def __init__(self, kind: str, rows: np.ndarray, block: int = 4096) -> None:
        faiss = load_faiss()
        self.block = block
        names = {"l2": "IndexFlatL2", "ip": "IndexFlatIP"}
        if count_gpus(faiss):
            self.resources = faiss.StandardGpuResources()
            self.index = getattr(faiss, "Gpu" + names[kind])(self.resources, rows.shape[1])
        else:
            self.index = getattr(faiss, names[kind])(rows.shape[1])
        self.index.add(rows)

    def __len__(self) -> int:
        return int(self.index.ntotal)

    def search(self, queries: np.ndarray, fetch: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores float32 [n, fetch] and ids int64 [n, fetch], best first, of float32 queries.

        Where the memory is not enough for a block of queries, the block is halved.
        """
        scores = np.empty((len(queries), fetch), np.float32)
        ids = np.empty((len(queries), fetch), np.int64)
        start = 0
        while start < len(queries):
            block_rows = slice(start, start + self.block)
            try:
                scores[block_rows], ids[block_rows] = self.index.search(queries[block_rows], fetch)
            except RuntimeError as error:
                if self.block <= MIN_BLOCK or not _is_out_of_memory(error):
                    raise
                self.block //= 2
                continue
            start += self.block
        return scores, ids


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether FAISS says that it could not allocate."""
    text = str(error).lower()
    return "alloc" in text or "out of memory" in text


def row_slices(rows: int, size: int) -> Iterator[slice]:
    """Slices that cover `rows` rows, `size` at a time."""
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def float32_distances(queries: np.ndarray, base: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Distances in float32 from differences, float64 [b, c]; infinite where the id is -1.

    queries, base: float32 [b, d], [m, d]; ids: int64 [b, c].
    """
    faiss = load_faiss()
    squared = np.full(ids.shape, np.inf, np.float32)
    faiss.fvec_L2sqr_by_idx(
        faiss.swig_ptr(squared),
        faiss.swig_ptr(queries),
        faiss.swig_ptr(base),
        faiss.swig_ptr(ids),
        base.shape[1],
        len(queries),
        ids.shape[1],
    )
    return np.sqrt(squared.astype(np.float64))
