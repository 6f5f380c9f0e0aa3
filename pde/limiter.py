"""The positivity limiter of Zhang and Shu (J. Comput. Phys. 229, 2010)."""

from __future__ import annotations

import basix
import numba
import numpy as np

from meanformer.attention.spaces import Array

# No density grows to this; beyond it products with e^{<Ax,y>} would overflow.
_BLOWN_UP = 1e100


@numba.njit(cache=True)
def _limit(values, mean_weights, basis):  # type: ignore[no-untyped-def]
    """Limit in place; return how many cells have a mean that is negative, or blow up."""
    cells, size = values.shape
    negative = 0
    for c in range(cells):
        mean = 0.0
        top = 0.0
        for i in range(size):
            mean += mean_weights[c, i] * values[c, i]
            top = max(top, abs(values[c, i]))
        if not (mean >= 0 and top < _BLOWN_UP):
            if not (mean >= -1e-14 * top and top < _BLOWN_UP):
                negative += 1
            for i in range(size):
                values[c, i] = 0.0
            continue
        low = mean
        for q in range(basis.shape[0]):
            value = 0.0
            for i in range(size):
                value += basis[q, i] * values[c, i]
            low = min(low, value)
        if low < 0:
            share = mean / (mean - low)
            for i in range(size):
                values[c, i] = max(0.0, mean + share * (values[c, i] - mean))
    return negative


class PositivityLimiter:
    """Scale each cell's polynomial towards its mean until it is non-negative where it is read.

    That is at its nodes, at the volume quadrature points (the attention field reads the density
    there) and at the facet quadrature points (the flux does). Cell means are kept, and with them
    the mass and the order of accuracy.

    Args:
        element: The density's scalar element on the reference triangle.
        volume_points: Volume quadrature points of the reference cell, ``shape=(q, 2)``.
        facet_degree: Degree of the facet quadrature.
        integrals: int phi_i over each cell, ``shape=(cells, n)``.
    """

    def __init__(
        self,
        element: basix.finite_element.FiniteElement,
        volume_points: Array,
        facet_degree: int,
        integrals: Array,
    ) -> None:
        """Tabulate the basis where the density is read."""
        self._mean_weights = integrals / integrals.sum(axis=1, keepdims=True)
        line, _ = basix.make_quadrature(basix.CellType.interval, facet_degree)
        s, zero = line[:, 0], np.zeros(len(line))
        facets = [np.stack(p, axis=1) for p in ((1 - s, s), (zero, s), (s, zero))]
        points = np.concatenate([element.points, volume_points, *facets])
        self._basis = element.tabulate(0, points)[0, :, :, 0].copy()

    def __call__(self, values: Array) -> int:
        """Limit in place.

        Args:
            values: Nodal values, ``shape=(cells, n)``.

        Returns:
            The number of this rank's cells whose mean is negative, beyond round-off, or whose
            values blow up. They are set to zero: such a step must not be kept.
        """
        return int(_limit(values, self._mean_weights, self._basis))
