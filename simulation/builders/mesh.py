"""From the ``[space]`` and ``[pde]`` of a case to the mesh they describe."""

from __future__ import annotations

from meanformer.mpi import MPI

import numpy as np
from dolfinx import mesh

from meanformer.meshes import box, circle, icosphere
from meanformer.meshes.files.reading import read_mesh_and_seam
from meanformer.simulation.case.errors import CaseError
from meanformer.simulation.case.space import SpaceTable
from meanformer.simulation.case.tables import MESHES, PdeTable
from meanformer.simulation.warn import warn

_FLAT = {
    1: "a straight line of intervals",
    2: "a planar mesh of triangles",
    3: "a volume of tetrahedra",
}
_CURVED = {1: "a curve of intervals", 2: "a surface of triangles"}


def build_mesh(
    pde: PdeTable, space: SpaceTable, title: str, comm: MPI.Intracomm
) -> tuple[mesh.Mesh, str]:
    """The mesh of the density, and what to say of mass that leaves it. Collective over ``comm``.

    Rank 0 warns, on its standard error, of a mesh file whose nodes coincide but are not joined;
    the ``title`` of the case is said there.

    Raises:
        CaseError: On every rank, if a mesh file cannot be used.
    """
    curved = max(2, pde.degree)
    if pde.mesh is not None:
        return _from_file(pde.mesh, space, title, comm)
    assert pde.refinement is not None
    if space.kind == "sphere" and space.dimension == 3:
        return icosphere(comm, level=pde.refinement, geometry_degree=curved), ""
    if space.kind == "sphere":
        cells = MESHES["sphere", 2].cells * 2**pde.refinement
        return circle(comm, cells=cells, geometry_degree=curved), ""
    assert pde.half_width is not None
    cells = 2**pde.refinement
    domain = box(comm, half_width=pde.half_width, cells=cells, dimension=space.dimension)
    return domain, "a larger box would hold it"


def _from_file(
    path: str, space: SpaceTable, title: str, comm: MPI.Intracomm
) -> tuple[mesh.Mesh, str]:
    """The mesh of a gmsh file."""
    try:
        domain, seam = read_mesh_and_seam(path, comm)
    except ValueError as error:
        raise CaseError([f"pde.mesh: {error}"]) from None
    tdim, gdim, dimension = domain.topology.dim, domain.geometry.dim, space.dimension
    need = f"must be {_FLAT[dimension]}"
    why = f"as space.dimension = {dimension}"
    if tdim != dimension:
        is_there = _FLAT[tdim] if tdim == gdim else f"{_CURVED[tdim]} in R^{gdim}"
        raise CaseError([f"pde.mesh: {path} is {is_there}; {need}, {why}"])
    if gdim != dimension:
        name, low, high = _widest_of_the_last(domain, dimension)
        has = f"has nodes with {name} from {low:.10g} to {high:.10g}"
        raise CaseError([f"pde.mesh: {path} {has}; {need}, with one {name}, {why}"])
    if seam is None:
        return domain, "a mesh that reaches farther would hold it"
    if comm.rank == 0:
        warn(title, f"pde.mesh: {path}: {seam.warning()}")
    return domain, f"pde.mesh has a seam: {seam}, and mass can leave there"


def _widest_of_the_last(domain: mesh.Mesh, dimension: int) -> tuple[str, float, float]:
    """Of the coordinates beyond so many that which varies most: its name and range. Collective."""
    x = domain.geometry.x[:, dimension:]
    low, high = x.min(axis=0, initial=np.inf), x.max(axis=0, initial=-np.inf)
    domain.comm.Allreduce(MPI.IN_PLACE, low, MPI.MIN)
    domain.comm.Allreduce(MPI.IN_PLACE, high, MPI.MAX)
    widest = int(np.argmax(high - low))
    return "xyz"[dimension + widest], low[widest], high[widest]
