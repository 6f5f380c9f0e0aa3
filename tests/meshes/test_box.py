"""Boxes in one to three dimensions."""

from math import factorial

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.meshes import box

COMM, SELF = MPI.COMM_WORLD, MPI.COMM_SELF
WIDTHS = [0.5, 1.5, 2.5]


@pytest.mark.mpi
@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize("cells", [1, 4])
def test_counts(dimension, cells, facet_counts, euler_characteristic):
    domain = box(COMM, half_width=2.0, cells=cells, dimension=dimension)
    assert domain.topology.dim == dimension
    assert domain.geometry.dim == dimension
    number = factorial(dimension) * cells**dimension
    outer = 2 * dimension * factorial(dimension - 1) * cells ** (dimension - 1)
    assert domain.topology.index_map(dimension).size_global == number
    assert domain.topology.index_map(0).size_global == (cells + 1) ** dimension
    assert facet_counts(domain) == (outer, (number * (dimension + 1) - outer) // 2)
    assert euler_characteristic(domain) == 1


@pytest.mark.mpi
@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize("perturbation", [0.0, 0.3])
def test_fills_the_box(dimension, perturbation, turn, measure):
    widths = WIDTHS[:dimension]
    domain = box(COMM, half_width=widths, cells=5, dimension=dimension, perturbation=perturbation)
    assert measure(domain) == pytest.approx(np.prod(widths) * 2**dimension, rel=1e-13)
    extent = np.abs(domain.geometry.x[:, :dimension]).max(axis=0, initial=0)
    assert np.allclose(np.max(COMM.allgather(extent), axis=0), widths, rtol=1e-15)
    turned = box(
        COMM,
        half_width=widths,
        cells=5,
        dimension=dimension,
        rotation=turn(dimension),
        perturbation=perturbation,
    )
    assert measure(turned) == pytest.approx(np.prod(widths) * 2**dimension, rel=1e-13)


@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize("perturbation", [0.0, 0.3])
def test_boundary_facets_are_on_the_boundary(dimension, perturbation, boundary_nodes):
    widths = WIDTHS[:dimension]
    domain = box(SELF, half_width=widths, cells=4, dimension=dimension, perturbation=perturbation)
    facets = boundary_nodes(domain)
    assert len(facets) == 2 * dimension * factorial(dimension - 1) * 4 ** (dimension - 1)
    on_face = np.isclose(np.abs(facets), widths, rtol=0, atol=1e-13).all(axis=1)
    assert on_face.any(axis=1).all()


@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize("cells", [2, 7])
def test_perturbed_cells_are_not_folded(dimension, cells, jacobians):
    widths = np.array(WIDTHS[:dimension])
    before = np.prod(2 * widths / cells)
    for seed in range(4):
        values, _ = jacobians(
            box(
                SELF,
                half_width=widths,
                cells=cells,
                dimension=dimension,
                perturbation=0.3,
                seed=seed,
            )
        )
        assert values.min() >= 0.299 * before


@pytest.mark.parametrize(
    ("dimension", "plain", "perturbed"), [(1, 1, 1), (2, 2.1, 9), (3, 2.5, 16)]
)
def test_aspect_ratio_is_bounded(dimension, plain, perturbed, aspect_ratio):
    for cells in (2, 4, 8):
        assert (
            aspect_ratio(box(SELF, half_width=1.0, cells=cells, dimension=dimension)).max() <= plain
        )
        domain = box(SELF, half_width=1.0, cells=cells, dimension=dimension, perturbation=0.3)
        assert aspect_ratio(domain).max() <= perturbed


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_perturbation_moves_vertices_by_at_most_its_share_of_an_edge(dimension, ordered_nodes):
    plain, moved = (
        ordered_nodes(box(SELF, half_width=6.0, cells=6, dimension=dimension, perturbation=p))
        for p in (0.0, 0.3)
    )
    mean = [1, (2 + np.sqrt(2)) / 3, (3 + 3 * np.sqrt(2) + np.sqrt(3)) / 7][dimension - 1]
    shift = np.linalg.norm(moved - plain, axis=1)
    assert 0.3 * mean < shift.max() <= 0.32 * 2 * mean
    # Vertices stay on the faces, edges and corners that they are on.
    stays = np.isclose(np.abs(plain), 6.0)
    assert np.array_equal(moved[stays], plain[stays])
    inner = ~stays.any(axis=1)
    assert (shift[inner] > 0).all()
    if dimension > 1:
        sliding = stays.any(axis=1) & ~stays.all(axis=1)
        assert (shift[sliding] > 0).all()


def test_no_reflection_maps_the_square_onto_itself(corners):
    def edges(points):
        ends = np.concatenate([np.delete(points, k, axis=1) for k in range(3)])
        return {tuple(np.round(e[np.lexsort(e.T)], 9).ravel() + 0.0) for e in ends}

    for cells in (5, 6, 8, 10):
        points = corners(box(SELF, half_width=1.0, cells=cells, dimension=2))
        for reflection in ([-1, 1], [1, -1]):
            assert edges(points * reflection) != edges(points)
        for sign in (1, -1):
            assert edges(sign * points[..., ::-1]) != edges(points)


def test_rotation_turns_every_node(turn, ordered_nodes):
    matrix = turn(3)
    plain = ordered_nodes(box(SELF, half_width=WIDTHS, cells=3, dimension=3, perturbation=0.2))
    turned = ordered_nodes(
        box(SELF, half_width=WIDTHS, cells=3, dimension=3, rotation=matrix, perturbation=0.2)
    )
    assert np.abs(turned - plain @ matrix.T).max() < 1e-14
    mirrored = ordered_nodes(box(SELF, half_width=2.0, cells=4, dimension=1, rotation=[[-1.0]]))
    assert np.array_equal(mirrored, -ordered_nodes(box(SELF, half_width=2.0, cells=4, dimension=1)))


def test_the_perturbation_depends_on_the_seed_alone(ordered_nodes):
    one, again, other = (
        ordered_nodes(box(SELF, half_width=1.0, cells=4, dimension=2, perturbation=0.2, seed=s))
        for s in (1, 1, 2)
    )
    assert np.array_equal(one, again)
    assert np.abs(one - other).max() > 1e-3


@pytest.mark.mpi
@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize("cells", [1, 4])
def test_same_on_any_number_of_ranks(dimension, cells, turn, cells_differ):
    shape = {"half_width": WIDTHS[:dimension], "cells": cells, "dimension": dimension}
    shared, alone = (
        box(comm, **shape, rotation=turn(dimension), perturbation=0.3, seed=5)
        for comm in (COMM, SELF)
    )
    assert cells_differ(shared, alone) == 0


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"half_width": 0.0}, "half_width"),
        ({"half_width": np.inf}, "half_width"),
        ({"half_width": [1.0]}, "half_width"),
        ({"half_width": [1.0, np.nan]}, "half_width"),
        ({"cells": 0}, "cells"),
        ({"cells": 2.0}, "cells"),
        ({"dimension": 4}, "dimension"),
        ({"dimension": 0}, "dimension"),
        ({"rotation": np.eye(3)}, "rotation"),
        ({"rotation": 2 * np.eye(2)}, "rotation"),
        ({"perturbation": 0.31}, "perturbation"),
        ({"seed": -1}, "seed"),
    ],
)
def test_refuses_what_makes_no_box(wrong, name):
    with pytest.raises(ValueError, match=f"box: {name}"):
        box(SELF, **({"half_width": 1.0, "cells": 2, "dimension": 2} | wrong))


@pytest.mark.mpi
def test_refuses_on_every_rank():
    with pytest.raises(ValueError, match="box: cells"):
        box(COMM, half_width=1.0, cells=0, dimension=2)
