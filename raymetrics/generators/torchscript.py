"""The source `network.ts`: a generator as torch.jit saved it.

A TorchScript archive holds a program of tensor operations, compiled when it is opened, and no
Python. torch.export's archives (.pt2) are refused: opening one may unpickle, evaluates the
expressions in it, and calls any function of torch that it names.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
import zipfile
from pathlib import PurePosixPath

import numpy as np
import torch
from torch import Tensor

from raymetrics.blocks import in_blocks
from raymetrics.errors import SourceError, UnsafePickle
from raymetrics.generators.base import seeded_normals, to_uint8
from raymetrics.generators.content import content_of

# The operations of TorchScript that read and write files.
FILES = re.compile(r"\b(save|from_file)\(")
INSTEAD = "write a class that opens it, and give that as module:Class"


class TorchScript:
    """z -> images, saved by `torch.jit.save`; `network.ts?z=128` takes z of 128 numbers.

    The program maps z float32 [n, z], standard normal, to images [n, 3, h, w], uint8 or floats
    in -1..1. Sample k has the z that RandomState(k) draws, as NVIDIA's generators do.
    """

    length = None
    block = 16

    def __init__(self, path: str, device: torch.device, z: str | int = 512) -> None:
        data = content_of(path)
        self.path, self.device = path, device
        self.name = PurePosixPath(path).stem
        self.z_dim = int(z)
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.network = load(data, path, device)

    @property
    def spec(self) -> dict[str, object]:
        return {"name": "torchscript", "file_sha256": self.sha256, "z": self.z_dim}

    def labels(self, sample_ids: np.ndarray) -> None:
        """Not known."""

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        """sample_ids int64 [n] -> images uint8 [n, 3, h, w]. SourceError for anything else."""
        z = seeded_normals(sample_ids, self.z_dim)
        return in_blocks(self._generate, sample_ids, z, self.block)["images"]

    def _generate(self, z: np.ndarray) -> dict[str, np.ndarray]:
        try:
            # Optimised, the first runs differ from the later ones in their last bits.
            with torch.inference_mode(), torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
                images = self.network(torch.from_numpy(z).to(self.device))
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise SourceError(
                f"{self.path} failed on z float32 {list(z.shape)}: {reason}; another size of z "
                "is given as ?z=128"
            ) from None
        return {"images": self._checked(images)}

    def _checked(self, images: object) -> np.ndarray:
        if not isinstance(images, Tensor):
            raise self._wrong(type(images).__name__)
        floats = images.is_floating_point()
        if images.ndim != 4 or images.shape[1] != 3 or not (floats or images.dtype == torch.uint8):
            raise self._wrong(f"{images.dtype} {list(images.shape)}")
        return (to_uint8(images.float()) if floats else images).cpu().numpy()

    def _wrong(self, found: str) -> SourceError:
        return SourceError(
            f"{self.path} gave {found} for {self.block} samples, expected uint8 or floats in -1..1 "
            f"[{self.block}, 3, height, width]; for others, {INSTEAD}"
        )


def load(data: bytes, path: str, device: torch.device) -> torch.jit.ScriptModule:
    """The program in a TorchScript archive. SourceError or UnsafePickle for any other file."""
    check(data, path)
    with warnings.catch_warnings():
        # torch points to torch.export, which is no safe format.
        warnings.filterwarnings("ignore", r"`torch\.jit\.load` is deprecated")
        try:
            network = torch.jit.load(io.BytesIO(data), map_location=device)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0]
            raise SourceError(f"cannot open {path}: {reason}; save it again") from None
    return network.eval()


def check(data: bytes, path: str) -> None:
    """Looks into an archive without opening it: only TorchScript that leaves files alone passes."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            code = [archive.read(name) for name in names if re.search(r"/code/.*\.py$", name)]
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise SourceError(f"{path} is no TorchScript: {error}; expected torch.jit.save's") from None
    if any(re.search(r"^[^/]+/models/.*\.json$", name) for name in names):
        raise UnsafePickle(
            f"{path} is an archive of torch.export, which executes Python when it is opened; "
            f"save it by torch.jit.save, or {INSTEAD}"
        )
    if not code:
        raise UnsafePickle(
            f"{path} holds no TorchScript: torch.save's files of whole networks are pickles, and "
            f"raymetrics executes none; save it by torch.jit.save, or {INSTEAD}"
        )
    if found := FILES.search(b"\n".join(code).decode(errors="replace")):
        raise UnsafePickle(
            f"{path} calls {found[1]}, which reads or writes files; if you trust it, {INSTEAD}"
        )
