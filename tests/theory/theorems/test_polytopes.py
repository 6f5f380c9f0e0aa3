"""Points of a polytope where rescaled tokens may rest."""

from itertools import pairwise, product

import numpy as np
import pytest

from meanformer.theory.theorems.polytopes import limit_points

SQUARE = np.array(list(product([-1.0, 1.0], repeat=2)))
CUBE = np.array(list(product([-1.0, 1.0], repeat=3)))


def same(found, expected):
    return np.allclose(
        np.array(sorted(map(tuple, np.round(found, 9)))), sorted(map(tuple, expected))
    )


def test_of_a_square_they_are_corners_and_midpoints():
    midpoints = [(1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)]
    assert same(limit_points(SQUARE, np.eye(2)), [*map(tuple, SQUARE), *midpoints])


def test_of_a_cube_they_are_one_for_each_face():
    found = limit_points(CUBE, np.eye(3))
    assert len(found) == 8 + 12 + 6
    assert sorted(np.unique(np.abs(found).sum(axis=1).round(12))) == [1, 2, 3]


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_each_is_among_its_own_maximisers(dimension):
    rng = np.random.default_rng(dimension)
    for _ in range(20):
        vertices = rng.normal(size=(7, dimension))
        root = rng.normal(size=(dimension, dimension))
        form = root @ root.T + 0.1 * np.eye(dimension)
        found = limit_points(vertices, form)
        heights = found @ form @ vertices.T
        assert heights.max(axis=1) == pytest.approx(np.einsum("ij,jk,ik->i", found, form, found))
        # The map x -> A x takes them to those of the identity.
        factor = np.linalg.cholesky(form).T
        assert same(found @ factor.T, limit_points(vertices @ factor.T, np.eye(dimension)).round(9))


def test_none_is_left_out():
    # A token moves to the maximisers' mean; it rests at no other point of a grid on the boundary.
    form = np.array([[2.0, 0.7], [0.7, 1.0]])
    vertices = np.array([[2.0, -1.0], [1.5, 2.0], [-1.0, 1.0], [-0.5, -2.0]])
    found = limit_points(vertices, form)
    ring = [0, 1, 2, 3, 0]
    for a, b in pairwise(ring):
        for share in np.linspace(0, 1, 2001):
            x = (1 - share) * vertices[a] + share * vertices[b]
            excess = (vertices @ form @ x).max() - x @ form @ x
            if excess < 1e-6:
                assert np.linalg.norm(found - x, axis=1).min() < 2e-3


def test_flat_and_small_polytopes():
    assert same(limit_points(np.array([[1.0], [3.0]]), np.eye(1)), [(3.0,)])
    segment = np.array([[1.0, -1.0], [1.0, 3.0]])
    assert same(limit_points(segment, np.eye(2)), [(1.0, -1.0), (1.0, 3.0), (1.0, 0.0)])
    triangle = np.array([[2.0, 0, 1], [-1, 1, 1], [-1, -1, 1]])
    assert (0.0, 0.0, 1.0) in {tuple(x) for x in limit_points(triangle, np.eye(3)).round(12)}
    assert same(limit_points(np.zeros((2, 2)), np.eye(2)), [(0.0, 0.0)])
    assert same(limit_points(np.array([[2.0, 1.0]]), np.eye(2)), [(2.0, 1.0)])
