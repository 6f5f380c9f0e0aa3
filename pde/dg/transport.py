r"""Upwind discontinuous Galerkin transport of a density on a curved surface or in R^d.

The equation is d_t rho + div(rho v) = 0. On each cell, for every test function phi,

    int phi d_t rho = int rho v . grad phi - int_facets [phi] F,

with one scalar flux F a facet, symmetric under exchange of its sides. Through a boundary mass
leaves with rho (v.n)^+, or nothing passes.
"""

from __future__ import annotations

from typing import Any

import ufl
from dolfinx import fem, la

from meanformer.arrays import Array
from meanformer.integrators.stepper import Rate
from meanformer.pde.dg.elements import Elements
from meanformer.pde.dg.forms import assemble, compiled, set_values


def upwind_flux(density: Any, velocity: Any, normal: Any) -> Any:
    """Upwind flux out of the '+' side: u+ rho(+) - u- rho(-), with u the normal speed.

    On a curved surface the co-normals of two cells at their common facet are not opposite:
    u = (v.n(+) - v.n(-))/2 keeps the flux single-valued, so that no mass is lost.
    """
    speed = (ufl.dot(velocity("+"), normal("+")) - ufl.dot(velocity("-"), normal("-"))) / 2
    return (speed + abs(speed)) / 2 * density("+") + (speed - abs(speed)) / 2 * density("-")


def outflow(density: Any, velocity: Any, test: Any, quadrature_degree: int) -> Any:
    """The form int phi rho (v.n)^+ ds of what leaves through the boundary."""
    domain = test.ufl_function_space().ufl_domain()
    speed = ufl.dot(velocity, ufl.FacetNormal(domain))
    boundary = ufl.ds(domain, metadata={"quadrature_degree": quadrature_degree})
    return test * (speed + abs(speed)) / 2 * density * boundary


def transport_form(density: Any, velocity: Any, test: Any, quadrature_degree: int) -> Any:
    """The weak form int rho v.grad(phi) dx - int [phi] F dS of -div(rho v); nothing leaves."""
    domain = test.ufl_function_space().ufl_domain()
    measure = {"metadata": {"quadrature_degree": quadrature_degree}}
    flux = upwind_flux(density, velocity, ufl.FacetNormal(domain))
    volume = density * ufl.inner(velocity, ufl.grad(test)) * ufl.dx(domain, **measure)
    return volume - (test("+") - test("-")) * flux * ufl.dS(domain, **measure)


class Transport:
    """The semi-discrete operator rho -> -div(rho v), with v a continuous vector function.

    Args:
        elements: The density's elements.
        velocity: The velocity, a vector Lagrange function on the same mesh.
        open_boundary: Whether mass leaves where v points outwards; else nothing passes.
    """

    def __init__(self, elements: Elements, velocity: fem.Function, open_boundary: bool) -> None:
        """Compile the forms once."""
        self._elements = elements
        self._density = fem.Function(elements.space)
        self._residual = la.vector(elements.space.dofmap.index_map, 1)
        test = ufl.TestFunction(elements.space)
        arguments = self._density, velocity, test, elements.quadrature_degree
        self._form = compiled(transport_form(*arguments))
        self._outflow = compiled(outflow(*arguments)) if open_boundary else None

    def __call__(self, values: Array) -> Rate:
        """The tendency d_t rho of a density. Collective.

        Args:
            values: The density's values on this rank's cells, ``shape=(cells, n)``.

        Returns:
            Its time derivative, of the same shape, and the mass that leaves through this rank's
            boundary per unit time.
        """
        leaves = 0.0
        set_values(self._density, values)
        own = assemble(self._form, self._residual)[: values.size]
        moments = own.reshape(values.shape).copy()
        if self._outflow is not None:
            own = assemble(self._outflow, self._residual)[: values.size]
            leaving = own.reshape(values.shape)
            leaves = float(leaving.sum())
            moments -= leaving
        return Rate(self._elements.solve_mass(moments), leaves)
