"""The icosphere: a closed, curved, evenly shared triangulation of the unit sphere."""

from mpi4py import MPI

import numpy as np
import pytest
import ufl
from dolfinx import fem

from meanformer.meshes import icosphere

COMM = MPI.COMM_WORLD


def turn(seed=1):
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.sign(np.diag(r))


def integral(domain, integrand, degree=12):
    measure = ufl.dx(domain=domain, metadata={"quadrature_degree": degree})
    local = fem.assemble_scalar(fem.form(integrand * measure))
    return domain.comm.allreduce(local)


def area(domain):
    return integral(domain, fem.Constant(domain, 1.0))


def counts(domain):
    """Vertices, edges and cells on all ranks."""
    domain.topology.create_connectivity(1, 2)
    return tuple(domain.topology.index_map(k).size_global for k in range(3))


def vertices(level, **arguments):
    """The vertices in the order of the construction, whatever DOLFINx makes of it."""
    geometry = icosphere(MPI.COMM_SELF, level=level, geometry_degree=1, **arguments).geometry
    ordered = np.empty_like(geometry.x)
    ordered[geometry.input_global_indices] = geometry.x
    return ordered


@pytest.mark.mpi
@pytest.mark.parametrize("degree", [1, 2, 3])
@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_is_a_closed_surface_of_the_right_size(level, degree):
    # Euler: V - E + F = 2, and each quadrisection multiplies the faces by four.
    domain = icosphere(COMM, level=level, geometry_degree=degree)
    faces = 20 * 4**level
    assert counts(domain) == (faces // 2 + 2, 3 * faces // 2, faces)
    assert domain.topology.dim == 2
    assert domain.geometry.dim == 3


@pytest.mark.mpi
@pytest.mark.parametrize("degree", [1, 2, 3])
@pytest.mark.parametrize("perturbation", [0.0, 0.3])
def test_every_geometry_node_is_on_the_sphere(degree, perturbation):
    domain = icosphere(
        COMM, level=3, geometry_degree=degree, rotation=turn(), perturbation=perturbation
    )
    assert np.abs(np.linalg.norm(domain.geometry.x, axis=1) - 1).max() < 1e-15


@pytest.mark.parametrize("degree", [2, 3])
def test_nodes_of_neighbours_meet(degree):
    # One geometry node an edge (or two) and none doubled: 10 * 4^level k^2 + 2 in all.
    domain = icosphere(MPI.COMM_SELF, level=2, geometry_degree=degree, perturbation=0.2)
    x = domain.geometry.x
    assert len(x) == 10 * 4**2 * degree**2 + 2
    distance = np.linalg.norm(x[:, None] - x[None], axis=-1) + np.eye(len(x))
    assert distance.min() > 0.02


@pytest.mark.parametrize(("degree", "order"), [(1, 1.95), (2, 3.8), (3, 3.8)])
def test_area_converges(degree, order):
    levels = [1, 2, 3] if degree == 3 else [2, 3, 4]
    errors = [
        abs(
            area(
                icosphere(
                    MPI.COMM_SELF,
                    level=level,
                    geometry_degree=degree,
                    rotation=turn(),
                    perturbation=0.15,
                )
            )
            - 4 * np.pi
        )
        for level in levels
    ]
    # Perturbed meshes are not nested: fit the rate over two refinements.
    assert np.log2(errors[0] / errors[-1]) / 2 >= order


@pytest.mark.parametrize("degree", [1, 2, 3])
@pytest.mark.parametrize("perturbation", [0.0, 0.15, 0.3])
@pytest.mark.parametrize("level", [0, 1, 3])
def test_cells_lie_on_the_sphere_unfolded(level, degree, perturbation):
    # The solid angle under each cell has the sign of its normal against x: folds turn the sign.
    for seed in range(4):
        domain = icosphere(
            MPI.COMM_SELF, level=level, geometry_degree=degree, perturbation=perturbation, seed=seed
        )
        x = domain.geometry.x
        corners = x[cells(domain)[:, :3]]
        height = np.einsum("ij,ij->i", *oriented(domain, corners))
        assert height.min() > 0
        if level == 3 or degree > 1:
            assert area(domain) == pytest.approx(4 * np.pi, rel=0.05)


def cells(domain):
    geometry = domain.geometry
    return geometry.dofmaps[0] if hasattr(geometry, "dofmaps") else geometry.dofmap


def oriented(domain, corners):
    """Normals of the flat triangles, oriented as on the unperturbed mesh, and their centres."""
    level = round(np.log(len(corners) / 20) / np.log(4))
    degree = {3: 1, 6: 2, 10: 3}[cells(domain).shape[1]]
    plain = icosphere(MPI.COMM_SELF, level=level, geometry_degree=degree)
    plain_corners = np.empty((len(corners), 3, 3))
    own = np.empty_like(plain_corners)
    plain_corners[plain.topology.original_cell_index] = sorted_corners(plain)
    own[domain.topology.original_cell_index] = sorted_corners(domain)
    sign = np.sign(np.einsum("ij,ij->i", normals(plain_corners), plain_corners.mean(axis=1)))
    return sign[:, None] * normals(own), own.mean(axis=1)


def sorted_corners(domain):
    """Each cell's vertices by the order of the construction."""
    corners = cells(domain)[:, :3]
    numbers = domain.geometry.input_global_indices[corners]
    return domain.geometry.x[np.take_along_axis(corners, np.argsort(numbers, axis=1), axis=1)]


def normals(corners):
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


@pytest.mark.parametrize("level", [0, 2])
@pytest.mark.parametrize("perturbation", [0.1, 0.3])
def test_perturbation_moves_vertices_by_at_most_its_share_of_an_edge(level, perturbation):
    plain = vertices(level)
    domain = icosphere(MPI.COMM_SELF, level=level)
    corners = domain.geometry.x[cells(domain)[:, :3]]
    edge = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).mean()
    # A move by s is turned by asin(s) at most when it ends on the sphere again.
    most = 2 * np.sin(np.arcsin(perturbation * edge) / 2)
    for seed in range(5):
        moved = vertices(level, perturbation=perturbation, seed=seed)
        shift = np.linalg.norm(moved - plain, axis=1).max()
        assert 0.3 * most < shift < most + 1e-12


def test_a_perturbed_mesh_has_no_symmetric_twin():
    # The icosahedron maps to itself under x -> -x and 59 rotations; the perturbed one under none:
    # the distances of its vertices from a vertex's neighbours tell all vertices apart.
    def signatures(points):
        distance = np.sort(np.linalg.norm(points[:, None] - points[None], axis=-1), axis=1)
        apart = np.linalg.norm(distance[:, None] - distance[None], axis=-1)
        return (apart + 9 * np.eye(len(points))).min(axis=1)

    assert signatures(vertices(1)).max() < 1e-12
    assert signatures(vertices(1, perturbation=0.1)).min() > 1e-3


def test_the_perturbation_depends_on_the_seed_alone():
    one, again, other = (vertices(2, perturbation=0.2, seed=s) for s in (1, 1, 2))
    assert np.array_equal(one, again)
    assert np.abs(one - other).max() > 1e-3


def test_rotation_turns_every_node():
    matrix = turn()
    turned = vertices(2, perturbation=0.2, rotation=matrix)
    assert np.abs(turned - vertices(2, perturbation=0.2) @ matrix.T).max() < 1e-15


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"level": -1}, "level"),
        ({"geometry_degree": 0}, "geometry_degree"),
        ({"geometry_degree": 4}, "geometry_degree"),
        ({"perturbation": -0.1}, "perturbation"),
        ({"perturbation": 0.4}, "perturbation"),
        ({"perturbation": np.nan}, "perturbation"),
    ],
)
def test_refuses_what_makes_no_sphere(wrong, name):
    with pytest.raises(ValueError, match=name):
        icosphere(COMM, **({"level": 1} | wrong))


@pytest.mark.parametrize("rotation", [2 * np.eye(3), np.eye(2), np.diag([1.0, 1.0, np.nan])])
def test_refuses_rotations_that_leave_the_sphere(rotation):
    with pytest.raises(ValueError, match="rotation"):
        icosphere(MPI.COMM_SELF, level=1, rotation=rotation)


@pytest.mark.mpi
class TestRanks:
    @pytest.mark.parametrize("degree", [1, 2, 3])
    def test_same_surface_on_any_number_of_ranks(self, degree):
        arguments = {"rotation": turn(), "perturbation": 0.2}
        shared = icosphere(COMM, level=2, geometry_degree=degree, **arguments)
        alone = icosphere(MPI.COMM_SELF, level=2, geometry_degree=degree, **arguments)
        assert area(shared) == pytest.approx(area(alone), rel=1e-13)
        x, y = ufl.SpatialCoordinate(shared), ufl.SpatialCoordinate(alone)
        # An integrand without symmetry sees where the nodes are.
        one = integral(shared, ufl.exp(x[0]) * (1 + x[1] * x[2] ** 2))
        other = integral(alone, ufl.exp(y[0]) * (1 + y[1] * y[2] ** 2))
        assert one == pytest.approx(other, rel=1e-13)

    def test_original_cell_index_numbers_each_cell_once(self):
        domain = icosphere(COMM, level=2)
        owned = domain.topology.index_map(2).size_local
        numbers = np.concatenate(COMM.allgather(domain.topology.original_cell_index[:owned]))
        assert np.array_equal(np.sort(numbers), np.arange(320))

    def test_original_cell_index_means_the_same_cell_on_any_number_of_ranks(self):
        def centres(domain):
            of_cells = sorted_corners(domain).mean(axis=1)
            return dict(zip(domain.topology.original_cell_index, of_cells, strict=True))

        shared = centres(icosphere(COMM, level=2, perturbation=0.2))
        alone = centres(icosphere(MPI.COMM_SELF, level=2, perturbation=0.2))
        for number, centre in shared.items():
            assert np.abs(centre - alone[number]).max() < 1e-15

    def test_every_facet_of_an_owned_cell_has_two_cells_here(self):
        # Without ghosts, facets between ranks would have one cell on each.
        domain = icosphere(COMM, level=2)
        topology = domain.topology
        topology.create_connectivity(1, 2)
        topology.create_connectivity(2, 1)
        owned = topology.index_map(2).size_local
        assert owned > 0
        cells_of, facets_of = topology.connectivity(1, 2), topology.connectivity(2, 1)
        for cell in range(owned):
            for facet in facets_of.links(cell):
                assert len(cells_of.links(facet)) == 2
        ghosts = COMM.allreduce(topology.index_map(2).num_ghosts)
        assert (ghosts > 0) == (COMM.size > 1)

    def test_cells_are_shared_evenly(self):
        domain = icosphere(COMM, level=3)
        owned = domain.topology.index_map(2).size_local
        assert abs(owned - 1280 / COMM.size) < 0.15 * 1280 / COMM.size
