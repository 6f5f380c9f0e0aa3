"""The density at given points against its polynomials in the cells."""

from mpi4py import MPI

import basix
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from meanformer.attention import Attention
from meanformer.attention.measures import VonMisesFisher
from meanformer.meshes import ball, box, circle, icosphere, read_mesh
from meanformer.pde import DensitySolver, Elements
from meanformer.pde.point_values import PointValues
from meanformer.pde.quadrature import geometry_nodes

COMM = MPI.COMM_WORLD
TURN = Rotation.from_euler("xyz", [0.3, 0.5, 0.7]).as_matrix()
PLANE = Rotation.from_euler("z", 0.4).as_matrix()[:2, :2]
# Corners and edges of cells of degree 2 in gmsh's order, and its types.
BETWEEN = {2: [(0, 1), (1, 2), (2, 0)], 3: [(0, 1), (1, 2), (2, 0), (3, 0), (2, 3), (1, 3)]}
TYPES = {2: 9, 3: 11}


def write_curved(path, domain, move):
    """Write a straight mesh as an MSH file of degree 2, all nodes moved."""
    corners = geometry_nodes(domain)
    tdim, count = domain.topology.dim, len(corners)
    pairs = BETWEEN[tdim]
    middles = np.stack([corners[:, list(pair)].mean(axis=1) for pair in pairs], axis=1)
    nodes = np.concatenate([corners, middles], axis=1)
    points, numbers = np.unique(
        np.round(nodes.reshape(-1, nodes.shape[2]), 12), axis=0, return_inverse=True
    )
    points = move(points)
    points = np.column_stack([points, np.zeros((len(points), 3 - points.shape[1]))])
    rows = numbers.reshape(count, -1) + 1
    lines = ["$MeshFormat", "2.2 0 8", "$EndMeshFormat", "$Nodes", str(len(points))]
    lines += [f"{k} {x!r} {y!r} {z!r}" for k, (x, y, z) in enumerate(points.tolist(), 1)]
    lines += ["$EndNodes", "$Elements", str(count)]
    for k, row in enumerate(rows, 1):
        lines.append(" ".join(map(str, [k, TYPES[tdim], 2, 7, 1, *row])))
    path.write_text("\n".join([*lines, "$EndElements", ""]))


def bent(x):
    """A shear that varies, so that all edges of a box are curved."""
    moved = x.copy()
    moved[:, 0] += 0.1 * np.sin(2 * x[:, 1])
    moved[:, 1] += 0.1 * np.cos(1.5 * x[:, 0])
    return moved


def from_file(path, straight, move):
    if COMM.rank == 0:
        write_curved(path / "curved.msh", straight, move)
    COMM.barrier()
    return read_mesh(path / "curved.msh", COMM)


def unit(x):
    return x / np.linalg.norm(x, axis=1)[:, None]


def flattened(x):
    """A surface off the sphere between its vertices."""
    return x * (1 + 0.05 * (1 - (x**2).sum(axis=1)))[:, None]


def perturbed(mesh, *args, **options):
    return lambda _: mesh(COMM, *args, perturbation=0.2, **options)


MESHES = {
    "three cells": lambda _: circle(COMM, cells=3, geometry_degree=2),
    **{
        f"circle {g}": perturbed(circle, cells=13, geometry_degree=g, rotation=0.3)
        for g in (1, 2, 3)
    },
    **{f"icosahedron {g}": (lambda _, g=g: icosphere(COMM, level=0, geometry_degree=g))
       for g in (1, 2, 3)},
    **{
        f"sphere {g}": perturbed(icosphere, level=2, geometry_degree=g, rotation=TURN)
        for g in (1, 2, 3)
    },
    "sphere of a file": lambda path: from_file(
        path, icosphere(MPI.COMM_SELF, level=1, geometry_degree=1), flattened
    ),
    "line": perturbed(box, half_width=20.0, cells=31, dimension=1),
    "square": perturbed(box, half_width=(2.0, 5.0), cells=7, dimension=2, rotation=PLANE),
    "cube": perturbed(box, half_width=(2.0, 3.0, 1.0), cells=4, dimension=3, rotation=TURN),
    "coarse disk": lambda _: ball(COMM, radius=1.0, cells=1, dimension=2),
    "disk": perturbed(ball, radius=3.0, cells=5, dimension=2, rotation=PLANE),
    "ball": perturbed(ball, radius=2.0, cells=3, dimension=3, rotation=TURN),
    "square of a file": lambda path: from_file(
        path, box(MPI.COMM_SELF, half_width=1.0, cells=5, dimension=2), bent
    ),
    "cube of a file": lambda path: from_file(
        path, box(MPI.COMM_SELF, half_width=1.0, cells=3, dimension=3), bent
    ),
}  # fmt: skip


def sample(elements, count, seed=0):
    """Random values, points inside this rank's cells, and the values there."""
    domain = elements.domain
    nodes, t = geometry_nodes(domain), domain.topology.dim
    rng = np.random.default_rng([seed, COMM.rank])
    values = rng.uniform(size=elements.integrals.shape)
    places = rng.dirichlet(np.ones(t + 1), size=count)[:, 1:]
    cells = rng.integers(len(nodes), size=count)
    cell = domain.basix_cell()
    degree = domain.ufl_domain().ufl_coordinate_element().degree
    lagrange = basix.create_element(
        basix.ElementFamily.P, cell, degree, basix.LagrangeVariant.gll_warped
    )
    shape = lagrange.tabulate(0, places)[0, :, :, 0]
    points = elements.where.retract(np.einsum("mn,mnk->mk", shape, nodes[cells]))
    basis = elements.space.element.basix_element.tabulate(0, places)[0, :, :, 0]
    return values, points, np.einsum("mn,mn->m", basis, values[cells])


def shuffled(*arrays, seed=1):
    """Rows of all ranks, shared out at random, with no rows on the last of several ranks."""
    whole = [np.concatenate(COMM.allgather(array)) for array in arrays]
    askers = max(COMM.size - 1, 1)
    asker = np.random.default_rng(seed).integers(askers, size=len(whole[0]))
    return [array[asker == COMM.rank] for array in whole]


@pytest.mark.mpi
@pytest.mark.parametrize("name", MESHES)
def test_values_are_those_of_the_polynomials(name, shared_tmp_path):
    domain = MESHES[name](shared_tmp_path)
    for degree in (0, 1, 2, 3):
        elements = Elements(domain, degree)
        values, points, expected = sample(elements, 2000)
        points, expected = shuffled(points, expected)
        found = PointValues(elements)(values, points)
        assert found.shape == expected.shape
        assert np.abs(found - expected).max(initial=0.0) < 1e-12


@pytest.mark.mpi
@pytest.mark.parametrize("name", MESHES)
def test_facets_leave_no_gaps(name, shared_tmp_path):
    elements = Elements(MESHES[name](shared_tmp_path), 0)
    nodes = geometry_nodes(elements.domain)
    points = elements.where.retract(nodes.reshape(-1, nodes.shape[2]))
    values = elements.domain.topology.original_cell_index[: len(nodes), None].astype(float)
    found = PointValues(elements)(values, points).reshape(nodes.shape[:2])
    # The lowest number of all cells that a node belongs to: at most that of its own cell.
    assert np.all(found <= values)
    several = COMM.allgather((np.round(points, 9), np.repeat(values, nodes.shape[1])))
    places, numbers = (np.concatenate(part) for part in zip(*several, strict=True))
    places, node = np.unique(places + 0.0, axis=0, return_inverse=True)
    lowest = np.full(len(places), np.inf)
    np.minimum.at(lowest, node.ravel(), numbers)
    mine = sum(len(part) for part, _ in several[: COMM.rank])
    expected = lowest[node.ravel()[mine : mine + len(points)]].reshape(found.shape)
    assert np.array_equal(found, expected)


@pytest.mark.mpi
@pytest.mark.parametrize("name", ["circle 1", "sphere 2", "sphere of a file"])
def test_every_point_of_a_sphere_is_in_a_cell(name, shared_tmp_path, on_sphere):
    elements = Elements(MESHES[name](shared_tmp_path), 0)
    points = on_sphere(COMM.rank, 5000, elements.where.dimension)
    found = PointValues(elements)(np.ones_like(elements.integrals), points)
    assert np.all(found == 1)


def test_a_smooth_density_is_met_to_the_order_of_its_elements(rate, on_sphere):
    measure, points = VonMisesFisher((0.0, 0.6, 0.8), 4.0), on_sphere(3, 1000)
    errors = []
    for level in (2, 3, 4):
        domain = icosphere(COMM, level=level, geometry_degree=2, rotation=TURN)
        solver = DensitySolver(domain, Attention(), 2, measure.density)
        errors.append(np.abs(solver.at(points) / measure.density(points) - 1).max())
    assert errors[-1] < 3e-3
    assert rate(errors, [1, 2, 4]) > 2.6


@pytest.mark.mpi
def test_is_nan_outside_of_the_mesh():
    for domain, radius in (
        (box(COMM, half_width=1.0, cells=3, dimension=2), np.sqrt(2.1)),
        (ball(COMM, radius=1.0, cells=3, dimension=2), 1.001),
        (box(COMM, half_width=1.0, cells=3, dimension=1), 1.001),
    ):
        elements = Elements(domain, 1)
        angles = np.arange(100) + 0.3
        directions = np.column_stack([np.cos(angles), np.sin(angles)])
        points = radius * unit(directions[:, : elements.where.dimension])
        points[0] = 0.1
        points[1] = 1e300
        found = PointValues(elements)(np.ones_like(elements.integrals), points)
        assert found[0] == pytest.approx(1, abs=1e-14)
        assert np.all(np.isnan(found[1:]))


@pytest.mark.mpi
def test_points_need_no_rank():
    solver = DensitySolver(
        icosphere(COMM, level=1), Attention(), 1, VonMisesFisher((0, 0, 1), 1).density
    )
    assert solver.at(np.empty((0, 3))).shape == (0,)
    north = [[0.0, 0.0, 1.0]]
    for asker in range(COMM.size):
        found = solver.at(north if COMM.rank == asker else np.empty((0, 3)))
        assert found.shape == ((1,) if COMM.rank == asker else (0,))
    values = COMM.allgather(solver.at(north)[0])
    assert len(set(values)) == 1
    alone = DensitySolver(
        icosphere(MPI.COMM_SELF, level=1), Attention(), 1, VonMisesFisher((0, 0, 1), 1).density
    )
    assert values[0] == pytest.approx(alone.at(north)[0], rel=1e-13)


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros(3), r"shape \(3,\); it must be \(m, 3\)"),
        (np.ones((4, 2)), r"shape \(4, 2\)"),
        (np.full((1, 3), np.nan), "finite"),
        ([[0.0, 0.0, 1.00001]], "unit vectors"),
        ([[0.0, 0.0, 1j]], "real"),
        ([["north", "north", "north"]], "numbers"),
        ([[0.0, 0.0, 1.0], [1.0, 0.0]], "numbers"),
    ],
)
def test_wrong_points_of_one_rank_are_refused_on_all(points, message):
    elements = Elements(icosphere(COMM, level=1), 1)
    evaluate, values = PointValues(elements), np.ones_like(elements.integrals)
    fine = [[0.0, 0.0, 1.0]]
    with pytest.raises(ValueError, match=f"points .*{message}"):
        evaluate(values, points if COMM.rank == COMM.size - 1 else fine)
    assert evaluate(values, [[0.0, 0.0, 1 + 9e-7]]) == pytest.approx(1)
