"""Simplices of any dimension: edges, geometry nodes, Jacobians, and the way to DOLFINx."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import factorial

from mpi4py import MPI

import basix
import basix.ufl
import numpy as np
import ufl
from dolfinx import mesh

from meanformer.arrays import Array, Indices
from meanformer.meshes import compat
from meanformer.meshes.partition import bisect, with_ghosts

NAMES = {1: "interval", 2: "triangle", 3: "tetrahedron"}
_CELLS = {
    1: basix.CellType.interval,
    2: basix.CellType.triangle,
    3: basix.CellType.tetrahedron,
}


def distribute(
    comm: MPI.Comm,
    tdim: int,
    gdim: int,
    degree: int,
    build: Callable[[], tuple[Array, Indices]],
) -> mesh.Mesh:
    """Build nodes and cells on rank 0 and share them out, ghosted across shared facets.

    Collective over ``comm``.

    Args:
        comm: The ranks that share the mesh.
        tdim: Dimension of the simplices, 1 to 3.
        gdim: Dimension of the space they lie in.
        degree: Polynomial degree of their geometry.
        build: Returns the nodes, ``shape=(nodes, gdim)``, and those of each cell in the order of
            basix, ``shape=(cells, nodes per cell)``. Called on rank 0; it must not raise.
    """
    coordinates = basix.ufl.element("Lagrange", NAMES[tdim], degree, shape=(gdim,))
    if comm.rank == 0:
        nodes, cells = build()
        corners = cells[:, : tdim + 1]
        owners = bisect(nodes[corners].mean(axis=1), comm.size)
        receivers, starts = with_ghosts(corners, owners)
    else:
        per_cell = len(lagrange(tdim, degree).points)
        nodes, cells = np.empty((0, gdim)), np.empty((0, per_cell), dtype=np.int64)
        receivers, starts = np.empty(0, dtype=np.int64), np.zeros(1, dtype=np.int64)
    return compat.create_mesh(comm, cells, nodes, ufl.Mesh(coordinates), receivers, starts)


def edges(cells: Indices) -> tuple[Indices, Indices]:
    """Edges of simplices, each once.

    Args:
        cells: Vertices of each cell, ``shape=(cells, tdim + 1)``.

    Returns:
        The edges as sorted pairs of vertices, ``shape=(edges, 2)``, and the edges of each cell in
        the order of basix, ``shape=(cells, edges per cell)``.
    """
    pairs = np.sort(cells[:, _local_edges(cells.shape[1] - 1)], axis=2)
    count = pairs.max() + 1
    keys, inverse = np.unique(pairs[..., 0] * count + pairs[..., 1], return_inverse=True)
    return np.column_stack(np.divmod(keys, count)), inverse.reshape(pairs.shape[:2])


def facets(cells: Indices, tdim: int, degree: int) -> Indices:
    """Nodes of the facets of each cell, vertices first, ``shape=(cells, tdim + 1, n)``.

    Args:
        cells: Nodes of each cell in the order of basix.
        tdim: Dimension of the simplices.
        degree: Polynomial degree of their geometry.
    """
    return cells[:, np.array(lagrange(tdim, degree).entity_closure_dofs[tdim - 1])]


def place_nodes(vertices: Array, cells: Indices, degree: int) -> tuple[Array, Indices]:
    """Add the geometry nodes of the given degree to straight simplices.

    Nodes are numbered in each cell as basix numbers the points of its Lagrange element: vertices,
    then the interiors of the edges, then the interior.

    Args:
        vertices: ``shape=(vertices, gdim)``.
        cells: Triangles or tetrahedra, ``shape=(cells, tdim + 1)``.
        degree: Polynomial degree: any for triangles, at most 2 for tetrahedra.

    Returns:
        The nodes: vertices, then ``degree - 1`` on each of the ``edges(cells)``, then those inside
        of cells; and the nodes of each cell.
    """
    tdim = cells.shape[1] - 1
    reference = lagrange(tdim, degree).points
    barycentric = np.column_stack([1 - reference.sum(axis=1), reference])
    pairs, edge_of = edges(cells)
    per_edge = degree - 1
    first_inside = tdim + 1 + edge_of.shape[1] * per_edge
    per_cell = len(reference) - first_inside

    # An edge runs from its lower-numbered vertex; the points of basix run from the first of each
    # local pair to the second, which are those of the first edge here.
    on_edge = barycentric[tdim + 1 : tdim + 1 + per_edge][:, _local_edges(tdim)[0]]
    on_edges = np.einsum("ij,ejk->eik", on_edge, vertices[pairs])
    inside = np.einsum("ij,cjk->cik", barycentric[first_inside:], vertices[cells])
    gdim = vertices.shape[1]
    nodes = np.concatenate([vertices, on_edges.reshape(-1, gdim), inside.reshape(-1, gdim)])

    columns = [cells]
    for local, (first, second) in enumerate(_local_edges(tdim)):
        forward = cells[:, first] < cells[:, second]
        steps = np.where(forward[:, None], np.arange(per_edge), np.arange(per_edge)[::-1])
        columns.append(len(vertices) + edge_of[:, [local]] * per_edge + steps)
    start = len(vertices) + len(pairs) * per_edge
    columns.append(start + np.arange(len(cells))[:, None] * per_cell + np.arange(per_cell))
    return nodes, np.concatenate(columns, axis=1)


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


def jacobian_bounds(nodes: Array, cells: Indices, tdim: int, degree: int) -> Array:
    """A lower bound of the Jacobian determinant on each curved simplex, ``shape=(cells,)``.

    The determinant is a polynomial of degree tdim (degree - 1); the least of its coefficients in
    the Bernstein basis bounds it from below everywhere in the cell.

    Args:
        nodes: ``shape=(nodes, tdim)``.
        cells: Nodes of each cell in the order of basix.
        tdim: Dimension of the simplices.
        degree: Polynomial degree of their geometry.
    """
    order = tdim * (degree - 1)
    points = basix.create_lattice(_CELLS[tdim], order, basix.LatticeType.equispaced, True)
    gradients = lagrange(tdim, degree).tabulate(1, points)[1:, :, :, 0]
    determinants = np.linalg.det(np.einsum("dpi,cig->cpgd", gradients, nodes[cells]))
    return (determinants @ np.linalg.inv(_bernstein(points, order)).T).min(axis=1)


def oriented(vertices: Array, cells: Indices) -> Indices:
    """The simplices with their last two vertices exchanged where the Jacobian is negative."""
    negative = jacobians(vertices, cells) < 0
    turned = cells.copy()
    turned[negative, -2:] = cells[negative, :-3:-1]
    return turned


def _bernstein(points: Array, order: int) -> Array:
    """The Bernstein polynomials of an order at points, ``shape=(points, polynomials)``."""
    barycentric = np.column_stack([1 - points.sum(axis=1), points])
    powers = [
        alpha
        for alpha in product(range(order + 1), repeat=barycentric.shape[1])
        if sum(alpha) == order
    ]
    scale = [factorial(order) / np.prod([factorial(k) for k in alpha]) for alpha in powers]
    return np.prod(barycentric[:, None, :] ** np.array(powers), axis=2) * scale


def lagrange(tdim: int, degree: int) -> basix.finite_element.FiniteElement:
    """The element whose points are the geometry nodes of a simplex."""
    return basix.create_element(
        basix.ElementFamily.P, _CELLS[tdim], degree, basix.LagrangeVariant.gll_warped
    )


def _local_edges(tdim: int) -> list[list[int]]:
    return basix.topology(_CELLS[tdim])[1]
