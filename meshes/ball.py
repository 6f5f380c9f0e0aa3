"""The disk and the ball, in simplices with a curved boundary."""

from __future__ import annotations

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
from dolfinx import mesh

from meanformer.arrays import Array, Indices
from meanformer.meshes import kuhn, simplices
from meanformer.meshes.arguments import (
    check_choice,
    check_integer,
    check_perturbation,
    positive_numbers,
    rotation_matrix,
)
from meanformer.meshes.partition import distribute
from meanformer.meshes.perturbation import perturb
from meanformer.meshes.sphere import icosahedron


def ball(
    comm: MPI.Comm,
    *,
    radius: float,
    cells: int,
    dimension: int,
    geometry_degree: int = 2,
    rotation: npt.ArrayLike | None = None,
    perturbation: float = 0.0,
    seed: int = 0,
) -> mesh.Mesh:
    """Divide a disk into 6 n^2 triangles, or a ball into 20 n^3 tetrahedra.

    The hexagon, in triangles about the origin, and the icosahedron, in tetrahedra, are divided
    evenly and mapped on the ball along rays, so that cells are of like size and shape for all n.
    The geometry nodes of facets on the boundary lie on the sphere; inside, edges are straight.
    Cells keep the numbers they have here, one sixth (twentieth) of the ball after the other, as
    ``mesh.topology.original_cell_index``, whatever the number of ranks. Collective over ``comm``.

    Args:
        comm: The ranks that share the mesh.
        radius: Radius of the ball, about the origin.
        cells: Number n of cells along a radius, at least 1.
        dimension: Dimension of the ball and of the space, 2 or 3.
        geometry_degree: Polynomial degree of the cells' geometry, 1 or 2.
        rotation: Orthogonal matrix applied to all nodes, ``shape=(dimension, dimension)``, or None.
        perturbation: Vertices are moved at random by up to this share of the mean edge, in
            [0, 0.3]; less where a cell's Jacobian would lose more than 70%. Those on the
            boundary stay on it.
        seed: Seed of the perturbation.

    Returns:
        A mesh of topological dimension 2 or 3 in R^2 or R^3, with cells ghosted across shared
        facets.

    Raises:
        ValueError: If an argument is out of its range.
    """
    check_choice("ball", "dimension", dimension, (2, 3))
    (size,) = positive_numbers("ball", "radius", radius, 1)
    check_integer("ball", "cells", cells, 1)
    check_choice("ball", "geometry_degree", geometry_degree, (1, 2))
    check_perturbation("ball", perturbation, seed)
    matrix = rotation_matrix("ball", rotation, dimension)

    def build() -> tuple[Array, Indices]:
        vertices, corners, outer = _divided_ball(cells, dimension)
        if perturbation:
            vertices = _perturb(vertices, corners, outer, geometry_degree, perturbation, seed)
        nodes, numbers = _curve(vertices, corners, outer, geometry_degree)
        return size * nodes @ matrix.T, numbers

    return distribute(comm, dimension, dimension, geometry_degree, build)


def _divided_ball(cells: int, dimension: int) -> tuple[Array, Indices, npt.NDArray[np.bool_]]:
    """Vertices and simplices of the unit ball, and whether each vertex is on the boundary.

    A vertex is n - r times the origin plus weights of sum r for the corners of one facet. It goes
    to the distance r/n, in the direction in which the weights divide the facet's angle: on an edge
    evenly, as x = (sin(w_1 t / r) v_1 + sin(w_2 t / r) v_2) / sin t between unit vectors at angle
    t, and inside of a triangle as the same sum of three, made a unit vector.
    """
    if dimension == 2:
        angles = np.pi / 3 * np.arange(6)
        corners = np.column_stack([np.cos(angles), np.sin(angles)])
        facets = np.column_stack([np.arange(6), np.arange(1, 7) % 6])
    else:
        corners, facets = icosahedron()
    angle = np.arccos(corners[facets[0, 0]] @ corners[facets[0, 1]])

    # The large simplex n >= x_1 >= ... >= x_d >= 0 has its first corner in the origin.
    small = kuhn.simplex(cells, dimension)
    of_facet = -np.diff(small, axis=2, append=0)  # shape=(cells, corners, d)
    weights = np.zeros((len(facets), *small.shape[:2], len(corners)), dtype=np.int64)
    for sector, facet in zip(weights, facets, strict=True):
        sector[..., facet] = of_facet
    weights, _, numbers = simplices.unique_rows(weights.reshape(-1, len(corners)))

    r = weights.sum(axis=1, keepdims=True)
    direction = np.sin(angle * weights / np.maximum(r, 1)) @ corners
    direction /= np.where(r == 0, 1, np.linalg.norm(direction, axis=1)[:, None])
    vertices = direction * (r / cells)
    simplex = numbers.reshape(-1, dimension + 1)
    return vertices, simplices.oriented(vertices, simplex), r[:, 0] == cells


def _curve(
    vertices: Array, corners: Indices, outer: npt.NDArray[np.bool_], degree: int
) -> tuple[Array, Indices]:
    """Add the geometry nodes; those between boundary vertices are on the boundary."""
    nodes, numbers, spans = simplices.place_nodes(vertices, corners, degree)
    return _to_sphere(nodes, outer[spans].all(axis=1)), numbers


def _to_sphere(points: Array, which: npt.NDArray[np.bool_]) -> Array:
    """Bring some of the points to the unit sphere, in place."""
    points[which] /= np.linalg.norm(points[which], axis=1)[:, None]
    return points


def _perturb(
    vertices: Array,
    corners: Indices,
    outer: npt.NDArray[np.bool_],
    degree: int,
    share: float,
    seed: int,
) -> Array:
    curved = outer[corners].sum(axis=1) > 1

    def to_sphere(moved: Array) -> Array:
        return _to_sphere(moved, outer)

    def jacobians(moved: Array, corners: Indices) -> Array:
        least = simplices.jacobians(moved, corners)
        if degree > 1:
            nodes, numbers = _curve(moved, corners[curved], outer, degree)
            bounds = simplices.jacobian_bounds(nodes, numbers, degree)
            least[curved] = np.minimum(least[curved], bounds)
        return least

    return perturb(vertices, corners, share, seed, to_sphere, jacobians)
