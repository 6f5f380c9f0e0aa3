"""Quadrature on curved cells, and the cell matrices of discontinuous Lagrange elements."""

from __future__ import annotations

import basix
import numpy as np
from dolfinx import fem, mesh

from meanformer.attention.spaces import Array
from meanformer.pde import compat


class CellQuadrature:
    """A quadrature rule on this rank's cells.

    Args:
        domain: A mesh of triangles in R^3.
        degree: Polynomial degree for which the rule is exact on the reference cell.

    Attributes:
        reference: Points in the reference cell, ``shape=(q, 2)``.
        points: Points in space, ``shape=(cells, q, 3)``.
        weights: Weights times the area element, ``shape=(cells, q)``.
    """

    def __init__(self, domain: mesh.Mesh, degree: int) -> None:
        """Tabulate the geometry at the quadrature points."""
        self.reference, reference_weights = basix.make_quadrature(basix.CellType.triangle, degree)
        cells = domain.topology.index_map(domain.topology.dim).size_local
        nodes = domain.geometry.x[compat.geometry_dofmap(domain)[:cells]]
        scalar = domain.ufl_domain().ufl_coordinate_element().basix_element
        shape, slope_0, slope_1 = scalar.tabulate(1, self.reference)[:, :, :, 0]
        self.points: Array = np.einsum("qn,cnk->cqk", shape, nodes)
        tangents = [np.einsum("qn,cnk->cqk", slope, nodes) for slope in (slope_0, slope_1)]
        area = np.linalg.norm(np.cross(*tangents), axis=-1)
        self.weights: Array = area * reference_weights


def tabulate(space: fem.FunctionSpace, reference: Array) -> Array:
    """Basis functions of a scalar space at reference points, ``shape=(q, dofs per cell)``."""
    return space.element.basix_element.tabulate(0, reference)[0, :, :, 0]


def mass_matrices(basis: Array, weights: Array) -> Array:
    """Cell mass matrices int phi_i phi_j.

    Args:
        basis: Basis functions at the quadrature points, ``shape=(q, n)``.
        weights: Physical weights, ``shape=(cells, q)``.

    Returns:
        ``shape=(cells, n, n)``.
    """
    pairs = (basis[:, :, None] * basis[:, None, :]).reshape(len(basis), -1)
    return (weights @ pairs).reshape(-1, basis.shape[1], basis.shape[1])
