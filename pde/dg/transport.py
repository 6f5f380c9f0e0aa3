r"""Upwind discontinuous Galerkin transport of a density on a curved surface or in R^d.

The equation is d_t rho + div(rho v) = 0. On each cell, for every test function phi,

    int phi d_t rho = int rho v . grad phi - int_facets [phi] F,

with one scalar flux F a facet, symmetric under exchange of its sides. Through a boundary mass
leaves with rho (v.n)^+, or nothing passes.
"""

from __future__ import annotations

from typing import Any

import ufl
from dolfinx import fem

from meanformer.arrays import Array
from meanformer.integrators.stepper import Rate
from meanformer.pde.dg.elements import Elements
from meanformer.pde.dg.forms import Moments, set_values


def upwind_flux(density: Any, velocity: Any, normal: Any) -> Any:
    """Upwind flux out of the '+' side: u+ rho(+) - u- rho(-), with u the normal speed.

    On a curved surface the co-normals of two cells at their common facet are not opposite:
    u = (v.n(+) - v.n(-))/2 keeps the flux single-valued, so that no mass is lost.
    """
    speed = (ufl.dot(velocity("+"), normal("+")) - ufl.dot(velocity("-"), normal("-"))) / 2
    return (speed + abs(speed)) / 2 * density("+") + (speed - abs(speed)) / 2 * density("-")


def outflow(density: Any, velocity: Any, test: Any, elements: Elements) -> Any:
    """The form int phi rho (v.n)^+ ds of what leaves through the boundary."""
    speed = ufl.dot(velocity, ufl.FacetNormal(elements.domain))
    return test * (speed + abs(speed)) / 2 * density * elements.ds


def transport_form(density: Any, velocity: Any, test: Any, elements: Elements) -> Any:
    """The weak form int rho v.grad(phi) dx - int [phi] F dS of -div(rho v); nothing leaves."""
    flux = upwind_flux(density, velocity, ufl.FacetNormal(elements.domain))
    volume = density * ufl.inner(velocity, ufl.grad(test)) * elements.dx
    return volume - (test("+") - test("-")) * flux * elements.dS


class Transport:
    """The semi-discrete operator rho -> -div(rho v), with v a continuous vector function.

    Args:
        elements: The density's elements.
        space: Vector Lagrange elements of the velocity on the same mesh.
        open_boundary: Whether mass leaves where v points outwards; else nothing passes.
    """

    def __init__(self, elements: Elements, space: fem.FunctionSpace, open_boundary: bool) -> None:
        self._elements = elements
        self._velocity, density = fem.Function(space), fem.Function(elements.space)
        arguments = density, self._velocity, ufl.TestFunction(elements.space), elements
        self._moments = Moments(transport_form(*arguments), density)
        self._outflow = Moments(outflow(*arguments), density) if open_boundary else None

    def __call__(self, values: Array, velocity: Array) -> Rate:
        """The tendency d_t rho of a density. Collective.

        Args:
            values: The density's values on this rank's cells, ``shape=(cells, n)``.
            velocity: At the nodes of ``space`` that this rank owns, ``shape=(m, d)``.

        Returns:
            Its time derivative, of the same shape, and the mass that leaves through this rank's
            boundary per unit time.
        """
        set_values(self._velocity, velocity)
        moments, leaves = self._moments(values), 0.0
        if self._outflow is not None:
            leaving = self._outflow(values)
            leaves = float(leaving.sum())
            moments -= leaving
        return Rate(self._elements.solve_mass(moments), leaves)
