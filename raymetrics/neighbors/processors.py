"""What tiles ask of a processor: products, the pairs that a product leaves open, and distances.

Two classes do the same: with numpy on CPUs, where its elementwise loops are the fastest, and with
torch on a GPU (or, in tests, on the CPU). Results come back as arrays of numpy.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from glob import glob
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from raymetrics.neighbors.exact_distances import pair_distances, sum_by_halves

ROUNDOFF32, ROUNDOFF16 = 2.0**-24, 2.0**-11
_STRIP_ROWS = 64  # of a tile that stay in the cache while they are compared
_MIN_SKETCHED_DIMENSION = 256  # below, products are too cheap for a sketch to save time
_CLEARLY_FASTER = 0.9  # of the seconds of numpy's product, for torch's to be taken
_NEARLY_0 = 1e-30  # of values, where a quotient must be finite
_DEVICE_PAIRS = 2**13  # pairs whose differences a GPU holds at a time

Product = Callable[[np.ndarray, np.ndarray, np.ndarray], None]  # [b, d], [c, d], into [b, c]
OpenPairs = tuple[np.ndarray, np.ndarray, np.ndarray]  # i, j, value


class CpuProcessor:
    """The cores of this process: each computes tiles by itself."""

    screen_type: Any = np.float32
    unit = accumulation = ROUNDOFF32
    side = 1024  # rows of a tile

    def __init__(self, product: Product | None = None, threads: int | None = None) -> None:
        self.given_product, self.threads = product, threads or count_threads()
        self.local = threading.local()

    @contextmanager
    def exact_products(self) -> Iterator[None]:
        """Let every thread multiply by itself, with the faster library."""
        with _one_blas_thread():
            self.product_function = self.given_product or choose_product()
            yield

    def can_sketch(self, features: np.ndarray) -> bool:
        """Return whether products are so expensive that sketches may save time."""
        return features.shape[1] >= _MIN_SKETCHED_DIMENSION

    def upload(self, array: np.ndarray) -> np.ndarray:
        """Return the array."""
        return array

    def clock(self) -> float:
        """Return the seconds that this thread has computed, whatever else the machine does."""
        return time.thread_time()

    def product(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Compute inner products of rows, float32 [b, c], until the thread's next product."""
        if not hasattr(self.local, "values"):
            self.local.values = np.empty(self.side**2, np.float32)
        size = len(left) * len(right)
        values: np.ndarray = self.local.values[:size].reshape(len(left), len(right))
        self.product_function(left, right, values)
        return values

    def product64(
        self, left: np.ndarray, right: np.ndarray, center: np.ndarray, scale: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Compute inner products of centered rows in float64 [b, c], and norms of both."""
        x, y = (left - center) * scale, (right - center) * scale
        return x @ y.T, np.linalg.norm(x, axis=1), np.linalg.norm(y, axis=1)

    def subtract(self, values: np.ndarray, of_rows: np.ndarray, of_columns: np.ndarray) -> None:
        """Subtract a number of each row and of each column, in place."""
        for strip in _strips(len(values)):
            values[strip] -= of_columns.astype(values.dtype)
            values[strip] -= of_rows[strip, None].astype(values.dtype)

    def exclude_diagonal(self, values: np.ndarray) -> None:
        """Set rows infinitely far from themselves, in place."""
        np.fill_diagonal(values, -np.inf)

    def kth_largest(self, values: np.ndarray, k: int) -> np.ndarray:
        """Compute the k-th largest value of each row."""
        return np.partition(values, -k, axis=1)[:, -k]

    def open_pairs(
        self, values: np.ndarray, row_floors: np.ndarray, column_floors: np.ndarray | None = None
    ) -> OpenPairs:
        """Find the values that reach the floor of their row, or that of their column."""
        flat = []
        row_floors = _round_down(row_floors, values.dtype)[:, None]
        if column_floors is not None:
            column_floors = _round_down(column_floors, values.dtype)
        for strip in _strips(len(values)):
            is_open = values[strip] >= row_floors[strip]
            if column_floors is not None:
                is_open |= values[strip] >= column_floors
            flat.append(np.flatnonzero(is_open) + strip.start * values.shape[1])
        positions = np.concatenate(flat)
        i, j = np.divmod(positions, values.shape[1])
        return i, j, values.ravel()[positions].astype(np.float64)

    def best_rows(self, values: np.ndarray, reach: np.ndarray) -> np.ndarray:
        """Find the row with the largest reach / -value in each column."""
        with np.errstate(over="ignore"):
            ratios = reach[:, None].astype(np.float32) / -values.clip(max=-_NEARLY_0)
        return ratios.argmax(axis=0)

    def pair_products(
        self, left: np.ndarray, right: np.ndarray, i: np.ndarray, j: np.ndarray
    ) -> np.ndarray:
        """Compute left[i] . right[j] for pairs in ascending order of i, float64 [pairs]."""
        import torch

        _hear_beta_warning()
        starts = np.searchsorted(i, np.arange(len(left) + 1))
        pattern = torch.sparse_csr_tensor(
            torch.from_numpy(starts),
            torch.from_numpy(j),
            torch.zeros(len(j)),
            size=(len(left), len(right)),
        )
        x, y = torch.from_numpy(left), torch.from_numpy(right)
        products = torch.sparse.sampled_addmm(pattern, x, y.T, beta=0)
        return products.values().numpy().astype(np.float64)

    def pair_distances(
        self, left: np.ndarray, right: np.ndarray, i: np.ndarray, j: np.ndarray
    ) -> np.ndarray:
        """Compute |left[i] - right[j]|, float64 [pairs]."""
        return pair_distances(left, right, i, j)


class TorchProcessor:
    """A device of torch, which computes large tiles one after another.

    screen_type: of the rounded features; products of float16 are summed in float32.
    """

    accumulation = 2 * 2.0**-23  # tensor cores may round towards 0, and align what they add
    threads = 4  # of the host: some decide while the device multiplies for another

    def __init__(
        self, device: str = "cuda", screen_type: Any = np.float16, side: int | None = None
    ) -> None:
        import torch

        self.torch, self.device, self.screen_type = torch, torch.device(device), screen_type
        self.unit = ROUNDOFF16 if screen_type == np.float16 else ROUNDOFF32
        self.side = side or self._side_that_fits()

    def _side_that_fits(self) -> int:
        """Return how many rows a tile may have: a quarter of the free memory for all tiles."""
        if self.device.type != "cuda":
            return 1024
        free, _ = self.torch.cuda.mem_get_info(self.device)
        bytes_of_pair = 16  # a value, masks, and what nonzero needs
        side = (free / 4 / self.threads / bytes_of_pair) ** 0.5
        return int(min(2**14, 2 ** np.floor(np.log2(max(side, 2**10)))))

    @contextmanager
    def exact_products(self) -> Iterator[None]:
        """Switch off whatever sums products in less than float32."""
        matmul = self.torch.backends.cuda.matmul
        before = matmul.allow_tf32, matmul.allow_fp16_reduced_precision_reduction
        matmul.allow_tf32 = matmul.allow_fp16_reduced_precision_reduction = False
        try:
            yield
        finally:
            matmul.allow_tf32, matmul.allow_fp16_reduced_precision_reduction = before

    def can_sketch(self, features: np.ndarray) -> bool:
        """Return False: a GPU multiplies whole features in less time than it refines sketches."""
        return False

    def upload(self, array: np.ndarray) -> Any:
        """Copy an array to the device."""
        array = np.require(array, requirements=["C", "W"])  # torch warns of what it cannot write
        return self.torch.as_tensor(array, device=self.device)

    def download(self, tensor: Any) -> np.ndarray:
        """Copy a tensor to the host."""
        array: np.ndarray = tensor.cpu().numpy()
        return array

    def clock(self) -> float:
        """Return the seconds of the wall clock."""
        return time.perf_counter()

    def product(self, left: Any, right: Any) -> Any:
        """Compute inner products of rows, float32 [b, c]."""
        if left.dtype == self.torch.float16 and self.device.type == "cuda":
            return self.torch.mm(left, right.T, out_dtype=self.torch.float32)
        return left.float() @ right.float().T

    def product64(
        self, left: Any, right: Any, center: np.ndarray, scale: float
    ) -> tuple[Any, np.ndarray, np.ndarray]:
        """Compute inner products of centered rows in float64 [b, c], and norms of both."""
        x, y = ((part.double() - self.upload(center)) * scale for part in (left, right))
        norms = [self.download(self.torch.linalg.vector_norm(part, dim=1)) for part in (x, y)]
        return x @ y.T, norms[0], norms[1]

    def subtract(self, values: Any, of_rows: np.ndarray, of_columns: np.ndarray) -> None:
        """Subtract a number of each row and of each column, in place."""
        values -= self.upload(of_columns).to(values.dtype)
        values -= self.upload(of_rows)[:, None].to(values.dtype)

    def exclude_diagonal(self, values: Any) -> None:
        """Set rows infinitely far from themselves, in place."""
        values.fill_diagonal_(-np.inf)

    def kth_largest(self, values: Any, k: int) -> np.ndarray:
        """Compute the k-th largest value of each row."""
        return self.download(values.topk(k, dim=1).values[:, -1])

    def open_pairs(
        self, values: Any, row_floors: np.ndarray, column_floors: np.ndarray | None = None
    ) -> OpenPairs:
        """Find the values that reach the floor of their row, or that of their column."""
        dtype = np.float32 if values.dtype == self.torch.float32 else np.float64
        is_open = values >= self.upload(_round_down(row_floors, dtype))[:, None]
        if column_floors is not None:
            is_open |= values >= self.upload(_round_down(column_floors, dtype))
        i, j = is_open.nonzero(as_tuple=True)
        return self.download(i), self.download(j), self.download(values[i, j].double())

    def best_rows(self, values: Any, reach: np.ndarray) -> np.ndarray:
        """Find the row with the largest reach / -value in each column."""
        ratios = self.upload(reach)[:, None].float() / -values.clip(max=-_NEARLY_0)
        return self.download(ratios.argmax(dim=0))

    def pair_distances(self, left: Any, right: Any, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Compute |left[i] - right[j]|, float64 [pairs], with the bits of the CPU."""
        squared = np.empty(len(i))
        for start in range(0, len(i), _DEVICE_PAIRS):
            part = slice(start, start + _DEVICE_PAIRS)
            difference = right[self.upload(j[part])].double()
            difference -= left[self.upload(i[part])]
            squared[part] = self.download(sum_by_halves(difference.square_()))
        return np.sqrt(squared)  # by numpy, as torch's root is not always rounded correctly


Processor = CpuProcessor | TorchProcessor


def count_threads() -> int:
    """Count the threads that this thread may compute with: those of torch, or of OpenMP."""
    if "torch" in sys.modules:
        return int(sys.modules["torch"].get_num_threads())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return int(os.environ.get("OMP_NUM_THREADS") or cores or 1)


def default_processor() -> Processor:
    """Return the GPU of this process; its cores if there is none.

    torch is loaded only where a device file or an earlier import says that it can matter.
    """
    if "torch" in sys.modules or any(map(glob, ("/dev/nvidia[0-9]*", "/dev/kfd", "/dev/dxg"))):
        import torch

        if torch.cuda.is_available():
            return TorchProcessor()
    return CpuProcessor()


def numpy_product(left: np.ndarray, right: np.ndarray, out: np.ndarray) -> None:
    """Multiply by numpy's library."""
    np.matmul(left, right.T, out=out)


def torch_product(left: np.ndarray, right: np.ndarray, out: np.ndarray) -> None:
    """Multiply by torch's library."""
    import torch

    torch.mm(torch.from_numpy(left), torch.from_numpy(right).T, out=torch.from_numpy(out))


def choose_product() -> Product:
    """Return the faster library; numpy's where torch is not loaded, because work is small."""
    return _fastest_product() if "torch" in sys.modules else numpy_product


@cache
def _fastest_product() -> Product:
    """Measure which library multiplies faster in one thread of this machine, once."""
    with ThreadPoolExecutor(1, initializer=compute_in_one_thread) as pool:
        return pool.submit(_measure_products).result()


def _measure_products() -> Product:
    # Two arrays, as numpy computes half of the product of an array with itself.
    left, right = np.random.default_rng(0).normal(size=(2, 512, 2048)).astype(np.float32)
    out = np.empty((512, 512), np.float32)
    seconds = dict.fromkeys((numpy_product, torch_product), np.inf)
    for _ in range(4):
        for product, earlier in seconds.items():
            start = time.perf_counter()
            product(left, right, out)
            seconds[product] = min(earlier, time.perf_counter() - start)
    is_faster = seconds[torch_product] < _CLEARLY_FASTER * seconds[numpy_product]
    return torch_product if is_faster else numpy_product


def compute_in_one_thread() -> None:
    """Let torch, if it is loaded, compute in the calling thread alone."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@cache
def _hear_beta_warning() -> None:
    """Make a sparse tensor, as torch says once that they are beta."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.sparse_csr_tensor([0, 1], [0], [1.0], size=(1, 1))


@cache
def _blas_libraries() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


_searches = (
    0  # that run at once; the first limits the threads of numpy's library, the last restores
)
_searches_lock = threading.Lock()
_restore_threads = ExitStack()


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """Let numpy's library use one thread for each that calls it, while any search runs."""
    global _searches
    with _searches_lock:
        _searches += 1
        if _searches == 1:
            _restore_threads.enter_context(_blas_libraries().limit(limits=1))
    try:
        yield
    finally:
        with _searches_lock:
            _searches -= 1
            if not _searches:
                _restore_threads.close()


def _strips(rows: int) -> Iterator[slice]:
    """Yield slices of a few rows that cover all."""
    for start in range(0, rows, _STRIP_ROWS):
        yield slice(start, start + _STRIP_ROWS)


def _round_down(floors: np.ndarray, dtype: Any) -> np.ndarray:
    """Convert floors to a type of values, so that none rises."""
    with np.errstate(over="ignore"):  # to infinity, which the next line takes back
        rounded = floors.astype(dtype)
    return np.where(rounded > floors, np.nextafter(rounded, np.array(-np.inf, dtype)), rounded)
