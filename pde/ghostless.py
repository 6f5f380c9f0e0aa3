"""A mesh whose ranks hold their own cells only, as files need it, and what moves values there."""

from __future__ import annotations

import numpy as np
import ufl
from dolfinx import fem, mesh

from meanformer.pde import compat


class Ghostless:
    """A copy of a discontinuous function on a copy of its mesh without ghost cells.

    Writers put a rank's ghosts into files beside its own cells, and programs that read them draw
    and integrate such cells twice.

    Args:
        original: A function of a discontinuous space.

    Attributes:
        function: The copy, with the name of the original.
    """

    def __init__(self, original: fem.Function) -> None:
        """Copy the mesh. Collective."""
        space = original.function_space
        domain, self._original = space.mesh, original
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
        self.function = fem.Function(
            fem.functionspace(copy, space.ufl_element()), name=original.name
        )
        first = comm.exscan(count) or 0
        former = copy.topology.original_cell_index[:count] - first
        self._from = space.dofmap.list[former]
        self._to = self.function.function_space.dofmap.list

    def update(self) -> None:
        """Take over the values of the original."""
        self.function.x.array[self._to] = self._original.x.array[self._from]
