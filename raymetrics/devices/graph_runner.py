"""Run a function of tensors as a CUDA graph: one launch in the place of hundreds of kernels.

A graph repeats the kernels of one recorded call, with the same tensors in the same places of
memory. `Runner` copies the input into its place and the outputs out of theirs, so that callers see
a plain function.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

log = logging.getLogger(__name__)

Function = Callable[[Tensor], Mapping[str, Tensor]]

_WARM_UPS = 2  # calls in which libraries load kernels and allocate, which a graph cannot record
_MAX_GRAPHS = 4  # each keeps the memory of its activations


@dataclass(frozen=True, eq=False)
class Recording:
    """A recorded call: `replay` computes `outputs` anew, from what `input` holds then."""

    input: Tensor
    outputs: Mapping[str, Tensor]
    replay: Callable[[], object]


Capture = Callable[[Function, Tensor], Recording]


def capture_cuda_graph(function: Function, x: Tensor) -> Recording:
    """Record a call of the function with an input like x on a GPU, as a CUDA graph."""
    static_input = x.clone()
    graph = torch.cuda.CUDAGraph()
    stream = torch.cuda.Stream(x.device)
    # Other threads may allocate and copy meanwhile.
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        outputs = dict(function(static_input))
    return Recording(static_input, outputs, graph.replay)


class Runner:
    """Calls a function of a tensor, which returns tensors by name; repeats recordings on a GPU.

    The function must launch the same kernels for all inputs of one shape. The outputs belong to the
    caller, who may change them, and may overwrite the input after the call. On a CPU, and with
    `capture` None, every call is a plain one. On a GPU, the first call with a shape waits for the
    device; later calls do not. All calls must be on one stream; threads take turns.
    """

    def __init__(
        self, function: Function, device: torch.device, capture: Capture | None = capture_cuda_graph
    ) -> None:
        self._function = function
        self._capture = capture if device.type == "cuda" else None
        self._recordings: dict[Hashable, Recording | None] = {}
        self._lock = threading.Lock()

    def __call__(self, x: Tensor) -> dict[str, Tensor]:
        """Compute the function's outputs for an input of any shape."""
        if self._capture is None:
            return dict(self._function(x))
        with self._lock:
            recording = self._find_recording(x, self._capture)
            if recording is None:
                return dict(self._function(x))
            recording.input.copy_(x)
            recording.replay()
            return {name: output.clone() for name, output in recording.outputs.items()}

    def _find_recording(self, x: Tensor, capture: Capture) -> Recording | None:
        """Return the recording for inputs like x; None if there is none, and none can be made."""
        key = (x.shape, x.stride(), x.dtype)
        if key not in self._recordings and len(self._recordings) < _MAX_GRAPHS:
            self._recordings[key] = self._record(x, capture)
        return self._recordings.get(key)

    def _record(self, x: Tensor, capture: Capture) -> Recording | None:
        for _ in range(_WARM_UPS):
            self._function(x)
        try:
            return capture(self._function, x)
        except RuntimeError as error:  # torch has no class of its own for failed captures
            log.warning("no CUDA graph, calls take longer: %s", str(error).strip().split("\n")[0])
            return None
