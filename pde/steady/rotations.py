"""Rotations of a density, which its equation on a sphere may not see.

Where all matrices are multiples of the identity and there is no drift, rotations of a stationary
density are stationary, too. A mesh knows no rotations: it turns the density slowly, by its error.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from meanformer.arrays import Array
from meanformer.attention import Attention, Sphere
from meanformer.attention.matrices import multiple_of_identity
from meanformer.pde.dg.solver import DensitySolver

# Rates below this share of the largest: a density symmetric about an axis, up to the mesh's error.
_SYMMETRIC = 0.02


class Rotations:
    """The directions in which rotations move a density, where they leave its equation alone.

    Args:
        solver: Its space and its present model.
        values: The density.
    """

    def __init__(self, solver: DensitySolver, values: Array) -> None:
        """Orthonormal directions; none where the model has a direction of its own. Collective."""
        self._elements = elements = solver.elements
        #: Orthonormal, ``shape=(k, cells, n)``.
        self.directions = np.empty((0, *values.shape))
        if not (isinstance(solver.space, Sphere) and _is_isotropic(solver.attention)):
            return
        slopes = elements.gradients(values)
        points = elements.points.reshape(slopes.shape)
        turned, mass = [], elements.mass(values)
        for i, j in combinations(range(solver.space.dimension), 2):
            rate = points[..., i] * slopes[..., j] - points[..., j] * slopes[..., i]
            direction = elements.solve_mass((elements.quadrature.weights * rate) @ elements.basis)
            turned.append(direction - elements.mass(direction) / mass * values)
        products = np.array([[self._inner(one, other) for other in turned] for one in turned])
        squares, axes = np.linalg.eigh(products)
        # About an axis of the density itself, nothing turns but the mesh's error.
        moves = (squares > _SYMMETRIC**2 * squares[-1]) & (squares[-1] > 0)
        axes = axes[:, moves] / np.sqrt(squares[moves])
        self.directions = np.tensordot(axes.T, np.array(turned), axes=1)

    def components(self, values: Array) -> Array:
        """Inner products with the directions, ``shape=(k,)``. Collective."""
        return np.array([self._inner(direction, values) for direction in self.directions])

    def combine(self, components: Array) -> Array:
        """The sum of the directions times components, ``shape=(cells, n)``."""
        return np.tensordot(components, self.directions, axes=1)

    def part(self, values: Array) -> Array:
        """The part of a function along the directions. Collective."""
        return self.combine(self.components(values))

    def _inner(self, first: Array, second: Array) -> float:
        elements = self._elements
        product = (first @ elements.basis.T) * (second @ elements.basis.T)
        return elements.integral(product)


def _is_isotropic(attention: Attention) -> bool:
    """Whether rotations change nothing."""
    return attention.drift is None and all(
        attention.rule.is_isotropic(head) and multiple_of_identity(head.matrices[2]) is not None
        for head in attention.all_heads
    )
