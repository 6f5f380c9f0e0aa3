"""A mesh whose ranks hold their own cells only, as files need it."""

from __future__ import annotations

import numpy as np
import ufl
from dolfinx import mesh

from meanformer.arrays import Indices
from meanformer.meshes import compat


def without_ghosts(domain: mesh.Mesh) -> tuple[mesh.Mesh, Indices]:
    """A copy of a mesh without ghost cells. Collective.

    Writers put a rank's ghosts into files beside its own cells, and programs that read them draw
    and integrate such cells twice.

    Args:
        domain: The mesh.

    Returns:
        The copy, in which every rank holds the cells it owns in ``domain``; and for each of them
        its number there, ``shape=(cells,)``.
    """
    comm, geometry = domain.comm, domain.geometry
    count = domain.topology.index_map(domain.topology.dim).size_local
    local = compat.geometry_dofmap(domain)[:count]
    cells = geometry.index_map().local_to_global(local.ravel().astype(np.int32))
    own = geometry.index_map().size_local
    copy: mesh.Mesh = compat.create_mesh(
        comm,
        cells.reshape(local.shape).astype(np.int64),
        geometry.x[:own, : geometry.dim].copy(),
        ufl.Mesh(domain.ufl_domain().ufl_coordinate_element()),
        np.full(count, comm.rank),
        np.arange(count + 1),
    )
    first = comm.exscan(count) or 0
    return copy, copy.topology.original_cell_index[:count] - first
