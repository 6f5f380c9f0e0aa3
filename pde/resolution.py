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


class Resolution:
    """The share of the mass in cells that no longer resolve it.

    A solution is continuous: the jump of its approximation at the facets of a cell is of the size
    of the error there, h^{p+1} while the mesh resolves it, and of the size of the density when it
    does not.

    Args:
        elements: The density's elements.
    """

    def __init__(self, elements: Elements) -> None:
        """Compile the form. Collective."""
        self._elements = elements
        cells = fem.functionspace(elements.domain, ("Discontinuous Lagrange", 0))
        self._density = fem.Function(elements.space)
        facets = ufl.dS(elements.domain, metadata={"quadrature_degree": elements.quadrature_degree})
        test, density = ufl.TestFunction(cells), self._density
        both_sides = test("+") + test("-")
        self._jumps = compiled(abs(density("+") - density("-")) * both_sides * facets)
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
