r"""Upwind discontinuous Galerkin transport of a density on a curved surface or in R^d.

The equation is d_t rho + div(rho v) = 0. On each cell, for every test function phi,

    int phi d_t rho = int rho v . grad phi - int_facets [phi] F,

with one scalar flux F a facet, symmetric under exchange of its sides. Through a boundary mass
leaves with rho (v.n)^+, or nothing passes.
"""

from __future__ import annotations

from typing import Any

import ufl

from meanformer.pde.dg.elements import Elements


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
