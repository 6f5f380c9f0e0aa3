r"""The jumps of a discontinuous density, lifted into the cells.

The gradient inside the cells leaves out how a density jumps at facets F. With l(rho) given by

    int l(rho) . tau = sum_F int_F (rho(+) - rho(-)) (tau(+).n(+) - tau(-).n(-)) / 2

for all tau of degree p, grad rho - l(rho) is a weak gradient: tested with a smooth field it is as
accurate as the density is, where grad rho alone loses an order (Arnold, Brezzi, Cockburn & Marini,
SIAM J. Numer. Anal. 39, 2002).
"""

from __future__ import annotations

import ufl
from dolfinx import fem

from meanformer.pde.dg.forms import Moments


def lifting(space: fem.FunctionSpace, degree: int, facets: ufl.Measure) -> Moments:
    """The moments int l(rho)_k phi_i of a density, ``shape=(cells, n, d)``.

    Args:
        space: The density's discontinuous Lagrange space.
        degree: p.
        facets: The integral over facets.
    """
    domain, density = space.mesh, fem.Function(space)
    tests = fem.functionspace(domain, ("Discontinuous Lagrange", degree, (domain.geometry.dim,)))
    tau, normal = ufl.TestFunction(tests), ufl.FacetNormal(domain)
    flux = (ufl.dot(tau("+"), normal("+")) - ufl.dot(tau("-"), normal("-"))) / 2
    return Moments((density("+") - density("-")) * flux * facets, density)
