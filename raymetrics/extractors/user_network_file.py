"""Use a network file of the user's own as an extractor: `path/to/network.pt`.

The file holds a network with its program: TorchScript (`torch.jit.save`), or an archive of
torch.export (`.pt2`; such a file may hold pickles, so open it only if you would run its author's
programs). The network takes images float32 [n, 3, size, size] and returns floats [n, d], or
several of them by name.

    size=224       pixels of a side; with 0 the network gets the images unchanged, uint8 of any size
    resize=NAME    a convention of `raymetrics.extractors.resize`
    scale=NAME     unit: 0..1; signed: -1..1; imagenet: minus the mean, divided by the deviation;
                   raw: 0..255
    block=N        the batch size, for a network that takes only one
    name=NAME      the name of the extractor; by default the name of the file
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from raymetrics.devices.tf32 import set_tf32
from raymetrics.errors import ExtractorError
from raymetrics.extractors.numerics import Numerics, choose_numerics
from raymetrics.extractors.options import Options
from raymetrics.extractors.pixel_scaling import SCALES
from raymetrics.extractors.resize import CONVENTIONS, resize
from raymetrics.extractors.user_outputs import (
    OWN_RESIZE,
    TRIAL_SIDE,
    column_safe,
    feature_tensors_by_name,
    gray_images,
    require_image_tensor,
    require_same_columns,
)
from raymetrics.weights.locate import file_sha256
from raymetrics.weights.torchscript_network import is_torchscript, load_torchscript

_OPTIONS = ("size", "resize", "scale", "block", "name")
_DEFAULT_SIZE = 224


@dataclass(frozen=True)
class Preprocessing:
    """The preprocessing of images for the network; with size 0 there is none."""

    size: int = _DEFAULT_SIZE
    resize: str = "clean"
    scale: str = "unit"

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        if not self.size:
            return images
        return SCALES[self.scale](resize(images.float(), self.size, self.resize)).contiguous()

    @property
    def spec(self) -> dict[str, object]:
        """The settings that change the features."""
        if not self.size:
            return {"size": 0, "resize": OWN_RESIZE}
        return {"size": self.size, "resize": self.resize, "scale": self.scale}


@dataclass(frozen=True, eq=False)
class NetworkFileExtractor:
    """An extractor around a network from a file, which checks the features that it returns."""

    name: str
    path: Path
    sha256: str  # of the file
    prepare: Preprocessing
    device: torch.device
    numerics: Numerics
    network: Callable[[torch.Tensor], Any] = field(repr=False)
    columns: dict[str, int] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    thread_safe: ClassVar[bool] = True

    @property
    def block(self) -> int:
        return self.numerics.block

    @property
    def file(self) -> dict[str, object]:
        return {"name": self.path.name, "sha256": self.sha256, "published": False}

    @property
    def spec(self) -> dict[str, object]:
        return {
            "name": self.name,
            "columns": self.columns,
            "file_sha256": self.sha256,
            **self.prepare.spec,
        }

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Compute the features {column: float32 [n, d]} of images uint8 [n, 3, h, w].

        Raises ExtractorError for other images, if the network fails, and if it returns anything
        but features of these columns.
        """
        features = self.tensors(require_image_tensor(images, str(self.path)))
        return {name: values.cpu().numpy() for name, values in features.items()}

    def tensors(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Compute the features {column: float32 [n, d]}, on the extractor's device.

        images: uint8 [n, 3, h, w]; those on another device are copied. The features have the bits
        of a call and belong to the caller. Raises ExtractorError as a call does.
        """
        features = self.run(require_image_tensor(images, str(self.path)))
        require_same_columns(features, self.columns, str(self.path))
        return features

    def run(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Run the network on images uint8 [n, 3, h, w]; return {column: float32 [n, d]}.

        Unlike a call of the extractor, accepts any columns. Raises ExtractorError if the network
        fails or returns anything but features.
        """
        try:
            with torch.no_grad(), set_tf32(False, self.device):
                outputs = self.network(self.prepare(images.to(self.device)))
        except (torch.OutOfMemoryError, torch.AcceleratorError):
            raise  # of the device, and not of the network
        except Exception as error:  # the errors of torch.jit have a class of their own
            reason = str(error).strip().splitlines()[-1] if str(error).strip() else ""
            raise ExtractorError(
                f"{self.path} failed on {len(images)} images of {images.shape[2]} x "
                f"{images.shape[3]}: {type(error).__name__}: {reason}; its input is set by "
                f"{', '.join(_OPTIONS[:4])}"
            ) from error
        return feature_tensors_by_name(outputs, len(images), str(self.path), self.device)


def open_network_file(
    path: Path,
    options: Options,
    device: torch.device,
    columns: dict[str, int] | None = None,
    recorded_numerics: Mapping[str, object] | None = None,
) -> NetworkFileExtractor:
    """Open the extractor of a network file.

    columns: {name: d} if known; with None a first call, with grey images, finds them.
    recorded_numerics: the block, if it is no option. Raises ExtractorError for a file without a
    network and for unknown options.
    """
    options.require_known(_OPTIONS)
    prepare = Preprocessing(
        size=options.number("size", _DEFAULT_SIZE),
        resize=options.choice("resize", CONVENTIONS, "clean"),
        scale=options.choice("scale", SCALES, "unit"),
    )
    extractor = NetworkFileExtractor(
        name=column_safe(options.name or path.stem),
        path=path,
        sha256=file_sha256(path),
        prepare=prepare,
        device=device,
        numerics=replace(
            choose_numerics(options, device, "float32", recorded_numerics), layout="contiguous"
        ),
        network=_load_network(path, device),
    )
    if columns is None:
        images = gray_images(extractor.block, prepare.size or TRIAL_SIDE)
        features = extractor.run(torch.from_numpy(images))
        columns = {name: x.shape[1] for name, x in features.items()}
    extractor.columns.update(columns)
    return extractor


def _load_network(path: Path, device: torch.device) -> Callable[[torch.Tensor], Any]:
    """Load the network in a file; raise ExtractorError if the file holds none."""
    if path.suffix == ".pt2":
        return _open_pt2(path, device)
    if not is_torchscript(path):
        raise ExtractorError(
            f"{path} is not a network that runs by itself; expected TorchScript (torch.jit.save) "
            "or torch.export's .pt2; weights of a known network are given as 'NETWORK?weights=PATH'"
        )
    return load_torchscript(path, str(path), device)


def _open_pt2(path: Path, device: torch.device) -> Callable[[torch.Tensor], Any]:
    """Load the network in an archive of torch.export; raise ExtractorError if that fails."""
    try:
        program = torch.export.load(path)
    except Exception as error:  # of many kinds, none of them documented
        raise ExtractorError(f"{path} cannot be loaded by torch.export: {error}") from None
    from torch.export.passes import move_to_device_pass

    return move_to_device_pass(program, device).module()
