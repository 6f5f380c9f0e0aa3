"""Discontinuous Lagrange elements of a density: projection, integrals, mass matrices."""

from __future__ import annotations

from functools import cached_property
from math import factorial

from mpi4py import MPI

import numba
import numpy as np
import ufl
from dolfinx import fem, mesh

from meanformer.arrays import Array
from meanformer.attention import Euclidean, Space, Sphere
from meanformer.pde.dg.forms import Moments
from meanformer.pde.dg.lifting import lifting
from meanformer.pde.dg.limiter import PositivityLimiter
from meanformer.pde.initial import InitialDensity, initial_values
from meanformer.pde.quadrature import CellQuadrature, mass_matrices, tabulate, vertices

# How far a vertex of a sphere may be from it.
_OFF_THE_SPHERE = 1e-6


class InitialDensityError(ValueError):
    """The initial density is no density on this mesh."""


class Elements:
    """Elements of degree p on a mesh of a sphere or of a piece of R^d.

    Values of a density are its nodal values on this rank's cells, ``shape=(cells, n)``.

    Args:
        domain: A mesh of simplices with shared-facet ghosts: of the circle or the sphere, where it
            has one dimension less than its coordinates, or of a piece of R^d.
        degree: p.

    Attributes:
        comm: The ranks that share the mesh.
        domain: The mesh.
        degree: p.
        space: The discontinuous Lagrange space.
        where: ``Sphere(d)`` or ``Euclidean(d)``.
        dx, dS, ds: Integrals over cells, over facets between cells and over boundary facets.
        quadrature: The rule on the cells.
        basis: Basis functions at its points, ``shape=(q, n)``.
        points: Its points, those on a sphere brought there exactly, ``shape=(cells q, d)``.
        integrals: int phi_i over each cell, ``shape=(cells, n)``.
        limiter: Keeps densities non-negative.

    Raises:
        ValueError: On every rank, if a curve or surface is not the unit circle or sphere.
    """

    def __init__(self, domain: mesh.Mesh, degree: int) -> None:
        self.comm: MPI.Intracomm = domain.comm
        self.domain, self.degree = domain, degree
        dimension = domain.geometry.dim
        self.where: Space = (
            Euclidean(dimension) if domain.topology.dim == dimension else Sphere(dimension)
        )
        self.space = fem.functionspace(domain, ("Discontinuous Lagrange", degree))
        unknowns = self.space.dofmap.list
        if not np.array_equal(unknowns.ravel(), np.arange(unknowns.size)):
            raise RuntimeError("the density's unknowns are not numbered cell by cell")
        quadrature_degree = max(2 * degree + 1, 2)
        metadata = {"quadrature_degree": quadrature_degree}
        self.dx, self.dS, self.ds = (
            kind(domain, metadata=metadata) for kind in (ufl.dx, ufl.dS, ufl.ds)
        )
        self.quadrature = CellQuadrature(domain, quadrature_degree)
        self.basis = tabulate(self.space, self.quadrature.reference)
        self.points = self.where.retract(self.quadrature.points.reshape(-1, dimension))
        if isinstance(self.where, Sphere):
            off = np.abs(np.linalg.norm(vertices(domain), axis=2) - 1).max(initial=0.0)
            if self.comm.allreduce(float(off), op=MPI.MAX) > _OFF_THE_SPHERE:
                raise ValueError("domain: a curve or surface must be the unit circle or sphere")
        self.integrals: Array = self.quadrature.weights @ self.basis
        self._inverses = np.linalg.inv(mass_matrices(self.basis, self.quadrature.weights))
        self.limiter = PositivityLimiter(
            self.space.element.basix_element,
            self.quadrature.reference,
            quadrature_degree,
            self.integrals,
        )

    def project(self, initial: InitialDensity) -> tuple[Array, float]:
        """L2 projection of a density, limited and normalised to mass one. Collective.

        Returns:
            Values, and the mass that the quadrature saw.

        Raises:
            InitialDensityError: On every rank, if it is not finite, is negative on a cell, or has
                no mass.
            ValueError: On every rank, if it is no real scalar on this mesh.
        """
        exact = initial_values(initial, self.domain, self.quadrature, self.points)
        weights = self.quadrature.weights
        # In units of about the largest value, whatever its size: nothing over- or underflows.
        largest = self.comm.allreduce(float(np.abs(exact).max(initial=0.0)), op=MPI.MAX)
        exponent = np.frexp(largest)[1]
        exact = np.ldexp(exact, -exponent)
        total = self.comm.allreduce(float(exact @ weights.ravel()))
        if not (np.isfinite(total) and total > 0):
            raise InitialDensityError(
                f"its mass on the mesh is {total:g}; it must be finite and positive"
            )
        values = self.solve_mass((weights * exact.reshape(weights.shape)) @ self.basis)
        if self.comm.allreduce(self.limiter(values)):
            raise InitialDensityError("it is negative on a cell")
        values /= self.mass(values)
        return values, float(np.ldexp(total, exponent))

    def mass(self, values: Array) -> float:
        """Integral of a density. Collective."""
        return float(self.comm.allreduce(float((self.integrals * values).sum())))

    def integral(self, values: Array) -> float:
        """Integral of a function given at ``points``, ``shape=(cells, q)``. Collective."""
        return float(self.comm.allreduce(float((self.quadrature.weights * values).sum())))

    def measure(self, values: Array) -> Array:
        """Weights of a density as a measure on ``points``, ``shape=(cells q,)``."""
        return (self.quadrature.weights * (values @ self.basis.T)).ravel()

    def gradients(self, values: Array) -> Array:
        """The gradient of a density inside its cells, at ``points``, ``shape=(cells, q, d)``."""
        element, rule = self.space.element.basix_element, self.quadrature
        slopes = element.tabulate(1, rule.reference)[1:, :, :, 0]
        local = np.einsum("tqn,cn->cqt", slopes, values)
        return np.einsum("cqdt,cqt->cqd", rule.dual_tangents(), local)

    def weak_gradients(self, values: Array) -> Array:
        """The gradient of a density with its jumps lifted into the cells (see ``lifting``).

        At ``points``, ``shape=(cells, q, d)``. Collective.
        """
        moments = self._lifting(values)
        lifted = [self.solve_mass(each) @ self.basis.T for each in np.moveaxis(moments, 2, 0)]
        return self.gradients(values) - np.stack(lifted, axis=2)

    @cached_property
    def _lifting(self) -> Moments:
        """Compiled when asked for. Collective."""
        return lifting(self.space, self.degree, self.dS)

    def solve_mass(self, moments: Array) -> Array:
        """The function whose moments int rho phi_i are given, ``shape=(cells, n)``."""
        values = np.empty(moments.shape)
        _solve_cells(self._inverses, np.require(moments, requirements=("C", "W")), values)
        return values

    def heights(self) -> Array:
        """|K| / max |F| of each cell K and its facets F, ``shape=(cells,)``."""
        corners, volumes = vertices(self.domain), self.quadrature.weights.sum(axis=1)
        facets = [np.delete(corners, k, axis=1) for k in range(corners.shape[1])]
        heights: Array = volumes / np.max([_measures(facet) for facet in facets], axis=0)
        return heights


def _measures(simplices: Array) -> Array:
    """Lengths or areas of flat simplices, ``shape=(cells, k, d)``; 1 for points."""
    edges = simplices[:, 1:] - simplices[:, :1]
    gram = np.einsum("cik,cjk->cij", edges, edges)
    measures: Array = np.sqrt(np.linalg.det(gram)) / factorial(edges.shape[1])
    return measures


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
