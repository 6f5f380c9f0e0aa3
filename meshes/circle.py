"""The circle: a closed chain of curved intervals."""

from __future__ import annotations

from mpi4py import MPI

import numpy as np
from dolfinx import mesh

from meanformer.arrays import Array, Indices
from meanformer.meshes.arguments import check_choice, check_integer, check_perturbation
from meanformer.meshes.partition import distribute
from meanformer.meshes.simplices import lagrange


def circle(
    comm: MPI.Comm,
    *,
    cells: int,
    geometry_degree: int = 2,
    rotation: float = 0.0,
    perturbation: float = 0.0,
    seed: int = 0,
) -> mesh.Mesh:
    """Divide the unit circle into curved intervals.

    Every geometry node lies on the circle. Cells keep the numbers they have here, counted
    counterclockwise, as ``mesh.topology.original_cell_index``, whatever the number of ranks.
    Collective over ``comm``.

    Args:
        comm: The ranks that share the mesh.
        cells: Number of cells, at least 3.
        geometry_degree: Polynomial degree of the cells' geometry, 1 to 3.
        rotation: Angle of the first vertex, in radians.
        perturbation: Vertices are moved at random, along the circle, by up to this share of an
            edge, in [0, 0.3].
        seed: Seed of the perturbation.

    Returns:
        A mesh of topological dimension 1 in R^2, with cells ghosted across shared vertices.

    Raises:
        ValueError: If an argument is out of its range.
    """
    check_integer("circle", "cells", cells, 3)
    check_choice("circle", "geometry_degree", geometry_degree, (1, 2, 3))
    check_perturbation("circle", perturbation, seed)
    if not np.isfinite(rotation):
        raise ValueError(f"circle: rotation is {rotation}; it must be a finite angle")

    def build() -> tuple[Array, Indices]:
        angles = 2 * np.pi / cells * np.arange(cells + 1)
        # A turn by this angle moves a vertex by that share of an edge.
        largest = 2 * np.arcsin(perturbation * np.sin(np.pi / cells))
        shift = largest * np.random.default_rng(seed).uniform(-1, 1, size=cells)
        angles += rotation + np.append(shift, shift[0])
        # Nodes divide the angle of their cell as they divide the reference interval.
        first, last = angles[:-1, None], angles[1:, None]
        points = lagrange(1, geometry_degree).points[2:, 0]
        inside = first + points * (last - first)
        angles = np.concatenate([angles[:-1], inside.ravel()])
        vertex = np.arange(cells)
        between = cells + np.arange(inside.size).reshape(inside.shape)
        return (
            np.column_stack([np.cos(angles), np.sin(angles)]),
            np.column_stack([vertex, (vertex + 1) % cells, between]),
        )

    return distribute(comm, tdim=1, gdim=2, degree=geometry_degree, build=build)
