"""Meshes from files of gmsh."""

from __future__ import annotations

import warnings
from pathlib import Path

from mpi4py import MPI

import numpy as np
from dolfinx import mesh
from dolfinx.cpp.io import perm_gmsh

from meanformer.arrays import Array, Indices
from meanformer.meshes import simplices
from meanformer.meshes.files.msh import Elements, ElementType, read_msh
from meanformer.meshes.files.seams import Seam, SeamWarning, find_seam
from meanformer.meshes.partition import distribute

_ROUND_OFF = 1e-12  # what counts as zero, relative to the size of the mesh or cell


def read_mesh(path: str | Path, comm: MPI.Comm) -> mesh.Mesh:
    """Read a mesh of simplices of degree 1 or 2 from an MSH file of gmsh.

    The mesh consists of the file's elements of the highest dimension; others, such as those of
    its boundary, are left out. It is a curve, a surface or a volume in R^1 to R^3. gmsh stores
    all points in R^3: z is left out of a planar mesh, whose nodes have the same z, and of a curve
    at z = 0; y and z are left out of a line along x. Cells that the file repeats, as MSH 2.2 does
    for each group, are taken once. Cells keep the order of the file, as
    ``mesh.topology.original_cell_index``, whatever the number of ranks. Rank 0 reads, and warns
    (``SeamWarning``) of nodes on the boundary that coincide but are not joined. Collective over
    ``comm``.

    Args:
        path: A file of MSH version 4.1 or 2.2, in text or in binary.
        comm: The ranks that share the mesh.

    Returns:
        A mesh with cells ghosted across shared facets.

    Raises:
        ValueError: On every rank, if the file cannot be read, or if its cells are of several
            types, no simplices, of a degree above 2, degenerate, more than two at a facet, or
            differ in the nodes between the same vertices.
        SeamWarning: On every rank, if rank 0 makes errors of warnings.
    """
    domain, seam = read_mesh_and_seam(path, comm)
    raised = None
    if seam is not None and comm.rank == 0:
        try:
            warnings.warn(f"{path}: {seam.warning()}", SeamWarning, stacklevel=2)
        except SeamWarning as warning:
            raised = warning
    raised = comm.bcast(raised)
    if raised is not None:
        raise raised
    return domain


def read_mesh_and_seam(path: str | Path, comm: MPI.Comm) -> tuple[mesh.Mesh, Seam | None]:
    """What ``read_mesh`` returns, and what it warns of. Collective over ``comm``.

    Raises:
        ValueError: As ``read_mesh`` does.
    """
    problem, sizes, seam = "", (0, 0, 0), None
    nodes: Array
    cells: Indices
    if comm.rank == 0:
        try:
            kind, points, numbers = _one_type(*read_msh(path))
            cells = numbers[:, perm_gmsh(mesh.to_type(kind.shape), kind.nodes)]
            _check_volumes(points, cells[:, : kind.dimension + 1])
            cells = _without_repetitions(cells, kind)
            nodes = _in_their_space(points, kind.dimension)
            seam = find_seam(nodes, *_boundary(points, cells, kind))
            sizes = (kind.dimension, nodes.shape[1], kind.degree)
        except Exception as error:  # of any kind: the other ranks wait for it
            reason = error.strerror if isinstance(error, OSError) else error
            problem = f"{path}: {reason or type(error).__name__}"
    problem, sizes, seam = comm.bcast((problem, sizes, seam))
    if problem:
        raise ValueError(problem)
    tdim, gdim, degree = sizes
    return distribute(comm, tdim, gdim, degree, lambda: (nodes, cells)), seam


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


def _in_their_space(points: Array, dimension: int) -> Array:
    """Nodes without the coordinates that are the same in all, where the mesh is flat.

    A curve that is none keeps z, unless it is zero: a circle of latitude is no plane curve.
    """
    extents = np.ptp(points, axis=0)
    round_off = _ROUND_OFF * extents.max()
    if (extents[dimension:] <= round_off).all():
        return points[:, :dimension]
    return points[:, :2] if np.abs(points[:, 2]).max() <= round_off else points


def _sizes(points: Array, vertices: Indices) -> Array:
    """The longest extent of each straight cell along a coordinate, ``shape=(cells,)``."""
    return np.ptp(points[vertices], axis=1).max(axis=1)


def _check_volumes(points: Array, vertices: Indices) -> None:
    """Refuse straight cells without volume."""
    volumes = np.abs(simplices.jacobians(points, vertices))
    flat = volumes <= _ROUND_OFF * _sizes(points, vertices) ** (vertices.shape[1] - 1)
    if flat.any():
        raise ValueError(f"cell {np.flatnonzero(flat)[0]} (from 0) has no volume")


def _without_repetitions(cells: Indices, kind: ElementType) -> Indices:
    """The cells, each once; refuse those that differ in the nodes between their vertices alone."""
    count = kind.dimension + 1
    vertices = np.sort(cells[:, :count], axis=1)
    _, first, number = simplices.unique_rows(vertices)
    original = first[number]
    repeated = np.flatnonzero(original != np.arange(len(cells)))
    if kind.degree > 1 and len(repeated):
        rows = cells[np.concatenate([original[repeated], repeated])]
        # In the order of the edges' numbers, which are common to cells of the same vertices.
        order = np.argsort(simplices.edges(rows[:, :count])[1], axis=1)
        between = np.take_along_axis(rows[:, count:], order, axis=1)
        differ = (between[: len(repeated)] != between[len(repeated) :]).any(axis=1)
        if differ.any():
            second = repeated[differ][0]
            raise ValueError(
                f"cells {original[second]} and {second} (from 0) have the same vertices, but "
                "other nodes between them"
            )
    return np.delete(cells, repeated, axis=0)


def _boundary(points: Array, cells: Indices, kind: ElementType) -> tuple[Indices, Array]:
    """Nodes of the facets with one cell, and the size of that; refuse branching meshes."""
    facets = simplices.facets(cells, kind.dimension, kind.degree)
    per_cell = facets.shape[1]
    facets = facets.reshape(-1, facets.shape[2])
    _, first, number = simplices.unique_rows(np.sort(facets[:, : kind.dimension], axis=1))
    sharing = np.bincount(number)
    if sharing.max() > 2:
        raise ValueError(f"{sharing.max()} cells share a facet; allowed: 2")
    outer = first[sharing == 1]
    return facets[outer], _sizes(points, cells[outer // per_cell, : kind.dimension + 1])
