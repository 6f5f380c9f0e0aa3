"""The icosphere: a curved triangulation of S^2 by repeated quadrisection of the icosahedron."""

from __future__ import annotations

from itertools import combinations

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
from dolfinx import mesh

from meanformer.arrays import Array, Indices
from meanformer.meshes import simplices
from meanformer.meshes.arguments import (
    check_choice,
    check_integer,
    check_perturbation,
    rotation_matrix,
)
from meanformer.meshes.partition import distribute
from meanformer.meshes.perturbation import random_shift


def icosphere(
    comm: MPI.Comm,
    *,
    level: int,
    geometry_degree: int = 2,
    rotation: npt.ArrayLike | None = None,
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
    check_integer("icosphere", "level", level, 0)
    check_choice("icosphere", "geometry_degree", geometry_degree, (1, 2, 3))
    check_perturbation("icosphere", perturbation, seed)
    matrix = rotation_matrix("icosphere", rotation, 3)

    def build() -> tuple[Array, Indices]:
        vertices, triangles = _subdivided_icosahedron(level)
        if perturbation:
            vertices = _on_sphere(vertices + random_shift(vertices, triangles, perturbation, seed))
        nodes, cells, _ = simplices.place_nodes(vertices, triangles, geometry_degree)
        return _on_sphere(nodes) @ matrix.T, cells

    return distribute(comm, tdim=2, gdim=3, degree=geometry_degree, build=build)


def icosahedron() -> tuple[Array, Indices]:
    """Vertices of the icosahedron on the unit sphere, ``shape=(12, 3)``, and its 20 triangles."""
    golden = (1 + np.sqrt(5)) / 2
    corners = [[0.0, a, b] for a in (-1, 1) for b in (-golden, golden)]
    vertices = np.concatenate([np.roll(corners, -k, axis=1) for k in range(3)])
    # The faces are the triples of vertices at the edge length, 2, from each other.
    distance = np.linalg.norm(vertices[:, None] - vertices[None], axis=-1)
    near = np.abs(distance - 2) < 1e-9
    faces = [
        face
        for face in combinations(range(12), 3)
        if all(near[pair] for pair in combinations(face, 2))
    ]
    return _on_sphere(vertices), np.array(faces, dtype=np.int64)


def _subdivided_icosahedron(level: int) -> tuple[Array, Indices]:
    vertices, triangles = icosahedron()
    for _ in range(level):
        edges, edge_of = simplices.edges(triangles)
        middles = _on_sphere(vertices[edges].sum(axis=1))
        (a, b, c), (bc, ac, ab) = triangles.T, (edge_of + len(vertices)).T
        children = [(a, ab, ac), (ab, b, bc), (ac, bc, c), (ab, bc, ac)]
        # Children follow each other: cells with near numbers are near on the sphere.
        triangles = np.stack([np.stack(t, axis=1) for t in children], axis=1).reshape(-1, 3)
        vertices = np.concatenate([vertices, middles])
    return vertices, triangles


def _on_sphere(x: Array) -> Array:
    return x / np.linalg.norm(x, axis=1)[:, None]
