"""The disk and the ball, with curved boundaries."""

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.meshes import ball

COMM, SELF = MPI.COMM_WORLD, MPI.COMM_SELF
EXACT = {2: np.pi, 3: 4 / 3 * np.pi}
NUMBER = {2: 6, 3: 20}


@pytest.mark.mpi
@pytest.mark.parametrize(("dimension", "degree"), [(2, 1), (2, 2), (3, 1), (3, 2)])
@pytest.mark.parametrize("cells", [1, 3])
def test_counts(dimension, degree, cells, facet_counts, euler_characteristic):
    domain = ball(COMM, radius=2.0, cells=cells, dimension=dimension, geometry_degree=degree)
    assert domain.topology.dim == dimension
    assert domain.geometry.dim == dimension
    number = NUMBER[dimension] * cells**dimension
    outer = NUMBER[dimension] * cells ** (dimension - 1)
    assert domain.topology.index_map(dimension).size_global == number
    assert facet_counts(domain) == (outer, (number * (dimension + 1) - outer) // 2)
    assert euler_characteristic(domain) == 1


@pytest.mark.parametrize(("degree", "order"), [(1, 1.9), (2, 3.8)])
@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("perturbation", [0.0, 0.2])
def test_volume_converges(dimension, degree, order, perturbation, turn, measure):
    exact = EXACT[dimension] * 1.5**dimension
    errors = [
        abs(
            measure(
                ball(
                    SELF,
                    radius=1.5,
                    cells=n,
                    dimension=dimension,
                    geometry_degree=degree,
                    rotation=turn(dimension),
                    perturbation=perturbation,
                )
            )
            - exact
        )
        for n in (2, 4, 8)
    ]
    assert errors[-1] < {1: 0.05, 2: 1e-4}[degree] * exact
    # Perturbed meshes are not nested: fit the rate over two refinements.
    assert np.log2(errors[0] / errors[-1]) / 2 >= order


@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("perturbation", [0.0, 0.3])
def test_nodes_of_boundary_facets_are_on_the_sphere(
    dimension, degree, perturbation, turn, boundary_nodes
):
    domain = ball(
        SELF,
        radius=3.0,
        cells=4,
        dimension=dimension,
        geometry_degree=degree,
        rotation=turn(dimension),
        perturbation=perturbation,
    )
    nodes = boundary_nodes(domain)
    per_facet = {(2, 1): 2, (2, 2): 3, (3, 1): 3, (3, 2): 6}[dimension, degree]
    assert nodes.shape == (NUMBER[dimension] * 4 ** (dimension - 1), per_facet, dimension)
    assert np.abs(np.linalg.norm(nodes, axis=2) - 3).max() < 3e-15
    # All others are inside.
    distance = np.linalg.norm(domain.geometry.x, axis=1)
    outer = len(np.unique(np.round(nodes.reshape(-1, dimension), 9), axis=0))
    assert (distance > 3 - 1e-9).sum() == outer


@pytest.mark.parametrize("dimension", [2, 3])
def test_nodes_of_neighbours_meet(dimension):
    # One geometry node a vertex and an edge, and none doubled.
    domain = ball(
        SELF, radius=1.0, cells=3, dimension=dimension, geometry_degree=2, perturbation=0.2
    )
    topology, x = domain.topology, domain.geometry.x
    topology.create_entities(1)
    assert len(x) == topology.index_map(0).size_local + topology.index_map(1).size_local
    distance = np.linalg.norm(x[:, None] - x[None], axis=-1) + np.eye(len(x))
    assert distance.min() > 0.03


@pytest.mark.parametrize(("dimension", "plain", "perturbed"), [(2, 2.1, 8), (3, 3.2, 20)])
def test_aspect_ratio_is_bounded(dimension, plain, perturbed, aspect_ratio):
    for cells in (1, 2, 4, 8):
        assert aspect_ratio(ball(SELF, radius=1.0, cells=cells, dimension=dimension)).max() <= plain
        domain = ball(SELF, radius=1.0, cells=cells, dimension=dimension, perturbation=0.3)
        assert aspect_ratio(domain).max() <= perturbed


@pytest.mark.parametrize("dimension", [2, 3])
def test_cells_are_of_like_size(dimension, jacobians):
    for cells in (2, 4, 8):
        values, weights = jacobians(ball(SELF, radius=1.0, cells=cells, dimension=dimension))
        volumes = values @ weights
        assert volumes.max() < 2.5 * volumes.min()


@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("cells", [1, 2, 6])
def test_perturbed_cells_are_not_folded(dimension, cells, degree, jacobians):
    smallest, _ = jacobians(
        ball(SELF, radius=1.0, cells=cells, dimension=dimension, geometry_degree=degree)
    )
    assert smallest.min() > 0
    for seed in range(4):
        domain = ball(
            SELF,
            radius=1.0,
            cells=cells,
            dimension=dimension,
            geometry_degree=degree,
            perturbation=0.3,
            seed=seed,
        )
        assert jacobians(domain)[0].min() > 0.25 * smallest.min()


@pytest.mark.parametrize("dimension", [2, 3])
def test_perturbation_moves_vertices_by_at_most_its_share_of_an_edge(dimension, ordered_nodes):
    plain, moved = (
        ordered_nodes(
            ball(
                SELF,
                radius=1.0,
                cells=6,
                dimension=dimension,
                geometry_degree=1,
                perturbation=p,
            )
        )
        for p in (0.0, 0.3)
    )
    shift = np.linalg.norm(moved - plain, axis=1)
    # The mean edge is a little longer than a sixth of the radius.
    assert 0.15 / 6 < shift.max() < 1.3 * 0.3 / 6
    assert (shift > 0).all()


def test_the_perturbation_depends_on_the_seed_alone(ordered_nodes):
    one, again, other = (
        ordered_nodes(ball(SELF, radius=1.0, cells=4, dimension=2, perturbation=0.2, seed=s))
        for s in (1, 1, 2)
    )
    assert np.array_equal(one, again)
    assert np.abs(one - other).max() > 1e-3


def test_rotation_turns_every_node(turn, ordered_nodes):
    matrix = turn(3)
    plain = ordered_nodes(ball(SELF, radius=2.0, cells=2, dimension=3, perturbation=0.2))
    turned = ordered_nodes(
        ball(SELF, radius=2.0, cells=2, dimension=3, rotation=matrix, perturbation=0.2)
    )
    assert np.abs(turned - plain @ matrix.T).max() < 2e-15


@pytest.mark.mpi
@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize(("dimension", "cells"), [(2, 1), (2, 5), (3, 1), (3, 3)])
def test_same_on_any_number_of_ranks(dimension, cells, degree, turn, cells_differ):
    shape = {"radius": 2.0, "cells": cells, "dimension": dimension, "geometry_degree": degree}
    shared, alone = (
        ball(comm, **shape, rotation=turn(dimension), perturbation=0.3, seed=5)
        for comm in (COMM, SELF)
    )
    assert cells_differ(shared, alone) == 0


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"radius": 0.0}, "radius"),
        ({"radius": np.nan}, "radius"),
        ({"radius": [1.0, 2.0]}, "radius"),
        ({"cells": 0}, "cells"),
        ({"cells": 1.5}, "cells"),
        ({"dimension": 1}, "dimension"),
        ({"dimension": 4}, "dimension"),
        ({"geometry_degree": 3}, "geometry_degree"),
        ({"rotation": np.eye(3)}, "rotation"),
        ({"rotation": 2 * np.eye(2)}, "rotation"),
        ({"perturbation": -0.1}, "perturbation"),
        ({"seed": 0.5}, "seed"),
    ],
)
def test_refuses_what_makes_no_ball(wrong, name):
    with pytest.raises(ValueError, match=f"ball: {name}"):
        ball(SELF, **({"radius": 1.0, "cells": 2, "dimension": 2} | wrong))


@pytest.mark.mpi
def test_refuses_on_every_rank():
    with pytest.raises(ValueError, match="ball: cells"):
        ball(COMM, radius=1.0, cells=0, dimension=2)
