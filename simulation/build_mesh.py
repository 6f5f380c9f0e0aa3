"""From the ``[space]`` and ``[pde]`` of a case to the mesh they describe."""

from __future__ import annotations

from meanformer.mpi import MPI

from dolfinx import mesh

from meanformer.meshes import box, circle, icosphere, read_mesh
from meanformer.simulation import case as c

_CELLS_OF_COARSEST_CIRCLE = 10


def build_mesh(pde: c.PdeTable, space: c.SpaceTable, comm: MPI.Intracomm) -> mesh.Mesh:
    """The mesh of the density. Collective over ``comm``.

    Raises:
        CaseError: On every rank, if a mesh file cannot be used.
    """
    curved = max(2, pde.degree)
    if pde.mesh is not None:
        return _from_file(pde.mesh, space, comm)
    assert pde.refinement is not None
    if space.kind == "sphere" and space.dimension == 3:
        return icosphere(comm, level=pde.refinement, geometry_degree=curved)
    if space.kind == "sphere":
        return circle(
            comm, cells=_CELLS_OF_COARSEST_CIRCLE * 2**pde.refinement, geometry_degree=curved
        )
    assert pde.half_width is not None
    return box(comm, half_width=pde.half_width, cells=2**pde.refinement, dimension=space.dimension)


def _from_file(path: str, space: c.SpaceTable, comm: MPI.Intracomm) -> mesh.Mesh:
    """The mesh of a gmsh file."""
    try:
        domain = read_mesh(path, comm)
    except ValueError as error:
        raise c.CaseError([f"pde.mesh: {error}"]) from None
    if (domain.topology.dim, domain.geometry.dim) != (space.dimension, space.dimension):
        raise c.CaseError(
            [
                f"pde.mesh: {path} has cells of dimension {domain.topology.dim} in "
                f"R^{domain.geometry.dim}; must be {space.dimension}, as space.dimension"
            ]
        )
    return domain
