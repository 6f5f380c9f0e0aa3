"""Boxes in one to three dimensions, in simplices."""

from __future__ import annotations

from collections.abc import Sequence

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


def box(
    comm: MPI.Comm,
    *,
    half_width: float | Sequence[float],
    cells: int,
    dimension: int,
    rotation: npt.ArrayLike | None = None,
    perturbation: float = 0.0,
    seed: int = 0,
) -> mesh.Mesh:
    """Divide the box [-h, h]^d into intervals, triangles or tetrahedra.

    Each of the n^d equal boxes is divided in d! cells. Diagonals of squares have directions that
    no reflection maps onto each other, for n >= 5. Cells keep the numbers they have here, those
    of a small box in sequence, as ``mesh.topology.original_cell_index``, whatever the number of
    ranks. Collective over ``comm``.

    Args:
        comm: The ranks that share the mesh.
        half_width: h, half of the box's width: a number, or one for each direction.
        cells: Number n of small boxes along each side, at least 1.
        dimension: Dimension d of the box and of the space, 1 to 3.
        rotation: Orthogonal matrix applied to all nodes, ``shape=(d, d)``, or None.
        perturbation: Vertices are moved at random by up to this share of the mean edge, in
            [0, 0.3], where lengths are measured in widths of the small boxes; less where a cell
            would lose more than 70% of its volume. On the boundary they move along it.
        seed: Seed of the perturbation.

    Returns:
        A mesh of topological dimension d in R^d of degree 1, with cells ghosted across shared
        facets.

    Raises:
        ValueError: If an argument is out of its range.
    """
    check_choice("box", "dimension", dimension, (1, 2, 3))
    widths = positive_numbers("box", "half_width", half_width, dimension)
    check_integer("box", "cells", cells, 1)
    check_perturbation("box", perturbation, seed)
    matrix = rotation_matrix("box", rotation, dimension)

    def build() -> tuple[Array, Indices]:
        grid, corners = _divided_cubes(cells, dimension)
        boundary = (grid == 0) | (grid == cells)

        def along_boundary(moved: Array) -> Array:
            return np.where(boundary, grid, moved)

        nodes = perturb(grid, corners, perturbation, seed, along_boundary) if perturbation else grid
        return (widths * (2 * nodes / cells - 1)) @ matrix.T, corners

    return distribute(comm, dimension, dimension, 1, build)


def _divided_cubes(cells: int, dimension: int) -> tuple[Array, Indices]:
    """Vertices (0, ..., n)^d, and the cells of all unit cubes between them."""
    origins = kuhn.lattice(cells, dimension)
    corners = np.repeat(kuhn.cube(dimension)[None], len(origins), axis=0)
    if dimension == 2:
        turned = (origins[:, 0] + 2 * origins[:, 1]) % 5 < 2
        corners[turned, ..., 0] = 1 - corners[turned, ..., 0]
    corners = (corners + origins[:, None, None]).reshape(-1, dimension + 1, dimension)
    numbers = corners @ (cells + 1) ** np.arange(dimension)[::-1]
    vertices = kuhn.lattice(cells + 1, dimension).astype(float)
    return vertices, simplices.oriented(vertices, numbers)
