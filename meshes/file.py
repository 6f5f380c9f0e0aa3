"""Meshes from files of gmsh."""

from __future__ import annotations

from pathlib import Path

from mpi4py import MPI

import numpy as np
from dolfinx import mesh
from dolfinx.cpp.io import perm_gmsh
from dolfinx.mesh import CellType

from meanformer.meshes import simplices
from meanformer.meshes.arrays import Array, Indices
from meanformer.meshes.msh import Elements, ElementType, read_msh

ROUND_OFF = 1e-12  # what counts as zero, relative to the size of the mesh or cell
_CELL_TYPES = {1: CellType.interval, 2: CellType.triangle, 3: CellType.tetrahedron}


def read_mesh(path: str | Path, comm: MPI.Comm) -> mesh.Mesh:
    """Read a mesh of simplices of degree 1 or 2 from an MSH file of gmsh.

    The mesh consists of the file's elements of the highest dimension; others, such as those of
    its boundary, are left out. It is a curve, a surface or a volume in R^1 to R^3. gmsh stores
    all points in R^3: z is left out if it is zero everywhere, and then y if that is, too. Cells
    keep the order of the file, as ``mesh.topology.original_cell_index``, whatever the number of
    ranks. Rank 0 reads. Collective over ``comm``.

    Args:
        path: A file of MSH version 4.1 or 2.2, in text or in binary.
        comm: The ranks that share the mesh.

    Returns:
        A mesh with cells ghosted across shared facets.

    Raises:
        ValueError: On every rank, if the file cannot be read, or if its cells are of several
            types, no simplices, of a degree above 2, degenerate, doubled, or more than two at a
            facet.
    """
    problem, sizes = "", (0, 0, 0)
    nodes: Array
    cells: Indices
    if comm.rank == 0:
        try:
            kind, points, numbers = _one_type(*read_msh(path))
            _check_cells(points, numbers[:, : kind.dimension + 1])
            nodes = _without_zeros(points, kind.dimension)
            permutation = perm_gmsh(_CELL_TYPES[kind.dimension], kind.nodes)
            cells = numbers[:, permutation]
            sizes = (kind.dimension, nodes.shape[1], kind.degree)
        except Exception as error:  # of any kind: the other ranks wait for it
            reason = error.strerror if isinstance(error, OSError) else error
            problem = f"{path}: {reason or type(error).__name__}"
    problem, sizes = comm.bcast((problem, sizes))
    if problem:
        raise ValueError(problem)
    tdim, gdim, degree = sizes
    return simplices.distribute(comm, tdim, gdim, degree, lambda: (nodes, cells))


def _one_type(points: Array, blocks: list[Elements]) -> tuple[ElementType, Array, Indices]:
    """The elements of the highest dimension, if they are of one type, and the points in use."""
    dimension = max((block.kind.dimension for block in blocks if len(block.nodes)), default=0)
    cells = [block for block in blocks if block.kind.dimension == dimension and len(block.nodes)]
    if dimension == 0:
        raise ValueError("it has no cells")
    kinds = list(dict.fromkeys(block.kind for block in cells))
    names = ", ".join(f"{kind.shape} of degree {kind.degree}" for kind in kinds)
    if len(kinds) > 1:
        raise ValueError(f"its cells are of several types: {names}; allowed: one")
    kind = kinds[0]
    if kind.shape != simplices.NAMES[dimension] or kind.degree > 2:
        allowed = ", ".join(simplices.NAMES.values())
        raise ValueError(f"its cells are of type {names}; allowed: {allowed} of degree 1 or 2")
    used, numbers = np.unique(
        np.concatenate([block.nodes for block in cells]).ravel(), return_inverse=True
    )
    if not np.isfinite(points[used]).all():
        raise ValueError("a node is not finite")
    return kind, points[used], numbers.reshape(-1, kind.nodes).astype(np.int64)


def _without_zeros(points: Array, least: int) -> Array:
    """Points without their last coordinates where these are zero, but at least so many."""
    zero = np.abs(points).max(axis=0) <= ROUND_OFF * np.ptp(points, axis=0).max()
    gdim = 3
    while gdim > least and zero[gdim - 1]:
        gdim -= 1
    return points[:, :gdim]


def _check_cells(points: Array, vertices: Indices) -> None:
    """Refuse straight cells without volume, cells that are there twice, branching meshes."""
    corners = points[vertices]
    size = np.ptp(corners, axis=1).max(axis=1)
    volume = np.abs(simplices.jacobians(points, vertices))
    flat = volume <= ROUND_OFF * size ** (vertices.shape[1] - 1)
    if flat.any():
        raise ValueError(f"cell {np.flatnonzero(flat)[0]} (from 0) has no volume")
    ordered = np.sort(vertices, axis=1)
    _, first, count = np.unique(ordered, axis=0, return_index=True, return_counts=True)
    if (count > 1).any():
        raise ValueError(
            f"cell {first[count > 1].min()} (from 0) is there more than once; "
            "MSH 2.2 repeats cells of several groups or partitions, 4.1 does not"
        )
    facets = np.concatenate([np.delete(ordered, k, axis=1) for k in range(ordered.shape[1])])
    _, sharing = np.unique(facets, axis=0, return_counts=True)
    if sharing.max() > 2:
        raise ValueError(f"{sharing.max()} cells share a facet; allowed: 2")
