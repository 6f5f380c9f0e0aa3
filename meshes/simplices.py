"""Simplices of any dimension: edges, facets, geometry nodes, Jacobians.

Of each cell, nodes are numbered as basix numbers the points of its Lagrange element: vertices
first.
"""

from __future__ import annotations

import basix
import numpy as np

from meanformer.arrays import Array, Indices

NAMES = {1: "interval", 2: "triangle", 3: "tetrahedron"}
_CELLS = {tdim: getattr(basix.CellType, name) for tdim, name in NAMES.items()}


def edges(cells: Indices) -> tuple[Indices, Indices]:
    """Edges of simplices, each once.

    Args:
        cells: Vertices of each cell, ``shape=(cells, tdim + 1)``.

    Returns:
        The edges as sorted pairs of vertices, ``shape=(edges, 2)``, and the edges of each cell in
        the order of basix, ``shape=(cells, edges per cell)``.
    """
    local = basix.topology(_CELLS[cells.shape[1] - 1])[1]
    pairs = np.sort(cells[:, local], axis=2)
    found, _, numbers = unique_rows(pairs.reshape(-1, 2))
    return found, numbers.reshape(pairs.shape[:2])


def facets(cells: Indices, tdim: int, degree: int) -> Indices:
    """Nodes of the facets of each cell, vertices first, ``shape=(cells, tdim + 1, n)``."""
    return cells[:, np.array(lagrange(tdim, degree).entity_closure_dofs[tdim - 1])]


def place_nodes(vertices: Array, cells: Indices, degree: int) -> tuple[Array, Indices, Indices]:
    """Add the geometry nodes of the given degree to straight simplices.

    Args:
        vertices: ``shape=(vertices, gdim)``.
        cells: ``shape=(cells, tdim + 1)``.
        degree: Polynomial degree, 1 to 3.

    Returns:
        The nodes, those of each cell in the order of basix, and the vertices between which each
        node is, ``shape=(nodes, degree)``, the nearer ones more often.
    """
    reference = lagrange(cells.shape[1] - 1, degree).points
    barycentric = np.column_stack([1 - reference.sum(axis=1), reference])
    local = [np.repeat(np.arange(len(b)), np.rint(degree * b).astype(int)) for b in barycentric]
    spans = np.sort(cells[:, local], axis=2).reshape(-1, degree)
    spans, first, numbers = unique_rows(spans)
    cell, place = np.divmod(first, len(reference))
    nodes = np.einsum("ij,ijk->ik", barycentric[place], vertices[cells[cell]])
    return nodes, numbers.reshape(len(cells), -1), spans


def jacobians(vertices: Array, cells: Indices) -> Array:
    """Jacobian determinants of straight simplices: tdim! times their volume.

    Signed where the simplices fill their space, positive on curves and surfaces.
    """
    corners = vertices[cells]
    spans = corners[:, 1:] - corners[:, :1]
    if spans.shape[1] == spans.shape[2]:
        return np.linalg.det(spans)
    gram = np.einsum("cik,cjk->cij", spans, spans)
    return np.sqrt(np.maximum(np.linalg.det(gram), 0))


def jacobian_bounds(nodes: Array, cells: Indices, degree: int) -> Array:
    """A lower bound of the Jacobian determinant on each curved simplex, ``shape=(cells,)``.

    The determinant is a polynomial of degree tdim (degree - 1); the least of its coefficients in
    the Bernstein basis bounds it from below everywhere in the cell.

    Args:
        nodes: ``shape=(nodes, tdim)``.
        cells: Nodes of each cell.
        degree: Polynomial degree of the geometry, at least 2.
    """
    tdim = nodes.shape[1]
    bernstein = _element(tdim, tdim * (degree - 1), basix.LagrangeVariant.bernstein)
    lattice, order = basix.LatticeType.equispaced, bernstein.degree
    points = basix.create_lattice(bernstein.cell_type, order, lattice, True)
    gradients = lagrange(tdim, degree).tabulate(1, points)[1:, :, :, 0]
    determinants = np.linalg.det(np.einsum("dpi,cig->cpgd", gradients, nodes[cells]))
    return (determinants @ np.linalg.inv(bernstein.tabulate(0, points)[0, :, :, 0]).T).min(axis=1)


def oriented(vertices: Array, cells: Indices) -> Indices:
    """The simplices with their last two vertices exchanged where the Jacobian is negative."""
    negative = jacobians(vertices, cells) < 0
    turned = cells.copy()
    turned[negative, -2:] = cells[negative, :-3:-1]
    return turned


def unique_rows(rows: Indices) -> tuple[Indices, Indices, Indices]:
    """``np.unique`` of rows of numbers that are not negative, several times faster.

    Returns:
        The rows in their order, each once; where each is found first; and the number of each of
        ``rows`` among them.
    """
    first = numbers = np.zeros(len(rows), dtype=np.int64)
    for column in rows.T:
        pairs = numbers * (column.max() + 1) + column
        _, first, numbers = np.unique(pairs, return_index=True, return_inverse=True)
    return rows[first], first, numbers


def lagrange(tdim: int, degree: int) -> basix.finite_element.FiniteElement:
    """The element whose points are the geometry nodes of a simplex."""
    return _element(tdim, degree, basix.LagrangeVariant.gll_warped)


def _element(
    tdim: int, degree: int, variant: basix.LagrangeVariant
) -> basix.finite_element.FiniteElement:
    return basix.create_element(basix.ElementFamily.P, _CELLS[tdim], degree, variant)
