"""FAISS flat indexes, on the GPU if there is one, searched in blocks that fit into memory."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from raymetrics.errors import RaymetricsError

_MIN_BLOCK = 16
_MIN_BLAS_NUMBERS = 2000


@cache
def load_faiss() -> Any:
    """Import FAISS. Raise RaymetricsError, which names the two packages, if it is not installed.

    The OpenBLAS inside FAISS's packages (0.3.15, of 2021) does not recognize younger processors and
    treats them like processors of 2004, at a seventh of their speed. While FAISS loads,
    $OPENBLAS_CORETYPE therefore names the family that numpy's own, younger OpenBLAS has detected.
    Also, FAISS (1.15) does not use its matrix product for less than 128,000 numbers of queries,
    such as 900 sketches, which is eight times slower; the threshold is lowered to 2,000.
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
    """Return the processor's family as numpy's OpenBLAS names it, in names known to old versions.

    None if numpy has another BLAS.
    """
    architectures = [
        i["architecture"] for i in threadpool_info() if i["internal_api"] == "openblas"
    ]
    newer = {"Cooperlake": "SkylakeX", "SapphireRapids": "SkylakeX"}
    return newer.get(architectures[0], architectures[0]) if architectures else None


def count_gpus(faiss: Any) -> int:
    """Count the GPUs that FAISS sees; 0 for the CPU's package, which lacks GPU classes.

    GPUs are counted beforehand and never probed: without a GPU some of FAISS's GPU functions end
    the process instead of raising an error.
    """
    return int(faiss.get_num_gpus()) if hasattr(faiss, "StandardGpuResources") else 0


class FlatIndex:
    """An index of float32 rows [m, d] by smallest distance (`l2`) or largest inner product (`ip`).

    All rows are added at once, because an index on a GPU copies all its rows when it grows.
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

    def search(self, queries: np.ndarray, fetch: int) -> tuple[np.ndarray, np.ndarray]:
        """Find the best rows for float32 queries: scores float32 [n, fetch], ids int64 [n, fetch].

        The best row comes first. If memory is too small for a block of queries, the block is
        halved.
        """
        scores = np.empty((len(queries), fetch), np.float32)
        ids = np.empty((len(queries), fetch), np.int64)
        start = 0
        while start < len(queries):
            block_rows = slice(start, start + self.block)
            try:
                scores[block_rows], ids[block_rows] = self.index.search(queries[block_rows], fetch)
            except RuntimeError as error:
                if self.block <= _MIN_BLOCK or not _is_out_of_memory(error):
                    raise
                self.block //= 2
                continue
            start += self.block
        return scores, ids


def _is_out_of_memory(error: BaseException) -> bool:
    """Return whether FAISS reports a failed allocation."""
    text = str(error).lower()
    return "alloc" in text or "out of memory" in text
