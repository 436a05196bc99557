"""What an extractor is; and how one is made of a published network and its weights."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from raymetrics.errors import ExtractorError
from raymetrics.extractors.options import Options
from raymetrics.extractors.random_weights import draw_random_weights
from raymetrics.extractors.resize import CONVENTIONS, SQUARE_CONVENTIONS, resize
from raymetrics.extractors.user_outputs import require_images
from raymetrics.weights.download import locate_or_download
from raymetrics.weights.locate import LocatedFile, WeightsFile
from raymetrics.weights.state_dict import StateDict, load_into_network, read_state, state_digest

_PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Extractor(Protocol):
    """Images to features. One forward pass gives all its columns."""

    @property
    def name(self) -> str: ...

    @property
    def columns(self) -> Mapping[str, int]:
        """The dimension of every column, e.g. {"pre_logits": 1280, "logits": 1000}."""

    @property
    def spec(self) -> Mapping[str, object]:
        """All that changes its numbers: name, digest of the weights, resize convention."""

    @property
    def file(self) -> Mapping[str, object]:
        """The file that its weights came from: {"name", "sha256", "published"}; may be empty.

        Other files may hold the same tensors, so none of it is in the spec.
        """

    @property
    def block(self) -> int:
        """The one batch size that it computes with; see `raymetrics.fixed_batches`."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the columns of `logits` stand for; empty where there are no logits."""

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """images uint8 [n, 3, h, w], of numpy or torch -> {column: float32 [n, d]}, of numpy.

        ExtractorError for other images, such as floats: which range they are in cannot be seen.
        """


def default_batch_size(device: torch.device) -> int:
    """A batch that is large enough to fill the device."""
    return 64 if device.type == "cuda" else 16


def _keep_names(state: StateDict) -> StateDict:
    """The names in the file are those of the network."""
    return state


@dataclass(frozen=True)
class PublishedNetwork:
    """A published network, as its authors feed it.

    build: makes it without weights. Its forward maps images float32 [n, 3, size, size], scaled, to
    {output: [n, d]}; where it has `activations`, that is the map [n, c, h, w] whose spatial mean
    is its first output, and `outputs` makes of that map what else is made of it.
    scale: images in 0..255 to what the network takes.
    outputs: all that it gives, with their dimensions; columns: those that are kept unless asked
    otherwise.
    weights: the files that hold it, the usual one first; read: such a file to tensors; translate:
    from the file's names to the network's.
    finish: what may be folded once the weights are in; it moves no output by more than 1e-5.
    any_shape: whether it also takes images that are not square.
    """

    name: str
    build: Callable[[], nn.Module]
    size: int
    resize: str
    scale: Callable[[Tensor], Tensor]
    outputs: Mapping[str, int]
    columns: tuple[str, ...]
    weights: tuple[WeightsFile, ...]
    read: Callable[..., StateDict] = read_state
    rename_state: Callable[[StateDict], StateDict] = _keep_names
    finish: Callable[[Any], object] = lambda network: None
    any_shape: bool = False
    class_names: Callable[[], tuple[str, ...]] = tuple


@dataclass(frozen=True, eq=False)
class NetworkExtractor:
    """A torch network that sees fixed blocks."""

    name: str
    network_name: str
    columns: Mapping[str, int]
    resize: str
    weights_sha256: str  # SHA-256 of the tensors
    class_names: tuple[str, ...]
    network: nn.Module = field(repr=False)
    prepare: Callable[[Tensor], Tensor] = field(repr=False)  # uint8 [n, 3, h, w] to its input
    device: torch.device
    file: Mapping[str, object] = field(default_factory=dict)
    precision: str = "float32"

    @property
    def block(self) -> int:
        return default_batch_size(self.device)

    @property
    def spec(self) -> dict[str, object]:
        return {
            "name": self.name,
            "network": self.network_name,
            "columns": dict(self.columns),
            "resize": self.resize,
            "weights_sha256": self.weights_sha256,
            "precision": self.precision,
        }

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Compute the features of images.

        images: uint8 [n, 3, h, w], of numpy or torch; gives {column: float32 [n, d]}, of numpy.
        ExtractorError for other images, such as floats: which range they are in cannot be seen.
        """
        outputs = self._run(self.network, images)
        return {name: outputs[name].float().cpu().numpy() for name in self.columns}

    def activations(self, images: np.ndarray) -> np.ndarray:
        """images uint8 [n, 3, h, w] -> the last map float32 [n, c, h', w'], of which the first
        column is the spatial mean. ExtractorError if the network has none."""
        self._require_map()
        activation_map: Tensor = self._run(cast(Any, self.network).activations, images)
        return activation_map.float().cpu().numpy()

    @property
    def has_map(self) -> bool:
        """Whether its first output is the spatial mean of a map."""
        return hasattr(self.network, "activations")

    def apply_to_map(
        self,
        images: np.ndarray,
        function: Callable[[Tensor, dict[str, Tensor]], dict[str, Tensor]],
    ) -> dict[str, np.ndarray]:
        """What a function makes of the last map [n, c, h', w'] and of the outputs behind it.

        One forward pass gives both, as tensors on the device; the outputs have the bits of
        `__call__`. images: uint8 [n, 3, h, w]. ExtractorError if the network has no such map.
        """
        self._require_map()
        network = cast(Any, self.network)

        def map_and_outputs(x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            activations = network.activations(x)
            return activations, network.outputs(activations)

        with torch.inference_mode():
            results = function(*self._run(map_and_outputs, images))
            return {name: values.cpu().numpy() for name, values in results.items()}

    def _require_map(self) -> None:
        if not self.has_map:
            raise ExtractorError(f"{self.name} has no map whose mean its features are")

    def _run(self, function: Callable[[Tensor], Any], images: np.ndarray) -> Any:
        dtype = _PRECISIONS[self.precision]
        reduced = torch.autocast(self.device.type, dtype) if dtype else contextlib.nullcontext()
        with torch.inference_mode():
            x = self.prepare(torch.from_numpy(require_images(images, self.name)).to(self.device))
            with reduced:  # the network alone: pixels have more digits than bfloat16
                return function(x.contiguous(memory_format=torch.channels_last))


def build_extractor(
    published_network: PublishedNetwork, options: Options, device: torch.device
) -> NetworkExtractor:
    """The extractor of a published network, with its weights on the device.

    ExtractorError for options that it does not have, and for weights that are not here or not its
    own.
    """
    a = published_network
    name = options.name or (f"untrained-{a.name}" if options.untrained else a.name)
    convention = options.choice(
        "resize", CONVENTIONS if a.any_shape else SQUARE_CONVENTIONS, a.resize
    )
    precision = options.choice("precision", _PRECISIONS, "float32")
    columns = options.choices("columns", a.outputs, a.columns)
    network = a.build().eval().requires_grad_(False)
    if options.untrained:
        state, file = draw_random_weights(network, options.seed), {}
    else:
        weights_file = locate_or_download(a.weights, options.weights)
        state, file = a.rename_state(a.read(weights_file.path)), _weights_file_record(weights_file)
    load_into_network(network, state, str(file.get("name", "a seed")))
    sha256 = state_digest(state)
    a.finish(network)
    network.to(device).to(memory_format=torch.channels_last)

    def prepare(images: Tensor) -> Tensor:
        return a.scale(resize(images.float(), a.size, convention))

    return NetworkExtractor(
        name=name,
        network_name=a.name,
        columns={output: a.outputs[output] for output in columns},
        resize=convention,
        weights_sha256=sha256,
        class_names=a.class_names() if "logits" in columns else (),
        network=network,
        prepare=prepare,
        device=device,
        file=file,
        precision=precision,
    )


def _weights_file_record(weights_file: LocatedFile) -> dict[str, object]:
    """A file of weights, as dataset.json keeps it."""
    return {
        "name": weights_file.path.name,
        "sha256": weights_file.sha256,
        "published": weights_file.published,
    }
