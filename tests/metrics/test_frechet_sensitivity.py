"""The closed form of the gradient against autograd through the root, and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raymetrics.errors import NotEnoughData
from raymetrics.metrics import Gaussian, frechet_distance
from raymetrics.metrics.frechet_sensitivity import (
    AddedSensitivity,
    Sensitivity,
    channel_weights,
    importance,
)
from raymetrics.statistics import Moments
from tests.helpers.fake_cuda import CUDA, fake_cuda

D = 5


def sets(rng: np.random.Generator, count: int = 40) -> tuple[Gaussian, np.ndarray]:
    """Real features as a Gaussian, and generated ones, float64 [count, 5]."""
    real = rng.normal(0, 1, (300, D)) @ rng.normal(0, 1, (D, D))
    return Gaussian.from_moments(Moments.from_samples(real), 1), rng.normal(0.3, 1.2, (count, D))


def distance(real: Gaussian, features: np.ndarray) -> float:
    return frechet_distance(real=real, generated=Moments.from_samples(features))


def by_differences(real: Gaussian, features: np.ndarray, row: int) -> np.ndarray:
    """dF/df of one row, by central differences."""
    found, step = np.empty(D), 1e-5
    for k in range(D):
        values = []
        for sign in (1, -1):
            moved = features.copy()
            moved[row, k] += sign * step
            values.append(distance(real, moved))
        found[k] = (values[0] - values[1]) / (2 * step)
    return found


def by_autograd(real: Gaussian, base: np.ndarray, features: torch.Tensor) -> torch.Tensor:
    """The distance as section 2.1 writes it: moments updated by one image, root by eigenvalues."""
    n = len(base) + 1
    mean, covariance = map(torch.from_numpy, (base.mean(axis=0), np.cov(base.T)))
    mean_real, covariance_real = map(torch.from_numpy, (real.mean, real.covariance))
    updated = (n - 1) / n * mean + features / n
    apart = features - mean
    spread = (n - 2) / (n - 1) * covariance + torch.outer(apart, apart) / n
    root = torch.linalg.cholesky(covariance_real)
    overlap = torch.linalg.eigvalsh(root.T @ spread @ root).sqrt().sum()
    shift = updated - mean_real
    return shift @ shift + (covariance_real + spread).trace() - 2 * overlap


def test_of_a_member_is_what_differences_say(rng: np.random.Generator) -> None:
    real, features = sets(rng)
    found = Sensitivity.for_members(real, Moments.from_samples(features)).gradient(features)
    for row in (0, 17):
        np.testing.assert_allclose(found[row], by_differences(real, features, row), rtol=1e-5)


def test_of_a_member_is_what_autograd_says_of_the_others_and_it(rng: np.random.Generator) -> None:
    real, features = sets(rng)
    found = Sensitivity.for_members(real, Moments.from_samples(features)).gradient(features)
    for row in (3, 39):
        added = torch.from_numpy(features[row]).requires_grad_()
        by_autograd(real, np.delete(features, row, axis=0), added).backward()
        np.testing.assert_allclose(found[row], added.grad, rtol=1e-10)


@pytest.mark.parametrize("count", [2, 4, 6, 40])
def test_an_added_image_makes_a_member_of_a_larger_set(
    rng: np.random.Generator, count: int
) -> None:
    """Also of a set with a singular covariance, before the image or after it too.

    Then the root has no derivative across the span of the images, and only steps within it are
    compared.
    """
    real, features = sets(rng, count)
    base, added = Moments.from_samples(features[:-1]), features[-1:]
    exact = AddedSensitivity.from_moments(real, base).gradient(added)[0]
    member = Sensitivity.for_members(real, Moments.from_samples(features)).gradient(added)[0]
    apart = features - features.mean(axis=0)
    span = np.linalg.svd(apart, full_matrices=False)[2][: min(count - 1, D)]
    np.testing.assert_allclose(span @ exact, span @ member, rtol=1e-8, atol=1e-12)


def test_an_image_far_away_is_added_as_exactly(rng: np.random.Generator) -> None:
    real, features = sets(rng)
    base = Moments.from_samples(features)
    for factor in (1e-3, 1e3, 1e5):
        added = features[:1] * factor
        exact = AddedSensitivity.from_moments(real, base).gradient(added)[0]
        larger = Moments.from_samples(np.concatenate([features, added]))
        member = Sensitivity.for_members(real, larger).gradient(added)[0]
        np.testing.assert_allclose(exact, member, rtol=1e-9, atol=1e-9 * np.abs(member).max())


def test_an_added_image_has_a_gradient_of_its_own(
    rng: np.random.Generator, device: torch.device
) -> None:
    """Whatever images are computed beside it; and on every device."""
    real, features = sets(rng)
    derivative = AddedSensitivity.from_moments(real, Moments.from_samples(features[:-3]))
    together = derivative.gradient(features)
    others = np.concatenate([features[:7] * 1e6, features[7:]])
    np.testing.assert_array_equal(derivative.gradient(others)[7:], together[7:])
    tensors = torch.from_numpy(features).to(device)
    found = derivative.cast_like(tensors).gradient(tensors)
    np.testing.assert_allclose(found.cpu(), together, rtol=1e-10)


def test_derivatives_on_a_gpu_without_numbers(rng: np.random.Generator) -> None:
    """No constant stays on the CPU; what comes out is not reached."""
    real, features = sets(rng)
    moments = Moments.from_samples(features)
    derivatives = (
        Sensitivity.for_members(real, moments),
        AddedSensitivity.from_moments(real, moments),
    )
    with fake_cuda():
        images = torch.empty(7, D, dtype=torch.float64, device=CUDA)
        for derivative in derivatives:
            found = derivative.cast_like(images).gradient(images)
            assert (found.shape, found.device.type) == ((7, D), "cuda")


def test_the_map_without_the_image_is_nearer_the_more_there_are(rng: np.random.Generator) -> None:
    apart = []
    for count in (50, 500, 5000):
        real, features = sets(rng, count + 20)
        base, added = Moments.from_samples(features[:-20]), features[-20:]
        near = Sensitivity.for_new_images_approximately(real, base).gradient(added)
        exact = AddedSensitivity.from_moments(real, base).gradient(added)
        apart.append(np.linalg.norm(near - exact) / np.linalg.norm(exact))
    assert apart[0] > 4 * apart[1] > 16 * apart[2]
    assert apart[2] < 3e-3


def test_few_samples_give_the_derivative_within_their_span(rng: np.random.Generator) -> None:
    """Fewer images than dimensions: a step towards another image of the set."""
    real, features = sets(rng, 4)
    found = Sensitivity.for_members(real, Moments.from_samples(features)).gradient(features)
    step, direction = 1e-3, features[1] - features[2]
    values = []
    for sign in (1, -1):
        moved = features.copy()
        moved[0] += sign * step * direction
        values.append(distance(real, moved))
    np.testing.assert_allclose(
        found[0] @ direction, (values[0] - values[1]) / (2 * step), rtol=1e-3
    )


def test_what_is_arbitrary_is_refused(rng: np.random.Generator) -> None:
    real, features = sets(rng, D)
    with pytest.raises(NotEnoughData, match="a set of 5, of 5 dimensions, .*--exact"):
        Sensitivity.for_new_images_approximately(real, Moments.from_samples(features))
    with pytest.raises(NotEnoughData, match="covariance of 1 samples"):
        Sensitivity.for_members(real, Moments.from_samples(features[:1]))


def test_equal_sets_have_no_gradient(rng: np.random.Generator) -> None:
    _, features = sets(rng)
    moments = Moments.from_samples(features)
    same = Gaussian.from_moments(moments, 1)
    found = Sensitivity.for_members(same, moments).gradient(features)
    assert np.abs(found).max() < 1e-12


def test_numpy_and_torch_say_the_same(rng: np.random.Generator, device: torch.device) -> None:
    real, features = sets(rng)
    derivative = Sensitivity.for_members(real, Moments.from_samples(features))
    activations = rng.random((len(features), D, 2, 3))
    found = importance(channel_weights(derivative.gradient(features), 6), activations)
    tensors = torch.from_numpy(features).to(device)
    gradients = derivative.cast_like(tensors).gradient(tensors)
    of_torch = importance(channel_weights(gradients, 6), torch.from_numpy(activations).to(device))
    np.testing.assert_allclose(found, of_torch.cpu(), rtol=1e-12)
    assert found.shape == (40, 2, 3)
