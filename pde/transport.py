r"""Upwind discontinuous Galerkin transport of a density on a closed curved surface.

The equation is d_t rho + div(rho v) = 0. On each cell, for every test function phi,

    int phi d_t rho = int rho v . grad phi - int_facets [phi] F,

with one scalar flux F a facet, symmetric under exchange of its sides.
"""

from __future__ import annotations

from typing import Any

import dolfinx
import numba
import numpy as np
import ufl
from dolfinx import fem, la

from meanformer.attention.spaces import Array
from meanformer.pde.quadrature import CellQuadrature, mass_matrices, tabulate


def upwind_flux(density: Any, velocity: Any, normal: Any) -> Any:
    """Upwind flux out of the '+' side: u+ rho(+) - u- rho(-), with u the normal speed.

    On a curved surface the co-normals of two cells at their common facet are not opposite:
    u = (v.n(+) - v.n(-))/2 keeps the flux single-valued, so that no mass is lost.
    """
    speed = (ufl.dot(velocity("+"), normal("+")) - ufl.dot(velocity("-"), normal("-"))) / 2
    return (speed + abs(speed)) / 2 * density("+") + (speed - abs(speed)) / 2 * density("-")


def transport_form(density: Any, velocity: Any, test: Any, quadrature_degree: int) -> Any:
    """The weak form int rho v.grad(phi) dx - int [phi] F dS of -div(rho v)."""
    domain = test.ufl_function_space().ufl_domain()
    measure = {"metadata": {"quadrature_degree": quadrature_degree}}
    flux = upwind_flux(density, velocity, ufl.FacetNormal(domain))
    volume = density * ufl.inner(velocity, ufl.grad(test)) * ufl.dx(domain, **measure)
    return volume - (test("+") - test("-")) * flux * ufl.dS(domain, **measure)


@numba.njit(cache=True)
def _solve_cells(inverses, right_hand_sides, solutions):  # type: ignore[no-untyped-def]
    """solutions[c] = inverses[c] @ right_hand_sides[c]."""
    cells, size = right_hand_sides.shape
    for c in range(cells):
        for i in range(size):
            value = 0.0
            for j in range(size):
                value += inverses[c, i, j] * right_hand_sides[c, j]
            solutions[c, i] = value


class Transport:
    """The semi-discrete operator rho -> -div(rho v), with v a continuous vector function.

    Args:
        space: Discontinuous Lagrange space of the density.
        quadrature: Rule that defines the mass matrix.
        velocity: The velocity, a vector Lagrange function on the same mesh.
        quadrature_degree: Degree of the rules for the residual.

    Attributes:
        density: The function through which densities enter the residual.
        integrals: int phi_i over each of this rank's cells, ``shape=(cells, n)``.
    """

    def __init__(
        self,
        space: fem.FunctionSpace,
        quadrature: CellQuadrature,
        velocity: fem.Function,
        quadrature_degree: int,
    ) -> None:
        """Compile the form and invert the cell mass matrices once."""
        unknowns = space.dofmap.list
        if not np.array_equal(unknowns.ravel(), np.arange(unknowns.size)):
            raise RuntimeError("the density's unknowns are not numbered cell by cell")
        basis = tabulate(space, quadrature.reference)
        self.integrals: Array = quadrature.weights @ basis
        self._inverses = np.linalg.inv(mass_matrices(basis, quadrature.weights))
        self.density = fem.Function(space)
        form = transport_form(self.density, velocity, ufl.TestFunction(space), quadrature_degree)
        self._form = fem.form(
            form, jit_options={"cffi_extra_compile_args": ["-O3", "-march=native"]}
        )
        self._residual = la.vector(space.dofmap.index_map, space.dofmap.index_map_bs)

    def __call__(self, values: Array) -> Array:
        """The tendency d_t rho of a density. Collective.

        Args:
            values: The density's values on this rank's cells, ``shape=(cells, n)``.

        Returns:
            Its time derivative, of the same shape.
        """
        density, residual = self.density.x, self._residual
        density.array[: values.size] = values.ravel()
        density.scatter_forward()
        residual.array[:] = 0.0
        fem.assemble_vector(residual.array, self._form)
        residual.scatter_reverse(dolfinx.la.InsertMode.add)
        return self.solve_mass(residual.array[: values.size].reshape(values.shape))

    def solve_mass(self, moments: Array) -> Array:
        """The function whose moments int rho phi_i are given, ``shape=(cells, n)``."""
        values = np.empty_like(moments)
        _solve_cells(self._inverses, moments, values)
        return values
