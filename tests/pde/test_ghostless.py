"""Copies of meshes without ghosts, and functions on them."""

from mpi4py import MPI

import numpy as np
import pytest
import ufl
from dolfinx import fem

from meanformer.meshes import ball, box, circle, icosphere
from meanformer.pde.ghostless import without_ghosts

MESHES = {
    "circle": lambda: circle(MPI.COMM_WORLD, cells=17, geometry_degree=3, perturbation=0.2),
    "sphere": lambda: icosphere(MPI.COMM_WORLD, level=2, geometry_degree=3, perturbation=0.2),
    "disk": lambda: ball(MPI.COMM_WORLD, radius=1.0, cells=5, dimension=2, perturbation=0.2),
    "box": lambda: box(MPI.COMM_WORLD, half_width=1.0, cells=4, dimension=3, perturbation=0.2),
}


def integral(expression, domain):
    form = fem.form(expression * ufl.dx(domain, metadata={"quadrature_degree": 8}))
    return domain.comm.allreduce(fem.assemble_scalar(form))


@pytest.mark.mpi
@pytest.mark.parametrize("name", MESHES)
def test_each_cell_is_there_once_with_its_values(name):
    domain = MESHES[name]()
    original = fem.Function(fem.functionspace(domain, ("Discontinuous Lagrange", 2)), name="rho")
    original.interpolate(lambda x: np.exp(x[0] - 0.5 * x[1] + 0.3 * x[2]))
    there, numbers = without_ghosts(domain)
    copy = fem.Function(fem.functionspace(there, ("Discontinuous Lagrange", 2)))
    former = original.function_space.dofmap.list[numbers]
    copy.x.array[copy.function_space.dofmap.list] = original.x.array[former]
    cells = there.topology.index_map(there.topology.dim)
    assert cells.num_ghosts == 0
    assert cells.size_global == domain.topology.index_map(domain.topology.dim).size_global
    # A value in a wrong cell, or at a wrong node of its cell, changes these moments.
    for k in range(domain.geometry.dim):
        moments = [
            integral(f * ufl.sin(3 * ufl.SpatialCoordinate(mesh)[k] + 1), mesh)
            for f, mesh in ((original, domain), (copy, there))
        ]
        assert abs(moments[1] - moments[0]) < 1e-13 * max(1, abs(moments[0]))
