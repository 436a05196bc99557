"""Define the interface of an extractor, and build extractors of published networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from raymetrics.devices.graph_runner import Runner, capture_cuda_graph
from raymetrics.devices.tf32 import set_tf32
from raymetrics.errors import ExtractorError
from raymetrics.extractors.numerics import Numerics, choose_numerics
from raymetrics.extractors.options import Options
from raymetrics.extractors.precision import PRECISIONS, cast_layers
from raymetrics.extractors.random_weights import draw_random_weights
from raymetrics.extractors.resize import CONVENTIONS, SQUARE_CONVENTIONS, resize
from raymetrics.extractors.user_outputs import require_image_tensor
from raymetrics.fixed_batches import run_in_fixed_batches
from raymetrics.weights.download import locate_or_download
from raymetrics.weights.locate import LocatedFile, WeightsFile
from raymetrics.weights.state_dict import StateDict, load_into_network, read_state, state_digest

_ANSWERS = ("yes", "no")


class Extractor(Protocol):
    """A function from images to features; one forward pass gives all columns.

    An extractor that several threads may call at a time has `thread_safe = True`. One that computes
    on a device may have an attribute `device`, and a method `tensors(images)` from images uint8
    [n, 3, h, w] on that device to features {column: float32 [n, d]} on that device, with the bits
    of a call; see `extract_tensors`. Those of networks also have `numerics`, see `make_extractor`.

    One that takes the texts that images were made from too has `takes_prompts = True`, and its
    `tensors`, or else its call, takes (images, prompts), with one text for each image.
    """

    @property
    def name(self) -> str: ...

    @property
    def columns(self) -> Mapping[str, int]:
        """The dimension of each column, such as {"pre_logits": 1280, "logits": 1000}."""

    @property
    def spec(self) -> Mapping[str, object]:
        """Everything that changes the features: name, digest of the weights, resize convention."""

    @property
    def file(self) -> Mapping[str, object]:
        """The file of the weights: {"name", "sha256", "published"}; may be empty.

        Other files may hold the same tensors, so the spec has no field of the file.
        """

    @property
    def block(self) -> int:
        """The only batch size that the extractor uses; see `raymetrics.fixed_batches`."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The class of each number of `logits`; empty if the extractor has no logits."""

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Compute the features {column: float32 [n, d]} (numpy) of images uint8 [n, 3, h, w].

        The images may be an array of numpy or a tensor of torch. Raises ExtractorError for other
        images, such as floats: their range of values cannot be seen.
        """


def takes_prompts(extractor: Extractor) -> bool:
    """Return whether an extractor takes the texts that images were made from."""
    return bool(getattr(extractor, "takes_prompts", False))


def extract_tensors(
    extractor: Extractor,
    sample_ids: np.ndarray,
    images: Tensor,
    prompts: Sequence[str] | None = None,
) -> dict[str, Tensor]:
    """Extract features {column: float32 [n, d]} in fixed batches, on the extractor's device.

    sample_ids: int64 [n]. images: uint8 [n, 3, h, w], on any device. prompts: n texts, for an
    extractor that takes them. An extractor without the method `tensors` gets arrays of numpy.
    """
    if takes_prompts(extractor):
        return _extract_with_prompts(extractor, sample_ids, images, prompts)
    tensors = getattr(extractor, "tensors", None)
    if tensors is not None:
        images = images.to(cast(Any, extractor).device)
        return run_in_fixed_batches(tensors, sample_ids, images, extractor.block)
    arrays = run_in_fixed_batches(extractor, sample_ids, images.cpu().numpy(), extractor.block)
    return {name: torch.from_numpy(values) for name, values in arrays.items()}


def _extract_with_prompts(
    extractor: Any, sample_ids: np.ndarray, images: Tensor, prompts: Sequence[str] | None
) -> dict[str, Tensor]:
    """Extract features of images and their texts, see `extract_tensors`.

    Unused rows of a fixed batch hold the first sample, as no text says nothing.
    ExtractorError without prompts.
    """
    if prompts is None:
        raise ExtractorError(
            f"{extractor.name} takes the prompts of the images, which are not known here"
        )

    def extract_rows(rows: Tensor) -> dict[str, Tensor]:
        texts = [prompts[row] for row in rows.tolist()]
        if hasattr(extractor, "tensors"):
            outputs: dict[str, Tensor] = extractor.tensors(images[rows.to(images.device)], texts)
            return outputs
        arrays = extractor(images[rows.to(images.device)].cpu().numpy(), texts)
        return {name: torch.from_numpy(values) for name, values in arrays.items()}

    if hasattr(extractor, "tensors"):
        images = images.to(extractor.device)
    numbers = torch.arange(len(sample_ids))
    return run_in_fixed_batches(extract_rows, sample_ids, numbers, extractor.block)


def _keep_names(state: StateDict) -> StateDict:
    """Return the state unchanged, for files whose names are already the network's."""
    return state


@dataclass(frozen=True)
class PublishedNetwork:
    """A published network, with the preprocessing that its authors use.

    build: builds the network without weights. The network's forward maps scaled images float32
    [n, 3, size, size] to {output: [n, d]}. If the network has a method `activations`, that method
    returns the map [n, c, h, w] whose spatial mean is the first output, and the network's method
    `outputs` computes the outputs from that map.
    scale: maps images in 0..255 to the input of the network.
    outputs: the dimension of each output. columns: the outputs that an extractor has by default.
    weights: the files that hold the weights, the default one first. read: reads the tensors of such
    a file. rename_state: renames the tensors from the file's names to the network's.
    finish: called on the network after its weights are loaded, to fold layers together; changes no
    output by more than 1e-5.
    float32_layers: the layers that compute in float32 at every precision: those behind a mean of
    activations, and the first one of a transformer, as the sum through its blocks begins there.
    A network that has to compute as a program does under autocast has none.
    any_shape: whether the network also takes images that are not square.
    precision: a name of `PRECISIONS`, that of the program that made the network known.
    class_names: returns the class of each number of the output `logits`.
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
    float32_layers: tuple[str, ...] = ()
    any_shape: bool = False
    precision: str = "float32"
    class_names: Callable[[], tuple[str, ...]] = tuple


@dataclass(frozen=True, eq=False)
class NetworkExtractor:
    """An extractor around a torch network, which runs on fixed batches of images."""

    name: str
    network_name: str
    columns: Mapping[str, int]
    resize: str
    weights_sha256: str  # SHA-256 of the tensors
    class_names: tuple[str, ...]
    network: nn.Module = field(repr=False)
    prepare: Callable[[Tensor], Tensor] = field(repr=False)  # uint8 [n, 3, h, w] -> network input
    device: torch.device
    numerics: Numerics
    file: Mapping[str, object] = field(default_factory=dict)
    precision: str = "float32"
    compile_backend: str | None = None  # of torch.compile; None runs the network as it is
    graph: bool = True  # whether a GPU repeats a recorded CUDA graph
    thread_safe: ClassVar[bool] = True

    @property
    def block(self) -> int:
        return self.numerics.block

    @property
    def spec(self) -> dict[str, object]:
        spec: dict[str, object] = {
            "name": self.name,
            "network": self.network_name,
            "columns": dict(self.columns),
            "resize": self.resize,
            "weights_sha256": self.weights_sha256,
            "precision": self.precision,
        }
        if PRECISIONS[self.precision] is not None:
            spec["pooling"] = "float32"  # earlier versions pooled in the precision of the network
        return spec if self.compile_backend is None else {**spec, "compile": True}

    def with_numerics(self, numerics: Numerics) -> NetworkExtractor:
        """Return the same extractor with another block and layout.

        The network is copied if the layout differs.
        """
        network = self.network
        if numerics.layout != self.numerics.layout:
            network = deepcopy(network).to(memory_format=numerics.memory_format)
        return replace(self, numerics=numerics, network=network)

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Compute the features {column: float32 [n, d]} (numpy) of images uint8 [n, 3, h, w].

        The images may be an array of numpy or a tensor of torch. Raises ExtractorError for other
        images, such as floats: their range of values cannot be seen.
        """
        features = self.tensors(require_image_tensor(images, self.name))
        return {name: values.cpu().numpy() for name, values in features.items()}

    def tensors(self, images: Tensor) -> dict[str, Tensor]:
        """Compute the features {column: float32 [n, d]}, on the extractor's device.

        images: uint8 [n, 3, h, w]; those on another device are copied. The features have the bits
        of a call and belong to the caller. Only the first call with a shape waits for a GPU. Raises
        ExtractorError for other images.
        """
        return self._run(self._runner, images)

    def activations(self, images: np.ndarray) -> np.ndarray:
        """Compute the last map, float32 [n, c, h', w'], of images uint8 [n, 3, h, w].

        The network's first output is the spatial mean of this map. Raises ExtractorError if the
        network has no such map.
        """
        self._require_map()
        activation_map: Tensor = self._run(cast(Any, self.network).activations, images)
        return activation_map.float().cpu().numpy()

    @property
    def has_map(self) -> bool:
        """Whether the network's first output is the spatial mean of a map."""
        return hasattr(self.network, "activations")

    def apply_to_map(
        self,
        images: np.ndarray,
        function: Callable[[Tensor, dict[str, Tensor]], dict[str, Tensor]],
    ) -> dict[str, np.ndarray]:
        """Call a function with the last map [n, c, h', w'] and the outputs; return its results.

        images: uint8 [n, 3, h, w]. One forward pass gives the map and the outputs, as tensors on
        the device. The network runs as it is, also if calls run it compiled; otherwise the outputs
        have the same bits as those of `__call__`. Raises ExtractorError if the network has no such
        map.
        """
        self._require_map()
        network = cast(Any, self.network)

        def map_and_outputs(x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            activations = network.activations(x)
            return activations, network.outputs(activations)

        with torch.no_grad():
            results = function(*self._run(map_and_outputs, images))
            return {name: values.cpu().numpy() for name, values in results.items()}

    def _require_map(self) -> None:
        if not self.has_map:
            raise ExtractorError(f"{self.name} has no map whose mean its features are")

    @cached_property
    def _runner(self) -> Runner:
        """The network with the outputs of the columns; in a property, as it keeps memory."""
        network: Callable[[Tensor], Mapping[str, Tensor]] = self.network
        if self.compile_backend is not None:
            network = torch.compile(self.network, dynamic=False, backend=self.compile_backend)

        def compute_columns(x: Tensor) -> dict[str, Tensor]:
            outputs = network(x)
            return {name: outputs[name].float().contiguous() for name in self.columns}

        return Runner(compute_columns, self.device, capture_cuda_graph if self.graph else None)

    def _run(self, function: Callable[[Tensor], Any], images: Any) -> Any:
        """Call a function with the network's input for these images."""
        with torch.no_grad(), set_tf32(self.precision == "tf32", self.device):
            x = self.prepare(require_image_tensor(images, self.name).to(self.device))
            return function(x.contiguous(memory_format=self.numerics.memory_format))


def build_extractor(
    published_network: PublishedNetwork,
    options: Options,
    device: torch.device,
    recorded_numerics: Mapping[str, object] | None = None,
) -> NetworkExtractor:
    """Build the extractor of a published network, with its weights on the device.

    recorded_numerics: the block and the layout that are not options; None takes the default ones.
    Raises ExtractorError for values that an option does not have, for weights that cannot be found,
    and for weights of another network.
    """
    a = published_network
    name = options.name or (f"untrained-{a.name}" if options.untrained else a.name)
    convention = options.choice(
        "resize", CONVENTIONS if a.any_shape else SQUARE_CONVENTIONS, a.resize
    )
    precision = options.choice("precision", PRECISIONS, a.precision)
    columns = options.choices("columns", a.outputs, a.columns)
    numerics = choose_numerics(options, device, precision, recorded_numerics)
    compiled = options.choice("compile", _ANSWERS, "no") == "yes"
    graph = options.choice("graph", _ANSWERS, "yes") == "yes"
    network = a.build().eval().requires_grad_(False)
    if options.untrained:
        state, file = draw_random_weights(network, options.seed), {}
    else:
        weights_file = locate_or_download(a.weights, options.weights)
        state, file = a.rename_state(a.read(weights_file.path)), _weights_file_record(weights_file)
    load_into_network(network, state, str(file.get("name", "a seed")))
    sha256 = state_digest(state)
    a.finish(network)
    if (dtype := PRECISIONS[precision]) is not None:
        cast_layers(network, dtype, a.float32_layers)
    network.to(device).to(memory_format=numerics.memory_format)

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
        numerics=numerics,
        file=file,
        precision=precision,
        compile_backend="inductor" if compiled else None,
        graph=graph,
    )


def _weights_file_record(weights_file: LocatedFile) -> dict[str, object]:
    """Return the record of a file of weights that a shard set's dataset.json keeps."""
    return {
        "name": weights_file.path.name,
        "sha256": weights_file.sha256,
        "published": weights_file.published,
    }
