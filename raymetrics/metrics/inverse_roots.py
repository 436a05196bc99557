"""The inverse root of a diagonal matrix after an update of rank one, times the update's vector.

For a positive definite A (Higham 2008, Functions of Matrices, section 6.2, with t = e^x),

    A^-1/2 = 2/pi times the integral over all t > 0 of (t^2 + A)^-1 dt

and for A = E + c z z^T, by the formula of Sherman and Morrison (1950),

    (t^2 + A)^-1 z = y / (1 + c z.y),  y = z / (t^2 + E)

so that one vector takes as many operations as it has values for each node of a quadrature, instead
of an eigendecomposition. Over x the trapezoidal rule converges geometrically (Trefethen & Weideman
2014): each eigenvalue e of A adds 1 / (2 sqrt e) sech(x - log(e) / 2), whose poles lie pi / 2 from
the real line, so that steps of h leave a relative error of 2 exp(-pi^2 / h).
"""

from __future__ import annotations

from typing import Any

import numpy as np

_STEP = 0.26  # 2 exp(-pi^2 / 0.26) = 7e-17
_TAIL = 34.0  # of x beyond all eigenvalues' centers; exp(-34) = 2e-15
_FAR = 12.0  # of x for updates: their eigenvalues may be exp(24) times as large


def quadrature_nodes(smallest: float, largest: float) -> tuple[float, ...]:
    """Return the nodes x for matrices whose eigenvalues are between two numbers above 0.

    The update may add an eigenvalue of up to 2e10 times the largest one.
    """
    start, stop = np.log(smallest) / 2 - _TAIL, np.log(largest) / 2 + _FAR + _TAIL
    return tuple(np.arange(start, stop, _STEP).tolist())


def updated_inverse_root(
    eigenvalues: Any, vectors: Any, scale: float, nodes: tuple[float, ...]
) -> Any:
    """Compute (E + scale z z^T)^-1/2 z for every row z of vectors, float64 [n, r].

    eigenvalues: the diagonal of E, float64 [r], above 0; vectors: float64 [n, r]; all of numpy, or
    tensors on one device. nodes: of `quadrature_nodes`, at steps of 0.26.
    """
    total = vectors * 0.0
    for x in nodes:
        solved = vectors / (eigenvalues + np.exp(2 * x))
        excess = (vectors * solved).sum(1)[:, None]
        total += solved * (np.exp(x) / (1 + scale * excess))
    return total * (2 * _STEP / np.pi)
