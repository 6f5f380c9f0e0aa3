"""The circle: a closed chain of curved intervals."""

from mpi4py import MPI

import numpy as np
import pytest
import ufl
from dolfinx import fem

from meanformer.meshes import circle

COMM, SELF = MPI.COMM_WORLD, MPI.COMM_SELF


def angles(domain, corners):
    """Angles of the first and last corner of each cell, by the cells' original numbers."""
    ordered = np.empty((domain.topology.index_map(1).size_local, 2, 2))
    ordered[domain.topology.original_cell_index] = corners(domain)
    return np.arctan2(ordered[..., 1], ordered[..., 0])


@pytest.mark.mpi
@pytest.mark.parametrize(("cells", "degree"), [(3, 1), (4, 2), (37, 3)])
def test_is_closed(cells, degree, facet_counts, euler_characteristic):
    domain = circle(COMM, cells=cells, geometry_degree=degree)
    assert domain.topology.dim == 1
    assert domain.geometry.dim == 2
    assert domain.topology.index_map(1).size_global == cells
    assert facet_counts(domain) == (0, cells)
    assert euler_characteristic(domain) == 0


@pytest.mark.mpi
@pytest.mark.parametrize("degree", [1, 2, 3])
@pytest.mark.parametrize("perturbation", [0.0, 0.3])
def test_every_geometry_node_is_on_the_circle(degree, perturbation):
    domain = circle(COMM, cells=30, geometry_degree=degree, rotation=0.4, perturbation=perturbation)
    off = np.abs(np.linalg.norm(domain.geometry.x[:, :2], axis=1) - 1).max(initial=0)
    assert COMM.allreduce(off, MPI.MAX) < 1e-15
    assert COMM.allreduce(np.abs(domain.geometry.x[:, 2]).max(initial=0), MPI.MAX) == 0
    assert len(circle(SELF, cells=30, geometry_degree=degree).geometry.x) == 30 * degree


@pytest.mark.parametrize(("degree", "order"), [(1, 1.9), (2, 3.9), (3, 5.8)])
@pytest.mark.parametrize("perturbation", [0.0, 0.2])
def test_length_converges(degree, order, perturbation, measure):
    errors = [
        abs(
            measure(
                circle(
                    SELF,
                    cells=cells,
                    geometry_degree=degree,
                    rotation=0.3,
                    perturbation=perturbation,
                )
            )
            - 2 * np.pi
        )
        for cells in (10, 20, 40, 80)
    ]
    assert errors[-1] < 20 * 80.0**-2
    assert np.log2(errors[0] / errors[-1]) / 3 >= order


def test_cells_follow_each_other_counterclockwise(corners):
    ends = angles(circle(SELF, cells=20, rotation=0.7, perturbation=0.3), corners)
    assert np.array_equal(ends[:, 1], np.roll(ends[:, 0], -1))
    steps = (ends[:, 1] - ends[:, 0]) % (2 * np.pi)
    assert steps.sum() == pytest.approx(2 * np.pi)
    assert steps.min() >= 0.39 * 2 * np.pi / 20


def test_rotation_is_the_angle_of_the_first_vertex(corners):
    plain, turned = (angles(circle(SELF, cells=9, rotation=r), corners) for r in (0.0, 0.3))
    assert plain[0, 0] == 0
    assert np.allclose((turned - plain) % (2 * np.pi), 0.3, rtol=0, atol=1e-14)


@pytest.mark.parametrize("cells", [3, 40])
def test_perturbation_moves_vertices_by_at_most_its_share_of_an_edge(cells, corners):
    plain = angles(circle(SELF, cells=cells), corners)
    edge = 2 * np.sin(np.pi / cells)
    for seed in range(5):
        moved = angles(circle(SELF, cells=cells, perturbation=0.3, seed=seed), corners)
        shift = 2 * np.abs(np.sin((moved - plain) / 2)).max()
        assert 0.05 * edge < shift < 0.3 * edge + 1e-15
    assert np.array_equal(
        angles(circle(SELF, cells=cells, perturbation=0.3, seed=4), corners), moved
    )


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_perturbed_cells_are_not_folded(degree, measure, jacobians):
    for seed in range(5):
        domain = circle(SELF, cells=12, geometry_degree=degree, perturbation=0.3, seed=seed)
        values, _ = jacobians(domain)
        assert values.min() > 0.3 * 2 * np.pi / 12
        assert measure(domain) == pytest.approx(2 * np.pi, rel=0.04)


@pytest.mark.mpi
@pytest.mark.parametrize(("cells", "degree"), [(3, 2), (25, 1), (25, 2), (25, 3)])
def test_same_on_any_number_of_ranks(cells, degree, cells_differ):
    shape = {"cells": cells, "geometry_degree": degree}
    shared, alone = (
        circle(comm, **shape, rotation=0.3, perturbation=0.2, seed=5) for comm in (COMM, SELF)
    )
    assert cells_differ(shared, alone) == 0


@pytest.mark.mpi
def test_every_vertex_is_one_interior_facet():
    domain = circle(COMM, cells=25)
    facets = fem.form(fem.Constant(domain, 1.0) * ufl.dS(domain=domain))
    assert COMM.allreduce(fem.assemble_scalar(facets)) == pytest.approx(25)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"cells": 2}, "cells"),
        ({"cells": 3.5}, "cells"),
        ({"geometry_degree": 0}, "geometry_degree"),
        ({"geometry_degree": 4}, "geometry_degree"),
        ({"rotation": np.inf}, "rotation"),
        ({"perturbation": 0.4}, "perturbation"),
        ({"perturbation": np.nan}, "perturbation"),
        ({"seed": -1}, "seed"),
    ],
)
def test_refuses_what_makes_no_circle(wrong, name):
    with pytest.raises(ValueError, match=f"circle: {name}"):
        circle(SELF, **({"cells": 8} | wrong))


@pytest.mark.mpi
def test_refuses_on_every_rank():
    with pytest.raises(ValueError, match="circle: cells"):
        circle(COMM, cells=2)
