"""The positivity limiter of Zhang and Shu (J. Comput. Phys. 229, 2010)."""

from __future__ import annotations

from mpi4py import MPI

import basix
import numba
import numpy as np

from meanformer.arrays import Array
from meanformer.pde.quadrature import facet_points

# No density grows to this; beyond it products with e^{<Ax,y>} would overflow.
_BLOWN_UP = 1e100
# This share of a cell's mean is left everywhere: zero less round-off would be negative.
_LEFT = 1e-12
# Implicit steps may leave so much of the mass below zero in cell means, far below any accuracy.
_LARGEST_BELOW_ZERO = 1e-4


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
        if low < _LEFT * mean:
            share = mean * (1 - _LEFT) / (mean - low)
            for i in range(size):
                values[c, i] = max(0.0, mean + share * (values[c, i] - mean))
    return negative


class PositivityLimiter:
    """Scale each cell's polynomial towards its mean until it is non-negative where it is read.

    That is at its nodes, at the volume quadrature points (the attention field reads the density
    there) and at the facet quadrature points (the flux does). Cell means are kept, and with them
    the mass and the order of accuracy.

    Args:
        element: The density's scalar element on the reference simplex.
        volume_points: Volume quadrature points of the reference cell, ``shape=(q, t)``.
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
        self._integrals = integrals
        self._mean_weights = integrals / integrals.sum(axis=1, keepdims=True)
        facets = facet_points(element.cell_type, facet_degree)
        points = np.concatenate([element.points, volume_points, facets])
        self._basis = element.tabulate(0, points)[0, :, :, 0].copy()

    def __call__(self, values: Array) -> int:
        """Limit nodal values, ``shape=(cells, n)``, in place.

        Returns:
            The number of this rank's cells whose mean is negative, beyond round-off, or whose
            values blow up. They are set to zero: such a step must not be kept.
        """
        return int(_limit(values, self._mean_weights, self._basis))

    def after_implicit(self, values: Array, comm: MPI.Intracomm) -> bool:
        """Limit in place what an implicit step made on the cells of all ranks. Collective.

        Cells of negative mass are set to zero, and all others shrunk so that the mass stays. What
        such a step leaves below zero in a cell's mean is part of its error, and so is what this
        does: it moves no more mass than there was below zero.

        Returns:
            Whether little of the mass was below zero, and nothing blew up; the same on all ranks.
        """
        masses = np.einsum("ci,ci->c", self._integrals, values)
        below = masses < 0
        negative, total = comm.allreduce(np.array([masses[below].sum(), masses.sum()]))
        if negative < 0:
            values *= total / (total - negative)
            values[below] = 0.0
        little = bool(-negative / total <= _LARGEST_BELOW_ZERO)
        return little and not comm.allreduce(self(values))
