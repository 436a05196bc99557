"""The extractors phase: features as on the CPU, with the same bits always, and images a second."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from gpu_acceptance.inputs import random_images
from gpu_acceptance.phase import PhaseRun
from gpu_acceptance.timing import seconds_per_call
from raymetrics.distributed.devices import use_deterministic_kernels
from raymetrics.extractors import make_extractor
from raymetrics.extractors.base import NetworkExtractor, extract_tensors
from raymetrics.extractors.numerics import Numerics

_NETWORKS = (
    "inception",
    "vgg16",
    "dinov2-vit-l-14",
    "clip-vit-l-14",
    "swav-resnet50",
    "efficientnet-lite0",
)
_TINY_NETWORKS = ("digits",)
# Options that need a network of their own, and each block and layout that it is measured with.
_FLOAT32, _TF32, _BFLOAT16 = "precision=float32", "precision=tf32", "precision=bfloat16"
_VARIANTS = {
    _FLOAT32: ((64, "contiguous"), (16, "contiguous"), (256, "contiguous"), (64, "channels_last")),
    _TF32: ((64, "channels_last"), (256, "channels_last")),
    _BFLOAT16: ((64, "channels_last"), (256, "channels_last")),
}
_TINY_VARIANTS = {
    _FLOAT32: ((4, "channels_last"), (4, "contiguous")),
    _TF32: ((4, "channels_last"),),
    _BFLOAT16: ((4, "channels_last"),),
}
_COMPARED = 8  # images
_MAX_CPU_DIFFERENCE, _MAX_FLOAT64_DIFFERENCE = 2e-4, 1e-5
# By network, options and block.
_LEAST_SHARES = {
    ("inception", _FLOAT32, 64): 0.4,
    ("dinov2-vit-l-14", _BFLOAT16, 256): 0.5,
    ("clip-vit-l-14", _BFLOAT16, 256): 0.5,
}
_PRESSED_SHARE = 0.7  # of the free memory that another tensor takes
_NETWORK_SECONDS, _VARIANT_SECONDS = 8.0, 3.0


def measure_extractors(run: PhaseRun) -> None:
    """Check and measure all networks with random weights."""
    use_deterministic_kernels()
    for network in run.size(_NETWORKS, _TINY_NETWORKS):
        if run.has_seconds(_NETWORK_SECONDS, network):
            extractor = make_network(network, _FLOAT32, run.device)
            cpu = make_network(network, _FLOAT32, torch.device("cpu"))
            check_numbers(run, network, extractor, cpu)
            check_bits(run, network, extractor)
            measure_variants(run, network, extractor, operations_per_image(cpu))
    check_bits_of_another_process(run, run.size(_NETWORKS, _TINY_NETWORKS)[0])


def make_network(network: str, options: str, device: torch.device) -> NetworkExtractor:
    """Make the extractor of a network with random weights, and options such as block=64."""
    extractor = make_extractor(f"untrained-{network}?{options}", device)
    assert isinstance(extractor, NetworkExtractor)
    return extractor


# --- Numbers ---


def check_numbers(
    run: PhaseRun, network: str, extractor: NetworkExtractor, cpu: NetworkExtractor
) -> None:
    """Compare float32 features with those of the CPU, and with float64."""
    images = random_images(_COMPARED, run.size(256, 64))
    features = first_features(extractor, images)
    torch.set_num_threads(run.size(16, 2))  # the CPU need not repeat its bits
    if run.needs_gpu(f"{network}, float32 as on the CPU", "the device is the CPU"):
        difference = largest_difference(features, first_features(cpu, images))
        run.check_below(f"{network}, float32 as on the CPU", difference, _MAX_CPU_DIFFERENCE)
    difference = largest_difference(features, float64_features(cpu, images))
    run.check_below(f"{network}, float32 as in float64", difference, _MAX_FLOAT64_DIFFERENCE)
    torch.set_num_threads(1)


def first_features(extractor: NetworkExtractor, images: np.ndarray) -> np.ndarray:
    """Return the first column of images 0, 1, ..., float32 [n, d]."""
    features = extract_tensors(extractor, np.arange(len(images)), torch.from_numpy(images))
    return next(iter(features.values())).cpu().numpy()


def float64_features(extractor: NetworkExtractor, images: np.ndarray) -> np.ndarray:
    """Compute the first column in float64 from the images as they are resized in float32.

    extractor: on the CPU. Returns [n, d].
    """
    network = copy.deepcopy(extractor.network).double()
    with torch.no_grad():
        inputs = extractor.prepare(torch.from_numpy(images)).double()
        with Float64Everywhere():
            outputs: Any = network(inputs)
    values: np.ndarray = outputs[next(iter(extractor.columns))].numpy()
    return values


class Float64Everywhere(TorchFunctionMode):
    """Let what networks compute in float32 at every precision, such as means, be in float64."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call a function of torch, which converts to float64 in the place of float32."""
        if function is Tensor.float:
            return Tensor.double(*args)
        kwargs = dict(kwargs or {})
        if kwargs.get("dtype") is torch.float32:
            kwargs["dtype"] = torch.float64
        return function(*args, **kwargs)


def largest_difference(values: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference, relative to the largest expected value."""
    return float(np.abs(values - expected).max() / np.abs(expected).max())


# --- Bits ---


def check_bits(run: PhaseRun, network: str, extractor: NetworkExtractor) -> None:
    """Check that a sample's bits depend on the sample alone."""
    block, size = extractor.block, run.size(256, 64)
    images = random_images(2 * block, size)
    ids = np.arange(len(images))
    expected = first_features(extractor, images)
    run.check(f"{network}, same bits again", same(first_features(extractor, images), expected))
    others = random_images(2 * block, size, seed=1)
    others[3::7] = images[3::7]
    beside = first_features(extractor, others)[3::7]
    run.check(f"{network}, same bits beside other images", same(beside, expected[3::7]))
    parts = [
        extract_tensors(extractor, ids[i : i + 3], torch.from_numpy(images[i : i + 3]))
        for i in range(0, min(len(ids), 12), 3)
    ]
    column = next(iter(extractor.columns))
    small = np.concatenate([part[column].cpu().numpy() for part in parts])
    run.check(f"{network}, same bits in batches of 3", same(small, expected[: len(small)]))
    check_launches(run, network, dataclasses.replace(extractor, graph=False), images, expected)


def check_launches(
    run: PhaseRun,
    network: str,
    extractor: NetworkExtractor,
    images: np.ndarray,
    expected: np.ndarray,
) -> None:
    """Check the bits of kernels that are launched one by one, also where memory is short.

    extractor: without a CUDA graph, which would repeat the kernels that it recorded.
    """
    name = f"{network}, same bits without a CUDA graph"
    if run.needs_gpu(name, "it has none"):
        run.check(name, same(first_features(extractor, images), expected))
    name = f"{network}, same bits where memory is short"
    if run.needs_gpu(name, "cuDNN takes other kernels there"):
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(run.device)
        pressed = torch.empty(int(free * _PRESSED_SHARE), dtype=torch.uint8, device=run.device)
        run.check(name, same(first_features(extractor, images), expected))
        del pressed


def same(values: np.ndarray, expected: np.ndarray) -> bool:
    """Return whether two arrays have the same bytes."""
    return values.tobytes() == expected.tobytes()


def features_digest(network: str, device: torch.device, size: int) -> str:
    """Return a digest of the features of some images, for a comparison between processes."""
    use_deterministic_kernels()
    images = random_images(_COMPARED, size)
    features = first_features(make_network(network, _FLOAT32, device), images)
    return hashlib.sha256(features.tobytes()).hexdigest()


def check_bits_of_another_process(run: PhaseRun, network: str) -> None:
    """Check that a new process gives the same bits."""
    size = run.size(256, 64)
    code = (
        "import sys, torch; from gpu_acceptance.extractors import features_digest; "
        "print(features_digest(sys.argv[1], torch.device(sys.argv[2]), int(sys.argv[3])))"
    )
    command = [sys.executable, "-c", code, network, str(run.device), str(size)]
    done = subprocess.run(
        command,
        env=run.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    expected = features_digest(network, run.device, size)
    run.check(f"{network}, same bits in another process", done.stdout.split()[-1] == expected)


# --- Speed ---


def measure_variants(
    run: PhaseRun, network: str, float32: NetworkExtractor, operations: float
) -> None:
    """Measure images a second with every precision, block and layout.

    operations: additions and multiplications for one image.
    """
    for options, numerics in run.size(_VARIANTS, _TINY_VARIANTS).items():
        name = f"{network}, {options}"
        if options == _TF32 and not run.needs_gpu(name, "a CPU has no such numbers"):
            continue
        if not run.has_seconds(_VARIANT_SECONDS * len(numerics), name):
            continue
        extractor = float32 if options == _FLOAT32 else make_network(network, options, run.device)
        for block, layout in numerics:
            variant = extractor.with_numerics(Numerics(block, layout))
            measure_variant(run, network, options, variant, operations)


def measure_variant(
    run: PhaseRun, network: str, options: str, extractor: NetworkExtractor, operations: float
) -> None:
    """Write down images a second, and the share of the machine's rate in this precision."""
    numerics = extractor.numerics
    rate = images_per_second(extractor, run.size(256, 64))
    run.figure(
        f"{network}, {options}, {numerics.block} {numerics.layout}",
        rate,
        "images/s",
        ceiling=extractor.precision,
        work=operations,
        least_share=_LEAST_SHARES.get((network, options, numerics.block)),
    )


def images_per_second(extractor: NetworkExtractor, size: int) -> float:
    """Measure the rate of a block of images that are on the device."""
    images = torch.from_numpy(random_images(extractor.block, size)).to(extractor.device)
    ids = np.arange(len(images))
    run_block: Callable[[], Any] = lambda: extract_tensors(extractor, ids, images)  # noqa: E731
    return len(images) / seconds_per_call(run_block, extractor.device)


def operations_per_image(extractor: NetworkExtractor) -> float:
    """Count the additions and multiplications of products and convolutions for one image.

    extractor: on the CPU, as the counter does not know all kernels of GPUs.
    """
    images = torch.from_numpy(random_images(1, 64)).to(extractor.device)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        extractor.network(extractor.prepare(images))
    return float(counter.get_total_flops())
