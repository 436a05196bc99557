"""Inverse roots after an update of rank one, against eigenvectors of the whole matrix."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from raymetrics.metrics.inverse_roots import quadrature_nodes, updated_inverse_root


def by_eigenvectors(eigenvalues: np.ndarray, z: np.ndarray, scale: float) -> np.ndarray:
    """In 40 digits: in float64, eigenvectors lose those of the condition."""
    with mpmath.workdps(40):
        vector = mpmath.matrix(z.tolist())
        updated = mpmath.diag(eigenvalues.tolist()) + mpmath.mpf(scale) * vector * vector.T
        values, vectors = mpmath.eigsy(updated)
        roots = mpmath.diag([1 / mpmath.sqrt(value) for value in values])
        return np.array([float(x) for x in vectors * roots * vectors.T * vector])


@pytest.mark.parametrize("falls_to", [1.0, 1e-3, 1e-14])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_as_by_eigenvectors(rng: np.random.Generator, falls_to: float, scale: float) -> None:
    """To rounding, whatever the condition."""
    eigenvalues = np.geomspace(falls_to, 1, 12)
    z = rng.normal(size=(2, 12)) * np.geomspace(falls_to**0.25, 1, 12)
    found = updated_inverse_root(eigenvalues, z, scale, quadrature_nodes(falls_to, 1))
    for row, vector in enumerate(z):
        np.testing.assert_allclose(
            found[row], by_eigenvectors(eigenvalues, vector, scale), rtol=1e-12
        )


def test_without_an_update_it_is_a_quotient(rng: np.random.Generator) -> None:
    """To rounding, over fourteen orders of magnitude."""
    eigenvalues = np.geomspace(1e-14, 1, 50)
    z = rng.normal(size=(2, 50))
    found = updated_inverse_root(eigenvalues, z, 0.0, quadrature_nodes(1e-14, 1))
    np.testing.assert_allclose(found, z / np.sqrt(eigenvalues), rtol=2e-14)


def test_of_one_dimension(rng: np.random.Generator) -> None:
    """z / sqrt(e + c z^2), up to where the nodes end."""
    for z in np.geomspace(1e-8, 1e4, 30):
        found = updated_inverse_root(
            np.array([0.5]), np.array([[z]]), 3.0, quadrature_nodes(0.5, 1)
        )
        assert found[0, 0] == pytest.approx(z / np.sqrt(0.5 + 3 * z * z), rel=1e-13)
