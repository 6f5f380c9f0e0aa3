"""The differences between DOLFINx 0.9 and 0.11, in one place."""

from __future__ import annotations

import inspect
from typing import Any

from mpi4py import MPI

import dolfinx
import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import mesh

DOLFINX_VERSION: str = dolfinx.__version__


def create_mesh(
    comm: MPI.Comm, cells: npt.NDArray[np.int64], nodes: npt.NDArray[np.float64], domain: ufl.Mesh
) -> mesh.Mesh:
    """``mesh.create_mesh`` with ghosts across shared facets, which DG needs in parallel."""
    arguments: dict[str, Any] = {}
    if "max_facet_to_cell_links" in inspect.signature(mesh.create_cell_partitioner).parameters:
        arguments["max_facet_to_cell_links"] = 2  # a surface without branches
    partitioner = mesh.create_cell_partitioner(mesh.GhostMode.shared_facet, **arguments)
    return mesh.create_mesh(comm, cells=cells, x=nodes, e=domain, partitioner=partitioner)


def geometry_dofmap(domain: mesh.Mesh) -> npt.NDArray[np.int32]:
    """Geometry nodes of each cell, ``shape=(cells with ghosts, nodes per cell)``."""
    geometry = domain.geometry
    return geometry.dofmaps[0] if hasattr(geometry, "dofmaps") else geometry.dofmap
