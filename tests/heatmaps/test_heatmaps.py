"""Heatmaps against backward passes through network and root; bits, places and classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from raymetrics.errors import ExtractorError
from raymetrics.extractors import make_extractor
from raymetrics.fixed_batches import run_in_fixed_batches
from raymetrics.heatmaps import HeatmapExtractor, Heatmaps
from raymetrics.heatmaps.heatmaps import compact_ids
from raymetrics.metrics import Gaussian
from raymetrics.metrics.frechet_sensitivity import AddedSensitivity, Sensitivity
from raymetrics.statistics import Moments
from tests.helpers.fake_cuda import CUDA, fake_cuda, to_fake_cuda
from tests.helpers.tiny_networks import FEATURES, make_tiny
from tests.metrics.test_frechet_sensitivity import by_autograd

COUNT = 30
IMAGES = np.random.default_rng(1).integers(0, 256, (COUNT, 3, 10, 9), np.uint8)
IDS = np.arange(COUNT)


def features_of(extractor) -> np.ndarray:
    found = run_in_fixed_batches(extractor, IDS, IMAGES, extractor.block)
    return found["pre_logits"].astype(np.float64)


@pytest.fixture(scope="module")
def real() -> Gaussian:
    rng = np.random.default_rng(2)
    return Gaussian.from_moments(Moments.from_samples(rng.normal(0.2, 0.3, (200, FEATURES))), 1)


@pytest.fixture(scope="module")
def seen(real: Gaussian) -> Heatmaps:
    extractor = make_tiny()
    return HeatmapExtractor(
        extractor, Sensitivity.for_members(real, Moments.from_samples(features_of(extractor)))
    )(IDS, IMAGES)


@pytest.mark.parametrize("number", [0, 23])
def test_a_heatmap_is_that_of_a_backward_pass(real: Gaussian, seen: Heatmaps, number: int) -> None:
    """The paper's way: Eq. 2 from the gradient by every place of the map, by autograd."""
    extractor = make_tiny()
    base = np.delete(features_of(extractor), number, axis=0)
    network = extractor.network.double()
    inputs = extractor.prepare(torch.from_numpy(IMAGES[number : number + 1])).double()
    activations = network.activations(inputs).detach().requires_grad_()
    features = network.outputs(activations)["pre_logits"]
    by_autograd(real, base, features[0]).backward()
    alpha = activations.grad.square().mean(dim=(2, 3))
    expected = (alpha[:, :, None, None] * activations.detach()).sum(dim=1)
    np.testing.assert_allclose(seen.maps[number], expected[0], rtol=2e-5)
    norm = activations.grad.sum(dim=(2, 3)).norm()
    np.testing.assert_allclose(seen.norms[number], norm, rtol=1e-5)


def test_one_pass_gives_the_bits_of_a_call() -> None:
    extractor = make_tiny()
    block = IMAGES[: extractor.block]
    found = extractor.apply_to_map(
        block, lambda activations, outputs: {"map": activations, **outputs}
    )
    for name, values in extractor(block).items():
        np.testing.assert_array_equal(found[name], values)
    np.testing.assert_array_equal(found["map"], extractor.activations(block))
    assert found["map"].shape == (16, FEATURES, 3, 4)


def test_a_network_without_a_map_is_refused() -> None:
    digits = make_extractor("digits", torch.device("cpu"))
    assert not digits.has_map
    with pytest.raises(ExtractorError, match="digits has no map whose mean its features are"):
        digits.apply_to_map(IMAGES, lambda activations, outputs: outputs)


def test_bits_are_a_function_of_the_sample(real: Gaussian, seen: Heatmaps) -> None:
    extractor = make_tiny()
    lens = HeatmapExtractor(
        extractor, Sensitivity.for_members(real, Moments.from_samples(features_of(extractor)))
    )
    some = np.array([29, 3, 19, 8])
    found = lens(some, IMAGES[some])
    for name in ("maps", "norms", "classes", "probabilities"):
        np.testing.assert_array_equal(getattr(found, name), getattr(seen, name)[some])
    np.testing.assert_array_equal(found.sample_ids, some)


def test_a_device_sees_what_the_cpu_sees(
    real: Gaussian, seen: Heatmaps, device: torch.device
) -> None:
    """Images that are there already, at the places of their ids; another block has other bits."""
    base = Moments.from_samples(features_of(make_tiny()))
    lens = HeatmapExtractor(make_tiny(device=str(device)), Sensitivity.for_members(real, base))
    found = lens(IDS, torch.from_numpy(IMAGES).to(device))
    np.testing.assert_allclose(found.maps, seen.maps, rtol=1e-4, atol=1e-6 * seen.maps.max())
    np.testing.assert_allclose(found.norms, seen.norms, rtol=1e-4)
    np.testing.assert_array_equal(found.classes[:, 0], seen.classes[:, 0])


@pytest.mark.parametrize("query", ["", "?columns=pre_logits"])
def test_a_gpu_without_numbers_has_all_constants(real: Gaussian, query: str) -> None:
    """Of maps of members and of added images; the values of maps are not reached."""
    extractor = make_tiny(query)
    base = Moments.from_samples(features_of(extractor))
    derivatives = (
        Sensitivity.for_members(real, base),
        AddedSensitivity.from_moments(real, base),
    )
    with fake_cuda():
        on_gpu = replace(extractor, device=CUDA, network=to_fake_cuda(extractor.network))
        images = torch.zeros(IMAGES.shape, dtype=torch.uint8, device=CUDA)
        for derivative in derivatives:
            found = HeatmapExtractor(on_gpu, derivative)(IDS, images)
            assert found.maps.shape == (COUNT, 3, 4)
            assert found.classes.shape == (COUNT, 0 if query else 3)


def test_classes_are_those_of_the_logits(seen: Heatmaps) -> None:
    extractor = make_tiny()
    logits = run_in_fixed_batches(extractor, IDS, IMAGES, extractor.block)["logits"].astype(
        np.float64
    )
    order = np.argsort(-logits, axis=1)[:, :3]
    np.testing.assert_array_equal(seen.classes, order)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        seen.probabilities, np.take_along_axis(shares, order, axis=1), rtol=1e-5
    )


def test_without_logits_there_are_no_classes(real: Gaussian) -> None:
    extractor = make_tiny("?columns=pre_logits")
    found = HeatmapExtractor(
        extractor, Sensitivity.for_members(real, Moments.from_samples(features_of(extractor)))
    )(IDS[:2], IMAGES[:2])
    assert found.classes.shape == found.probabilities.shape == (2, 0)


def test_scattered_ids_are_packed_at_their_places(rng: np.random.Generator) -> None:
    ids = rng.permutation(5000)[:200]
    found = compact_ids(ids, 16)
    np.testing.assert_array_equal(found % 16, ids % 16)
    assert len(np.unique(found)) == len(ids)
    assert found.max() // 16 + 1 == np.bincount(ids % 16).max()
