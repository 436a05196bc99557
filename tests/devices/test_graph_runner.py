"""A runner is a plain function for its callers, whatever it records."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from raymetrics.devices.graph_runner import Capture, Function, Recording, Runner, capture_cuda_graph

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def capture_static_buffers(function: Function, x: Tensor) -> Recording:
    """Record as a CUDA graph does: with one place for the input, and one for every output."""
    static_input = x.clone()
    outputs = dict(function(static_input))

    def replay() -> None:
        for name, values in function(static_input).items():
            outputs[name].copy_(values)

    return Recording(static_input, outputs, replay)


def double_and_sum(x: Tensor) -> dict[str, Tensor]:
    return {"double": 2 * x, "sum": x.sum(dim=1)}


def no_capture(function: Function, x: Tensor) -> Recording:
    raise AssertionError("a call is recorded")


@pytest.fixture(
    params=[
        pytest.param((CPU, CPU, no_capture), id="plain"),
        pytest.param((CUDA, CPU, capture_static_buffers), id="static-buffers"),
        pytest.param((CUDA, CUDA, capture_cuda_graph), id="cuda-graph", marks=pytest.mark.gpu),
    ]
)
def case(request: pytest.FixtureRequest) -> tuple[Runner, torch.device]:
    """A runner, and the device of its tensors."""
    runs_for, tensors_on, capture = request.param
    return Runner(double_and_sum, runs_for, capture), tensors_on


def inputs(count: int, device: torch.device, width: int = 3) -> list[Tensor]:
    return [torch.arange(float(4 * width), device=device).view(4, width) + k for k in range(count)]


def assert_results(outputs: dict[str, Tensor], x: Tensor) -> None:
    for name, expected in double_and_sum(x).items():
        torch.testing.assert_close(outputs[name], expected, rtol=0, atol=0)


def test_results_stay_when_later_calls_are_made(case) -> None:
    runner, device = case
    batches = inputs(5, device)
    results = [runner(x) for x in batches]
    for outputs, x in zip(results, batches, strict=True):
        assert list(outputs) == ["double", "sum"]
        assert_results(outputs, x)


def test_callers_may_change_what_they_gave_and_got(case) -> None:
    runner, device = case
    for x in inputs(4, device):
        original = x.clone()
        outputs = runner(x)
        x.zero_()
        assert_results(outputs, original)
        for values in outputs.values():
            values.fill_(torch.nan)


def test_each_shape_and_layout_is_its_own(case) -> None:
    runner, device = case
    for width in (3, 5, 3, 1, 5):
        for x in inputs(2, device, width):
            assert_results(runner(x), x)
            assert_results(runner(x.t().contiguous().t()), x)


def count_calls(shapes: int, capture: Capture) -> list[int]:
    """Call a runner twice with each shape; return the calls of the function after each call."""
    calls = 0

    def function(x: Tensor) -> dict[str, Tensor]:
        nonlocal calls
        calls += 1
        return {"x": x + 1}

    runner, counts = Runner(function, CUDA, capture), []
    for width in range(1, shapes + 1):
        for _ in range(2):
            runner(torch.zeros(1, width))
            counts.append(calls)
    return counts


def test_a_recorded_function_is_not_called_again() -> None:
    def capture(function: Function, x: Tensor) -> Recording:
        return Recording(x.clone(), function(x), lambda: None)

    first, second = count_calls(1, capture)
    assert second == first > 1  # warm-ups, and the recording
    # Beyond some shapes, whose memory is kept, calls are plain ones.
    *_, third, fourth = count_calls(7, capture)
    assert fourth - third == 1


@pytest.mark.gpu
def test_a_cuda_graph_runs_what_was_recorded() -> None:
    calls = []
    runner = Runner(lambda x: calls.append(1) or double_and_sum(x), CUDA)
    for x in inputs(6, CUDA):
        assert_results(runner(x), x)
    assert len(calls) < 6
