"""The differences between DOLFINx 0.9 and 0.11, in one place."""

from __future__ import annotations

from mpi4py import MPI

import dolfinx
import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import graph, mesh

from meanformer.arrays import Array, Indices

DOLFINX_VERSION: str = dolfinx.__version__


def create_mesh(
    comm: MPI.Comm,
    cells: Indices,
    nodes: Array,
    domain: ufl.Mesh,
    receivers: Indices,
    starts: Indices,
) -> mesh.Mesh:
    """``mesh.create_mesh``, given which ranks get each of this rank's cells, the owner first.

    Args:
        comm: The ranks that share the mesh.
        cells: Nodes of each cell, ``shape=(cells, nodes per cell)``.
        nodes: Their coordinates, ``shape=(nodes, d)``.
        domain: The geometry's element.
        receivers: The ranks, cell by cell.
        starts: Where those of each cell begin, ``shape=(cells + 1,)``.
    """
    destinations = graph.adjacencylist(receivers.astype(np.int32), starts.astype(np.int32))
    destinations = getattr(destinations, "_cpp_object", destinations)
    return mesh.create_mesh(
        comm, cells=cells, x=nodes, e=domain, partitioner=lambda *_: destinations
    )


def geometry_dofmap(domain: mesh.Mesh) -> npt.NDArray[np.int32]:
    """Geometry nodes of each cell, ``shape=(cells with ghosts, nodes per cell)``."""
    geometry = domain.geometry
    return geometry.dofmaps[0] if hasattr(geometry, "dofmaps") else geometry.dofmap
