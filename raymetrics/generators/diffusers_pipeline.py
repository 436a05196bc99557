"""Generate images with a pipeline of the optional library diffusers: `diffusers:FOLDER`.

Weights are read only from safetensors files. Code that comes with a pipeline is not run: a folder
with Python files is refused before diffusers opens it, and for a pipeline's name diffusers gets the
argument `trust_remote_code=False`.
"""

from __future__ import annotations

import importlib
import inspect
import re
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from raymetrics.errors import SourceError
from raymetrics.fixed_batches import run_in_fixed_batches
from raymetrics.generators.base import SEED_COUNT
from raymetrics.generators.network_files import load_once
from raymetrics.generators.tensor_generator import TensorGenerator, as_tensor
from raymetrics.generators.uint8_rules import require_finite, to_uint8, unit_round
from raymetrics.provenance import fingerprint
from raymetrics.weights.locate import file_sha256

# The files of a pipeline that change its pixels; all others describe it.
_PIXEL_SUFFIXES = frozenset({".safetensors", ".json", ".txt", ".model"})
_INSTALL_COMMAND = "pip install 'raymetrics[diffusers]'"


class DiffusersPipeline(TensorGenerator):
    """A pipeline, given by its folder or its name, as in `diffusers:sd?prompt=a cat&steps=30`.

    Sample k draws all its noise from a torch.Generator of seed k on the CPU, so that the noise is
    the same for every device.

    steps: the number of denoising steps. guidance: the guidance scale. prompt: the text, for a
    pipeline that takes text. prompts: instead of prompt, a file of UTF-8 with a text in each line;
    sample k is made from line k, and after the last line the first one follows again.
    label: the class of all samples, for a pipeline that takes classes. classes: instead of label,
    the number of classes; RandomState(k) draws the class of sample k.
    revision: the commit of a pipeline that is given by its name. The files behind a name may
    change, the files of a commit do not.
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
        prompts: str | None = None,
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
        self._lines = None if prompts is None else _read_lines(prompts)
        if self._lines is not None:
            if prompt is not None:
                raise ValueError("it has prompt and prompts; give one of them")
            self.options["prompts_sha256"] = fingerprint({"prompts": self._lines})
        self.label = None if label is None else int(label)
        self.classes = None if classes is None else int(classes)
        files = {file: (Path(path) / file).stat() for file in self._files()}
        seen = tuple((file, s.st_size, s.st_mtime_ns) for file, s in files.items())
        self.pipeline = load_once((path, revision, seen, device), lambda: self._load(device))
        self._require_options_fit()

    @property
    def seeds(self) -> int | None:
        """The number of seeds if classes are drawn, else None: a torch.Generator takes any id."""
        return SEED_COUNT if self.classes else None

    @property
    def weight_bytes(self) -> int:
        """The bytes of the weights of all networks of the pipeline."""
        parts = self.pipeline.components.values()
        networks = [part for part in parts if isinstance(part, torch.nn.Module)]
        return sum(p.nbytes for network in networks for p in network.parameters())

    def _load(self, device: torch.device) -> Any:
        if not Path(self.path).is_dir() and not re.fullmatch("[0-9a-f]{40}", self.revision or ""):
            raise ValueError(
                f"{self.path} is no folder here; a pipeline's name needs its commit, all 40 "
                "digits, as in ?revision=..."
            )
        self._require_no_code()
        try:
            diffusers = importlib.import_module("diffusers")
        except ImportError:
            raise SourceError(
                "sources of diffusers come with that library, which is not installed; "
                f"{_INSTALL_COMMAND}"
            ) from None
        try:
            pipeline = diffusers.DiffusionPipeline.from_pretrained(
                self.path,
                revision=self.revision,
                use_safetensors=True,
                trust_remote_code=False,
            )
        except (OSError, ValueError, ImportError, AttributeError, KeyError) as error:
            reason = " ".join(str(error).split())[:300]
            raise SourceError(
                f"cannot open the pipeline {self.path}: {reason}; expected a folder as diffusers' "
                "save_pretrained writes it, with weights as .safetensors"
                f"{self._transformers_hint()}"
            ) from None
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(device)

    def _require_no_code(self) -> None:
        if code := [file for file in self._files() if file.endswith(".py")]:
            raise SourceError(
                f"{self.path} comes with code, {code[0]}, which is not run; expected a pipeline "
                "of diffusers' own classes. If you trust the code, call it from a class of yours, "
                "and give that as module:Class"
            )

    def _transformers_hint(self) -> str:
        if find_spec("transformers") is not None:
            return ""
        return f"; pipelines that take text need the library transformers too: {_INSTALL_COMMAND}"

    def _require_options_fit(self) -> None:
        """Raise ValueError if the pipeline takes no such option or lacks one that it needs."""
        takes = inspect.signature(self.pipeline.__call__).parameters
        kind = type(self.pipeline).__name__
        asked = {"prompt" if name == "prompts_sha256" else name for name in self.options}
        for name in asked:
            if name not in takes:
                raise ValueError(f"{kind} takes no {name}; it takes {', '.join(takes)}")
        if "prompt" in takes and "prompt" not in asked:
            raise ValueError(
                f"{kind} takes text: give one as ?prompt=..., or a file of them as ?prompts=..."
            )
        wants = "class_labels" in takes
        if wants != ((self.label is None) != (self.classes is None)):
            what = "needs ?label=... or ?classes=..." if wants else "takes no label and no classes"
            raise ValueError(f"{kind} {what}")

    @cached_property
    def spec(self) -> dict[str, object]:
        """The digest of a folder's files, or a name and its commit; and the options."""
        digests = {file: file_sha256(Path(self.path) / file) for file in self._pixel_files()}
        return {
            "name": "diffusers",
            "pipeline": fingerprint(digests) if digests else f"{self.path}@{self.revision}",
            "kind": type(self.pipeline).__name__,
            "options": self.options,
            "label": self.label,
            "classes": self.classes,
        }

    @property
    def quick_fingerprint(self) -> str:
        """A digest of the files' names and sizes, which workers compare: cheaper than the spec."""
        sizes = {file: (Path(self.path) / file).stat().st_size for file in self._pixel_files()}
        return fingerprint(
            {"path": self.path, "revision": self.revision, "files": sizes}
            | {"options": self.options, "label": self.label, "classes": self.classes}
        )

    def _pixel_files(self) -> list[str]:
        return [file for file in self._files() if Path(file).suffix in _PIXEL_SUFFIXES]

    def _files(self) -> list[str]:
        root = Path(self.path)
        # rglob does not enter a component's folder that is a link; the second pattern does.
        paths = {file for file in (*root.rglob("*"), *root.glob("*/*")) if file.is_file()}
        return sorted(file.relative_to(root).as_posix() for file in paths)

    def labels(self, sample_ids: np.ndarray) -> np.ndarray | None:
        """Return the class of each sample, int64 [n]; None without the options of classes."""
        if self.label is not None:
            return np.full(len(sample_ids), self.label, np.int64)
        if self.classes is None:
            return None
        classes = [np.random.RandomState(k).randint(self.classes) for k in sample_ids]
        return np.array(classes, np.int64)

    def prompts(self, sample_ids: np.ndarray) -> list[str] | None:
        """Return the text of each sample; None without a file of prompts."""
        if self._lines is None:
            return None
        return [self._lines[k % len(self._lines)] for k in sample_ids.tolist()]

    def tensors(self, sample_ids: np.ndarray) -> torch.Tensor:
        """Generate images uint8 [n, 3, h, w] from sample ids int64 [n], as a tensor on the CPU.

        They are on the CPU because every pipeline gives arrays. What some pipelines give if they
        are asked for tensors has another range of values. Raises SourceError if the pipeline gives
        no images, or numbers that are not finite.
        """
        ids = as_tensor(sample_ids)
        outputs = run_in_fixed_batches(self._generate, sample_ids, ids, self.block)
        return require_finite(outputs, sample_ids, self.name)

    def _generate(self, sample_ids: torch.Tensor) -> dict[str, torch.Tensor]:
        ids = sample_ids.numpy()
        takes = inspect.signature(self.pipeline.__call__).parameters
        arguments: dict[str, Any] = dict(self.options)
        arguments.pop("prompts_sha256", None)
        if (texts := self.prompts(ids)) is not None:
            arguments["prompt"] = texts
        elif "prompt" in arguments:
            arguments["prompt"] = [self.options["prompt"]] * len(ids)
        elif (labels := self.labels(ids)) is not None:
            arguments["class_labels"] = labels.tolist()
        elif "batch_size" in takes:
            arguments["batch_size"] = len(ids)
        generators = [torch.Generator().manual_seed(int(k)) for k in ids]
        with torch.inference_mode():
            result = self.pipeline(**arguments, generator=generators, output_type="np")
        return to_uint8(self._channels_first(np.asarray(result.images), len(ids)), unit_round)

    def _channels_first(self, images: np.ndarray, count: int) -> torch.Tensor:
        """Convert images [n, h, w, 1 or 3] to [n, 3, h, w]; SourceError for other shapes."""
        if images.ndim != 4 or len(images) != count or images.shape[3] not in (1, 3):
            raise SourceError(
                f"{self.name} gave {list(images.shape)} for {count} samples, expected images "
                f"[{count}, height, width, 3]"
            )
        return torch.from_numpy(images).movedim(3, 1).expand(-1, 3, -1, -1)


def _read_lines(path: str) -> list[str]:
    """Read the lines of a file of UTF-8. ValueError if it is missing, empty, or no text."""
    if not Path(path).is_file():
        raise ValueError(f"there is no file {path} with prompts, a text in each line")
    try:
        text = Path(path).read_text(encoding="utf-8").removesuffix("\n")
    except UnicodeDecodeError:
        raise ValueError(f"{path} holds no prompts; expected UTF-8") from None
    if not text:
        raise ValueError(f"{path} holds no prompts; expected a text in each line")
    return text.split("\n")
