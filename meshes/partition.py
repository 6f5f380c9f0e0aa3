"""Which rank owns which cell: the same in every run, which graph partitioners do not promise."""

from __future__ import annotations

from collections.abc import Callable

from mpi4py import MPI

import basix.ufl
import numpy as np
import ufl
from dolfinx import mesh

from meanformer.arrays import Array, Indices
from meanformer.meshes import compat, simplices


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
    coordinates = basix.ufl.element("Lagrange", simplices.NAMES[tdim], degree, shape=(gdim,))
    if comm.rank == 0:
        nodes, cells = build()
        corners = cells[:, : tdim + 1]
        owners = bisect(nodes[corners].mean(axis=1), comm.size)
        receivers, starts = with_ghosts(corners, owners)
    else:
        per_cell = len(simplices.lagrange(tdim, degree).points)
        nodes, cells = np.empty((0, gdim)), np.empty((0, per_cell), dtype=np.int64)
        receivers, starts = np.empty(0, dtype=np.int64), np.zeros(1, dtype=np.int64)
    return compat.create_mesh(comm, cells, nodes, ufl.Mesh(coordinates), receivers, starts)


def bisect(points: Array, parts: int) -> Indices:
    """Parts of equal size by recursive bisection across the longest extent.

    (Berger & Bokhari, IEEE Trans. Comput. C-36, 1987.)

    Args:
        points: ``shape=(n, d)``.
        parts: Number of parts.

    Returns:
        The part of each point, ``shape=(n,)``. Sizes differ by one at most.
    """
    part: Indices = np.zeros(len(points), dtype=np.int64)
    if parts == 1 or len(points) == 0:
        return part
    extents = points.max(axis=0) - points.min(axis=0)
    size = extents.max() or 1.0
    # Round-off decides nothing: of equal extents the first is cut, equal points keep their order.
    along = points[:, np.argmax(np.round(extents / size, 9))]
    order = np.argsort(np.round(along / size, 9), kind="stable")
    few = parts // 2
    split = (len(points) * few + parts // 2) // parts
    lower, upper = np.sort(order[:split]), np.sort(order[split:])
    part[lower] = bisect(points[lower], few)
    part[upper] = few + bisect(points[upper], parts - few)
    return part


def with_ghosts(cells: Indices, owner: Indices) -> tuple[Indices, Indices]:
    """The ranks that get each cell: its owner, then the other owners across its facets.

    Args:
        cells: Vertices of simplices, ``shape=(cells, tdim + 1)``.
        owner: The rank that owns each cell, ``shape=(cells,)``.

    Returns:
        Ranks, cell by cell, and where those of each cell begin, ``shape=(cells + 1,)``.
    """
    tdim = cells.shape[1] - 1
    facets = np.sort(simplices.facets(cells, tdim, 1), axis=2)
    _, _, numbers = simplices.unique_rows(facets.reshape(-1, tdim))
    # At most two cells share a facet: the owners there add up to one's own and the other's.
    own = np.repeat(owner, tdim + 1)
    owners = np.bincount(numbers, own).astype(np.int64)
    alone = np.bincount(numbers) == 1
    others = np.where(alone[numbers], own, owners[numbers] - own).reshape(-1, tdim + 1)
    ranks = np.column_stack([owner, others])
    # Sorted by cells, owners first, and each rank once.
    cell = np.broadcast_to(np.arange(len(cells))[:, None], ranks.shape)
    rows = np.stack([cell, ranks != owner[:, None], ranks], axis=2).reshape(-1, 3)
    rows, _, _ = simplices.unique_rows(rows)
    return rows[:, 2], np.searchsorted(rows[:, 0], np.arange(len(cells) + 1))
