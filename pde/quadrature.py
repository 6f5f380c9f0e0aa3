"""Quadrature on curved simplices, and the cell matrices of discontinuous Lagrange elements."""

from __future__ import annotations

import basix
import numpy as np
from dolfinx import fem, mesh

from meanformer.arrays import Array
from meanformer.meshes import compat


class CellQuadrature:
    """A quadrature rule on this rank's cells.

    Args:
        domain: A mesh of simplices of dimension t in R^d.
        degree: Polynomial degree for which the rule is exact on the reference cell.

    Attributes:
        reference: Points in the reference cell, ``shape=(q, t)``.
        points: Points in space, ``shape=(cells, q, d)``.
        weights: Weights times the volume element, ``shape=(cells, q)``.
    """

    def __init__(self, domain: mesh.Mesh, degree: int) -> None:
        self.reference, reference_weights = basix.make_quadrature(domain.basix_cell(), degree)
        self._nodes = geometry_nodes(domain)
        scalar = domain.ufl_domain().ufl_coordinate_element().basix_element
        shape, *slopes = scalar.tabulate(1, self.reference)[:, :, :, 0]
        self._slopes = np.stack(slopes)
        self.points: Array = np.einsum("qn,cnk->cqk", shape, self._nodes)
        tangents = self._tangents()
        # A surface has fewer tangents than coordinates: the root of Gram's determinant.
        gram = np.einsum("cqki,cqkj->cqij", tangents, tangents)
        self.weights: Array = np.sqrt(np.linalg.det(gram)) * reference_weights

    def dual_tangents(self) -> Array:
        """What makes gradients of reference slopes: T (T^T T)^{-1}, ``shape=(cells, q, d, t)``."""
        tangents = self._tangents()
        gram = np.einsum("cqki,cqkj->cqij", tangents, tangents)
        return np.einsum("cqki,cqij->cqkj", tangents, np.linalg.inv(gram))

    def _tangents(self) -> Array:
        """T, the derivatives of points by reference coordinates, ``shape=(cells, q, d, t)``."""
        return np.einsum("tqn,cnk->cqkt", self._slopes, self._nodes)


def geometry_nodes(domain: mesh.Mesh) -> Array:
    """Geometry nodes of this rank's cells, ``shape=(cells, n, d)``."""
    cells = domain.topology.index_map(domain.topology.dim).size_local
    return domain.geometry.x[compat.geometry_dofmap(domain)[:cells], : domain.geometry.dim]


def vertices(domain: mesh.Mesh) -> Array:
    """The corners of this rank's cells, ``shape=(cells, t + 1, d)``."""
    return geometry_nodes(domain)[:, : domain.topology.dim + 1]


def facet_points(cell: basix.CellType, degree: int) -> Array:
    """Points of a rule on all facets of a reference simplex, ``shape=(q, t)``."""
    corners, topology = basix.geometry(cell), basix.topology(cell)
    facets = corners[topology[len(topology) - 2]]
    if facets.shape[1] == 1:  # the ends of an interval
        return facets[:, 0]
    kind = basix.CellType.interval if facets.shape[1] == 2 else basix.CellType.triangle
    local, _ = basix.make_quadrature(kind, degree)
    barycentric = np.column_stack([1 - local.sum(axis=1), local])
    return np.einsum("qi,fik->fqk", barycentric, facets).reshape(-1, corners.shape[1])


def tabulate(space: fem.FunctionSpace, reference: Array) -> Array:
    """Basis functions of a scalar space at reference points, ``shape=(q, dofs per cell)``."""
    return space.element.basix_element.tabulate(0, reference)[0, :, :, 0]


def mass_matrices(basis: Array, weights: Array) -> Array:
    """Cell mass matrices int phi_i phi_j, ``shape=(cells, n, n)``.

    Args:
        basis: Basis functions at the quadrature points, ``shape=(q, n)``.
        weights: Physical weights, ``shape=(cells, q)``.
    """
    pairs = (basis[:, :, None] * basis[:, None, :]).reshape(len(basis), -1)
    return (weights @ pairs).reshape(-1, basis.shape[1], basis.shape[1])
