"""The icosphere: a curved triangulation of S^2 by repeated quadrisection of the icosahedron."""

from __future__ import annotations

from mpi4py import MPI

import basix
import basix.ufl
import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import mesh

from meanformer.pde import compat

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


def icosphere(
    comm: MPI.Comm,
    level: int,
    geometry_degree: int = 2,
    rotation: Array | None = None,
    perturbation: float = 0.0,
    seed: int = 0,
) -> mesh.Mesh:
    """Triangulate the unit sphere by 20 * 4^level curved triangles.

    Every geometry node lies on the sphere. Cells keep the numbers they have here, the four children
    of a cell in sequence, as ``mesh.topology.original_cell_index``, whatever the number of ranks.
    Collective over ``comm``.

    Args:
        comm: The ranks that share the mesh.
        level: Number of quadrisections, at least 0.
        geometry_degree: Polynomial degree of the cells' geometry, 1 to 3.
        rotation: Orthogonal matrix applied to all nodes, ``shape=(3, 3)``, or None.
        perturbation: Vertices are moved at random by up to this share of the mean edge, in
            [0, 0.3]. Use it to break the symmetry that flatters convergence studies.
        seed: Seed of the perturbation.

    Returns:
        A mesh of topological dimension 2 in R^3, with cells ghosted across shared facets.

    Raises:
        ValueError: If an argument is out of its range.
    """
    if level < 0:
        raise ValueError(f"icosphere: level is {level}; it must be at least 0")
    if geometry_degree not in (1, 2, 3):
        raise ValueError(f"icosphere: geometry_degree is {geometry_degree}; allowed: 1, 2, 3")
    if not 0 <= perturbation <= 0.3:
        raise ValueError(f"icosphere: perturbation is {perturbation}; it must be in [0, 0.3]")
    if rotation is not None:
        matrix = np.asarray(rotation, dtype=float)
        if matrix.shape != (3, 3) or not np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-14):
            raise ValueError("icosphere: rotation must be an orthogonal (3, 3) matrix")

    element = basix.ufl.element("Lagrange", "triangle", geometry_degree, shape=(3,))
    nodes_per_cell = (geometry_degree + 1) * (geometry_degree + 2) // 2
    if comm.rank == 0:
        vertices, triangles = _subdivided_icosahedron(level)
        if perturbation:
            vertices = _perturb(vertices, triangles, perturbation, seed)
        nodes, cells = _curve(vertices, triangles, geometry_degree)
        if rotation is not None:
            nodes = nodes @ np.asarray(rotation).T
    else:
        nodes, cells = np.empty((0, 3)), np.empty((0, nodes_per_cell), dtype=np.int64)
    return compat.create_mesh(comm, cells, nodes, ufl.Mesh(element))


def _subdivided_icosahedron(level: int) -> tuple[Array, Indices]:
    golden = (1 + np.sqrt(5)) / 2
    short, long = [-1.0, 1.0], [-golden, golden]
    vertices = np.array(
        [[0, a, b] for a in short for b in long]
        + [[a, b, 0] for a in short for b in long]
        + [[b, 0, a] for a in short for b in long]
    )
    # The faces are the triples of vertices at the edge length, 2, from each other.
    distance = np.linalg.norm(vertices[:, None] - vertices[None], axis=-1)
    near = np.abs(distance - 2) < 1e-9
    triangles = np.array(
        [
            (i, j, k)
            for i in range(12)
            for j in range(i + 1, 12)
            for k in range(j + 1, 12)
            if near[i, j] and near[j, k] and near[i, k]
        ],
        dtype=np.int64,
    )
    vertices /= np.linalg.norm(vertices, axis=1)[:, None]
    for _ in range(level):
        edges, edge_of = _edges(triangles)
        middles = vertices[edges].sum(axis=1)
        middles /= np.linalg.norm(middles, axis=1)[:, None]
        (a, b, c), (bc, ac, ab) = triangles.T, (edge_of + len(vertices)).T
        children = [(a, ab, ac), (ab, b, bc), (ac, bc, c), (ab, bc, ac)]
        # Children follow each other: cells with near numbers are near on the sphere.
        triangles = np.stack([np.stack(t, axis=1) for t in children], axis=1).reshape(-1, 3)
        vertices = np.concatenate([vertices, middles])
    return vertices, triangles


def _edges(triangles: Indices) -> tuple[Indices, Indices]:
    """Edges as sorted vertex pairs, and each triangle's edges opposite to its vertices 0, 1, 2."""
    pairs = np.sort(triangles[:, [[1, 2], [0, 2], [0, 1]]], axis=2)
    edges, inverse = np.unique(pairs.reshape(-1, 2), axis=0, return_inverse=True)
    return edges, inverse.reshape(-1, 3)


def _perturb(vertices: Array, triangles: Indices, share: float, seed: int) -> Array:
    edges, _ = _edges(triangles)
    length = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1).mean()
    shift = np.random.default_rng(seed).uniform(-1, 1, size=vertices.shape)
    shift *= share * length / np.maximum(1, np.linalg.norm(shift, axis=1))[:, None]
    moved = vertices + shift
    return moved / np.linalg.norm(moved, axis=1)[:, None]


def _curve(vertices: Array, triangles: Indices, degree: int) -> tuple[Array, Indices]:
    """Add the geometry nodes of the given degree, projected on the sphere.

    Nodes are numbered in each cell as basix numbers the points of its Lagrange element: vertices,
    then the interiors of the edges (1,2), (0,2), (0,1), then the interior.
    """
    element = basix.create_element(
        basix.ElementFamily.P,
        basix.CellType.triangle,
        degree,
        basix.LagrangeVariant.gll_warped,
    )
    edges, edge_of = _edges(triangles)
    per_edge, per_cell = degree - 1, (degree - 1) * (degree - 2) // 2
    reference = element.points
    barycentric = np.column_stack([1 - reference.sum(axis=1), reference])

    # An edge runs from its lower-numbered vertex; the points on (1,2), (0,2), (0,1) run from the
    # first of each pair.
    along = barycentric[3 : 3 + per_edge][:, [1, 2]]
    on_edges = np.einsum("ij,ejk->eik", along, vertices[edges]).reshape(-1, 3)
    inside = np.einsum("ij,cjk->cik", barycentric[3 + 3 * per_edge :], vertices[triangles])
    nodes = np.concatenate([vertices, on_edges, inside.reshape(-1, 3)])
    nodes /= np.linalg.norm(nodes, axis=1)[:, None]

    columns = [triangles]
    for local, (first, second) in enumerate(((1, 2), (0, 2), (0, 1))):
        forward = triangles[:, first] < triangles[:, second]
        steps = np.where(forward[:, None], np.arange(per_edge), np.arange(per_edge)[::-1])
        columns.append(len(vertices) + edge_of[:, [local]] * per_edge + steps)
    first_inside = len(vertices) + len(edges) * per_edge
    columns.append(
        first_inside + np.arange(len(triangles))[:, None] * per_cell + np.arange(per_cell)
    )
    return nodes, np.concatenate(columns, axis=1)
