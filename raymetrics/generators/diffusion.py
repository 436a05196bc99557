"""The source `diffusers:FOLDER`: a pipeline of the library diffusers, which is optional.

Its weights are read as safetensors alone, and code that comes with a pipeline is not run.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import re
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from raymetrics.blocks import in_blocks
from raymetrics.errors import SourceError
from raymetrics.provenance import fingerprint

# The files of a pipeline that change its pixels; others are texts about it.
PARTS = frozenset({".safetensors", ".json", ".txt", ".model"})


class Diffusion:
    """A pipeline by its folder or its name, as in `diffusers:sd?prompt=a cat&steps=30`.

    Sample k draws all its noise from a torch.Generator of seed k, on the CPU, so that it is
    the same noise on every device.

    steps: of denoising; guidance: its scale; prompt: of a pipeline that takes text.
    label: the class of all samples, of a pipeline that takes classes; or classes: of how many
        RandomState(k) draws one for sample k.
    revision: the commit of a pipeline that is named instead of lying in a folder; names may
        change what they stand for, and commits may not.
    """

    length = None
    block = 8

    def __init__(
        self,
        path: str,
        device: torch.device,
        steps: str | int | None = None,
        guidance: str | float | None = None,
        prompt: str | None = None,
        label: str | int | None = None,
        classes: str | int | None = None,
        revision: str | None = None,
    ) -> None:
        self.name, self.path, self.revision = Path(path).name, path, revision
        self.options: dict[str, object] = {}
        if steps is not None:
            self.options["num_inference_steps"] = int(steps)
        if guidance is not None:
            self.options["guidance_scale"] = float(guidance)
        if prompt is not None:
            self.options["prompt"] = prompt
        self.label = None if label is None else int(label)
        self.classes = None if classes is None else int(classes)
        self.pipeline = self._load(device)
        self._check()

    def _load(self, device: torch.device) -> Any:
        if not Path(self.path).is_dir() and not re.fullmatch("[0-9a-f]{40}", self.revision or ""):
            raise ValueError(
                f"{self.path} is no folder here; a pipeline's name needs its commit, all 40 "
                "digits, as in ?revision=..."
            )
        try:
            diffusers = importlib.import_module("diffusers")
        except ImportError:
            raise SourceError(
                "sources of diffusers come with that library, which is not installed; "
                "pip install diffusers transformers"
            ) from None
        try:
            pipeline = diffusers.DiffusionPipeline.from_pretrained(
                self.path, revision=self.revision, use_safetensors=True
            )
        except (OSError, ValueError, ImportError, AttributeError, KeyError) as error:
            reason = " ".join(str(error).split())[:300]
            raise SourceError(
                f"cannot open the pipeline {self.path}: {reason}; expected a folder as diffusers' "
                "save_pretrained writes it, with weights as .safetensors"
            ) from None
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(device)

    def _check(self) -> None:
        """That the pipeline takes what is given, and is given what it cannot do without."""
        takes = inspect.signature(self.pipeline.__call__).parameters
        kind = type(self.pipeline).__name__
        for name in self.options:
            if name not in takes:
                raise ValueError(f"{kind} takes no {name}; it takes {', '.join(takes)}")
        if "prompt" in takes and "prompt" not in self.options:
            raise ValueError(f"{kind} takes text: give one as ?prompt=...")
        wants = "class_labels" in takes
        if wants != ((self.label is None) != (self.classes is None)):
            what = "needs ?label=... or ?classes=..." if wants else "takes no label and no classes"
            raise ValueError(f"{kind} {what}")

    @cached_property
    def spec(self) -> dict[str, object]:
        """Covers the bytes of a folder's files; a name is covered by its commit."""
        parts = {file: _digest(Path(self.path) / file) for file in self._files()}
        return {
            "name": "diffusers",
            "pipeline": fingerprint(parts) if parts else f"{self.path}@{self.revision}",
            "kind": type(self.pipeline).__name__,
            "options": self.options,
            "label": self.label,
            "classes": self.classes,
        }

    @property
    def listing(self) -> str:
        """Names and sizes of the files: what a worker compares, as it does not digest them."""
        sizes = {file: (Path(self.path) / file).stat().st_size for file in self._files()}
        return fingerprint(
            {"path": self.path, "revision": self.revision, "files": sizes}
            | {"options": self.options, "label": self.label, "classes": self.classes}
        )

    def _files(self) -> list[str]:
        root = Path(self.path)
        found = (file for file in root.rglob("*") if file.suffix in PARTS and file.is_file())
        return sorted(file.relative_to(root).as_posix() for file in found)

    def labels(self, sample_ids: np.ndarray) -> np.ndarray | None:
        """The class of each sample, int64 [n]; None where there are none."""
        if self.label is not None:
            return np.full(len(sample_ids), self.label, np.int64)
        if self.classes is None:
            return None
        drawn = [np.random.RandomState(k).randint(self.classes) for k in sample_ids]
        return np.array(drawn, np.int64)

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        """sample_ids int64 [n] -> images uint8 [n, 3, h, w]. SourceError if there are none."""
        return in_blocks(self._generate, sample_ids, sample_ids, self.block)["images"]

    def _generate(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        takes = inspect.signature(self.pipeline.__call__).parameters
        asked: dict[str, Any] = dict(self.options)
        if "prompt" in asked:
            asked["prompt"] = [self.options["prompt"]] * len(ids)
        elif (labels := self.labels(ids)) is not None:
            asked["class_labels"] = labels.tolist()
        elif "batch_size" in takes:
            asked["batch_size"] = len(ids)
        generators = [torch.Generator().manual_seed(int(k)) for k in ids]
        with torch.inference_mode():
            made = self.pipeline(**asked, generator=generators, output_type="np")
        return {"images": self._rounded(np.asarray(made.images), len(ids))}

    def _rounded(self, images: np.ndarray, count: int) -> np.ndarray:
        """Floats [n, h, w, 1 or 3] in 0..1 as uint8, by diffusers' own rule."""
        if images.ndim != 4 or len(images) != count or images.shape[3] not in (1, 3):
            raise SourceError(
                f"{self.name} gave {list(images.shape)} for {count} samples, expected images "
                f"[{count}, height, width, 3]"
            )
        rounded = (images * 255).round().astype(np.uint8)
        channels_first = np.broadcast_to(rounded, (*rounded.shape[:3], 3)).transpose(0, 3, 1, 2)
        return np.ascontiguousarray(channels_first)


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
