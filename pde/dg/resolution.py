"""How much of a density the mesh does not resolve, and how much finer a mesh would."""

from __future__ import annotations

import numpy as np
import ufl
from dolfinx import fem

from meanformer.arrays import Array
from meanformer.pde.dg.elements import Elements
from meanformer.pde.dg.forms import Moments, set_values

#: A cell resolves its density while jumps at its facets are below this share of its mean.
LARGEST_JUMP = 0.1
#: A mesh resolves a density while no more of its mass is in cells that do not.
LARGEST_SHARE = 0.1
# On a line, slopes that jump by s from cell to cell of size h bend by s/h, and a straight piece of
# that size is off by up to h s/8 inside; jumps are differences of two such errors.
_OF_SLOPES = 1 / 4
# More halvings than any mesh can be refined.
_FINEST = 12


class Resolution:
    """The share of the mass in cells that no longer resolve it.

    A solution is continuous: the jump of its approximation at the facets of a cell is of the size
    of the error there, h^{p+1} while the mesh resolves it, and of the size of the density when it
    does not. So halving a cell divides its jumps by 2^{p+1}, or by less where the mesh sees nothing
    of the density's shape.

    With noise the penalty holds the values at facets together, on the coarsest mesh, too. But then
    slopes are continuous as well, and their jumps, times the height of the cell, are of the size of
    the error: a quarter of that is added.

    Args:
        elements: The density's elements.
        has_noise: Whether the density diffuses.
    """

    def __init__(self, elements: Elements, has_noise: bool) -> None:
        """Compile the form. Collective."""
        self._elements = elements
        cells = fem.functionspace(elements.domain, ("Discontinuous Lagrange", 0))
        test, density = ufl.TestFunction(cells), fem.Function(elements.space)
        both_sides = test("+") + test("-")
        jump = abs(density("+") - density("-"))
        if has_noise:
            heights, normal = fem.Function(cells), ufl.FacetNormal(elements.domain)
            set_values(heights, elements.heights())
            height = ufl.min_value(heights("+"), heights("-"))
            # Co-normals of the two cells point in opposite directions.
            slopes = [ufl.dot(ufl.grad(density)(side), normal(side)) for side in "+-"]
            jump += _OF_SLOPES * height * abs(slopes[0] + slopes[1])
        self._jumps = Moments(jump * both_sides * elements.dS, density)
        one = fem.Function(cells)
        areas = Moments(one("+") * both_sides * elements.dS, one)
        self._areas = areas(np.ones((len(elements.integrals), 1)))[:, 0]

    def __call__(self, values: Array) -> float:
        """The share for a density's values, between 0 and 1. Collective."""
        return float(self.after_halvings(values)[0])

    def after_halvings(self, values: Array) -> Array:
        """The shares that would be left if all cells were halved k = 0 to 12 times. Collective.

        Returns:
            Shares that do not grow with k, ``shape=(13,)``. A cell without neighbours tells nothing
            before it is halved, and counts as one that is resolved then.
        """
        sums = self._jumps(values)[:, 0]
        integrals = self._elements.integrals
        masses = (integrals * values).sum(axis=1)
        allowed = LARGEST_JUMP * masses / integrals.sum(axis=1) * self._areas
        excess = np.divide(sums, allowed, out=np.ones_like(sums), where=allowed > 0)
        per_halving = self._elements.degree + 1
        halvings = np.ceil(np.log2(np.maximum(excess, 1.0)) / per_halving)
        halvings[self._areas == 0] = 1
        count = _FINEST + 2
        halvings = np.minimum(halvings, count - 1).astype(int)
        by_halvings = np.bincount(halvings, masses, count)
        unresolved = self._elements.comm.allreduce(by_halvings)[::-1].cumsum()[-2::-1]
        shares: Array = unresolved / self._elements.mass(values)
        return shares


def halvings_needed(shares: Array) -> int:
    """The least k with which no more than ``LARGEST_SHARE`` is left; the last k if none is enough.

    Args:
        shares: What ``Resolution.after_halvings`` returns.
    """
    enough = np.flatnonzero(shares <= LARGEST_SHARE)
    return int(enough[0]) if len(enough) else len(shares) - 1
