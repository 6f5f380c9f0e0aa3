"""How much of a density the mesh does not resolve."""

from __future__ import annotations

import numpy as np
import ufl
from dolfinx import fem, la

from meanformer.attention.spaces import Array
from meanformer.pde.elements import Elements
from meanformer.pde.forms import assemble, compiled, set_values

#: A cell resolves its density while jumps at its facets are below this share of its mean.
LARGEST_JUMP = 0.1
#: A mesh resolves a density while no more of its mass is in cells that do not.
LARGEST_SHARE = 0.1
# On a line, slopes that jump by s from cell to cell of size h bend by s/h, and a straight piece of
# that size is off by up to h s/8 inside; jumps are differences of two such errors.
_OF_SLOPES = 1 / 4


class Resolution:
    """The share of the mass in cells that no longer resolve it.

    A solution is continuous: the jump of its approximation at the facets of a cell is of the size
    of the error there, h^{p+1} while the mesh resolves it, and of the size of the density when it
    does not.

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
        self._density = fem.Function(elements.space)
        facets = ufl.dS(elements.domain, metadata={"quadrature_degree": elements.quadrature_degree})
        test, density = ufl.TestFunction(cells), self._density
        both_sides = test("+") + test("-")
        jump = abs(density("+") - density("-"))
        if has_noise:
            heights, normal = fem.Function(cells), ufl.FacetNormal(elements.domain)
            set_values(heights, elements.heights())
            height = ufl.min_value(heights("+"), heights("-"))
            # Co-normals of the two cells point in opposite directions.
            slopes = [ufl.dot(ufl.grad(density)(side), normal(side)) for side in "+-"]
            jump += _OF_SLOPES * height * abs(slopes[0] + slopes[1])
        self._jumps = compiled(jump * both_sides * facets)
        self._moments = la.vector(cells.dofmap.index_map, 1)
        self._areas = self._assemble(
            compiled(fem.Constant(elements.domain, 1.0) * both_sides * facets)
        )

    def __call__(self, values: Array) -> float:
        """The share, between 0 and 1. Collective.

        Args:
            values: The density's values on this rank's cells, ``shape=(cells, n)``.
        """
        set_values(self._density, values)
        sums = self._assemble(self._jumps)
        # A cell without neighbours tells nothing.
        jumps = np.divide(sums, self._areas, out=np.full_like(sums, np.inf), where=self._areas > 0)
        integrals = self._elements.integrals
        masses = (integrals * values).sum(axis=1)
        unresolved = jumps > LARGEST_JUMP * masses / integrals.sum(axis=1)
        share = self._elements.comm.allreduce(float(masses[unresolved].sum()))
        return share / self._elements.mass(values)

    def _assemble(self, form: fem.Form) -> Array:
        """Moments of a form on this rank's cells, ``shape=(cells,)``."""
        return assemble(form, self._moments)[: len(self._elements.integrals)].copy()
