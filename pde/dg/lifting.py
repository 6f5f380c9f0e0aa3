r"""The jumps of a discontinuous density, lifted into the cells.

The gradient inside the cells leaves out how a density jumps at facets F. With l(rho) given by

    int l(rho) . tau = sum_F int_F (rho(+) - rho(-)) (tau(+).n(+) - tau(-).n(-)) / 2

for all tau of degree p, grad rho - l(rho) is a weak gradient: tested with a smooth field it is as
accurate as the density is, where grad rho alone loses an order (Arnold, Brezzi, Cockburn & Marini,
SIAM J. Numer. Anal. 39, 2002).
"""

from __future__ import annotations

import ufl
from dolfinx import fem, la

from meanformer.arrays import Array
from meanformer.pde.dg.forms import assemble, compiled, set_values


class Lifting:
    """The moments of the lifted jumps of a density.

    Args:
        space: The density's discontinuous Lagrange space.
        quadrature_degree: On facets.
    """

    def __init__(self, space: fem.FunctionSpace, quadrature_degree: int) -> None:
        """Compile the form once."""
        domain, degree = space.mesh, space.element.basix_element.degree
        self._dimension = domain.geometry.dim
        self._density = fem.Function(space)
        element = ("Discontinuous Lagrange", degree, (self._dimension,))
        tests = fem.functionspace(domain, element)
        tau, normal = ufl.TestFunction(tests), ufl.FacetNormal(domain)
        flux = (ufl.dot(tau("+"), normal("+")) - ufl.dot(tau("-"), normal("-"))) / 2
        facets = ufl.dS(domain, metadata={"quadrature_degree": quadrature_degree})
        self._form = compiled((self._density("+") - self._density("-")) * flux * facets)
        self._moments = la.vector(tests.dofmap.index_map, self._dimension)

    def __call__(self, values: Array) -> Array:
        """Integrals of l(rho)_k phi_i over each cell, ``shape=(cells, n, d)``. Collective."""
        set_values(self._density, values)
        own = assemble(self._form, self._moments)[: values.size * self._dimension]
        return own.reshape(*values.shape, self._dimension)
