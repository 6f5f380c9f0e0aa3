"""Hulls whose vertices and distances are known: cubes, simplices, and flat ones."""

from itertools import product

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.stats import ortho_group

from meanformer.theory import Hull


def cube(dimension, inside=50, seed=0):
    """Corners of [-1, 1]^d, then points inside."""
    corners = np.array(list(product((-1.0, 1.0), repeat=dimension)))
    points = np.random.default_rng(seed).uniform(-0.99, 0.99, size=(inside, dimension))
    return np.concatenate([corners, points])


def turned(dimension, seed=1):
    """An isometry of R^d."""
    turn = np.eye(1) if dimension == 1 else ortho_group.rvs(dimension, random_state=seed)
    return lambda points: points @ turn + 3.0


@pytest.mark.parametrize("dimension", range(1, 7))
def test_a_turned_cube(dimension):
    points, move = cube(dimension), turned(dimension)
    hull = Hull(move(points))
    assert hull.dimension == dimension
    assert hull.vertices.tolist() == list(range(2**dimension))
    distances = hull.distance_to_boundary(move(points))
    assert np.abs(distances - (1 - np.abs(points).max(axis=1))).max() < 1e-13
    assert hull.outside(move(points)).max() < 1e-13
    beyond = 1.5 * points[-1:] / np.abs(points[-1:]).max()
    assert hull.outside(move(beyond)) == pytest.approx([0.5])
    assert hull.distance_to_boundary(move(beyond)) == pytest.approx([0.5])


@pytest.mark.parametrize("scale", [1e-100, 1.0, 1e100])
def test_a_hull_far_thinner_than_it_is_wide(scale):
    points = scale * cube(3) * [1.0, 1.0, 1e-7]
    hull = Hull(points)
    assert hull.dimension == 3 and hull.vertices.tolist() == list(range(8))
    assert hull.distance_to_boundary(np.zeros((1, 3))) == pytest.approx([1e-7 * scale])


@pytest.mark.parametrize(("flat", "dimension"), [(1, 2), (1, 3), (2, 3), (2, 5)])
def test_flat_hulls_are_their_own_boundary(flat, dimension):
    numbers = np.random.default_rng(dimension)
    points, move = np.zeros((2**flat + 20, dimension)), turned(dimension)
    points[:, :flat] = cube(flat, 20)
    noise = 1e-13 * numbers.normal(size=points.shape)
    hull = Hull(move(points) + noise)
    assert hull.dimension == flat
    assert hull.vertices.tolist() == list(range(2**flat))
    assert hull.distance_to_boundary(move(points)).max() < 1e-11
    others = np.zeros((2, dimension))
    others[0, -1] = 0.3  # off the span
    others[1, [0, -1]] = 1.3, 0.4  # and beyond an end
    assert hull.outside(move(others)) == pytest.approx([0.3, 0.5])
    assert hull.distance_to_boundary(move(others)) == pytest.approx([0.3, 0.5])


@pytest.mark.parametrize("dimension", [1, 2, 4])
@pytest.mark.parametrize("count", [1, 3])
def test_points_in_one_place(dimension, count):
    place = np.full((count, dimension), 2.0)
    hull = Hull(place)
    assert hull.dimension == 0 and hull.vertices.tolist() == [0]
    assert hull.distance_to_boundary(place).tolist() == [0.0] * count
    assert hull.outside(place + 1.0) == pytest.approx([np.sqrt(dimension)] * count)


@pytest.mark.parametrize("dimension", [2, 3, 4])
def test_vertices_are_what_no_others_are_a_mean_of(dimension):
    points = np.random.default_rng(dimension).normal(size=(40, dimension))
    extended = np.column_stack([points, np.ones(40)])
    extreme = []
    for i, point in enumerate(extended):
        others = np.delete(extended, i, axis=0).T
        if not linprog(np.zeros(39), A_eq=others, b_eq=point).success:
            extreme.append(i)
    assert Hull(points).vertices.tolist() == extreme
    # One of several in one place.
    twice = Hull(np.concatenate([points, points])).vertices
    assert sorted(twice % 40) == extreme


def test_fewer_points_than_dimensions():
    points = 5.0 * np.eye(6)[:3]
    hull = Hull(points)
    assert hull.dimension == 2 and hull.vertices.tolist() == [0, 1, 2]
    assert hull.outside(points.mean(axis=0, keepdims=True))[0] < 1e-14
    assert hull.outside(np.zeros((1, 6))) == pytest.approx([5 / np.sqrt(3)])


@pytest.mark.parametrize("points", [np.empty((0, 2)), np.ones(3), np.array([[np.inf, 0.0]])])
def test_wrong_points(points):
    with pytest.raises(ValueError, match="points must be finite"):
        Hull(points)
