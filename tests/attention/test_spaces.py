"""The sphere and R^d: projections, retractions and who belongs."""

import numpy as np
import pytest

from meanformer.attention import Euclidean, Sphere


@pytest.mark.parametrize("dimension", [2, 3, 7, 64])
class TestSphere:
    def vectors(self, dimension):
        rng = np.random.default_rng(dimension)
        return rng.normal(size=(100, dimension)), rng.normal(size=(100, dimension))

    def test_tangent_is_the_orthogonal_projection(self, dimension):
        space, (points, w) = Sphere(dimension), self.vectors(dimension)
        x = space.retract(points)
        projected = space.tangent(x, w)
        assert np.abs(np.einsum("ij,ij->i", projected, x)).max() < 1e-14
        assert np.abs(space.tangent(x, projected) - projected).max() < 1e-14
        removed = w - projected
        along = np.einsum("ij,ij->i", removed, x)[:, None] * x
        assert np.abs(removed - along).max() < 1e-14

    def test_tangent_takes_points_of_any_numbers(self, dimension):
        # Rows of the identity, in integers: a coordinate vanishes.
        space, (_, w) = Sphere(dimension), self.vectors(dimension)
        wanted = w[:dimension] * (1 - np.eye(dimension))
        assert np.array_equal(space.tangent(np.eye(dimension, dtype=int), w[:dimension]), wanted)
        with pytest.raises(ValueError, match="tangent: points have shape"):
            space.tangent(np.eye(dimension), w[: dimension + 1])

    def test_retract_is_the_nearest_point(self, dimension):
        space, (points, other) = Sphere(dimension), self.vectors(dimension)
        x = space.retract(points)
        assert np.abs(np.linalg.norm(x, axis=1) - 1).max() < 1e-15
        distance = np.linalg.norm(points - x, axis=1)
        assert np.all(distance <= np.linalg.norm(points - space.retract(other), axis=1))

    def test_retract_is_of_second_order(self, dimension):
        # x + h w retracts to x + h P_x w + O(h^2): the projection is its derivative.
        space, (points, w) = Sphere(dimension), self.vectors(dimension)
        x, h = space.retract(points), 1e-5
        slope = (space.retract(x + h * w) - space.retract(x - h * w)) / (2 * h)
        scale = np.linalg.norm(w, axis=1).max() ** 3
        assert np.abs(slope - space.tangent(x, w)).max() < h**2 * scale + 1e-10

    def test_holds_unit_vectors_only(self, dimension):
        space, (points, _) = Sphere(dimension), self.vectors(dimension)
        x = space.retract(points)
        assert space.holds(x)
        assert space.holds(x[:0])
        assert not space.holds(points)
        x[50] *= 1 + 1e-5
        assert not space.holds(x)


@pytest.mark.parametrize("dimension", [1, 2, 64])
def test_euclidean_space_changes_nothing(dimension):
    rng = np.random.default_rng(1)
    points, vectors = rng.normal(size=(2, 10, dimension))
    space = Euclidean(dimension)
    assert np.array_equal(space.tangent(points, vectors), vectors)
    assert np.array_equal(space.retract(points), points)
    assert space.holds(1e9 * points)


@pytest.mark.parametrize(("space", "least"), [(Sphere, 2), (Euclidean, 1)])
def test_dimensions_have_a_least(space, least):
    assert space(least).dimension == least
    with pytest.raises(ValueError, match=f"at least {least}"):
        space(least - 1)
    with pytest.raises(ValueError, match="integer"):
        space(least + 0.5)


def test_spaces_compare_by_kind_and_dimension():
    assert Sphere(3) == Sphere(3)
    assert Sphere(3) != Sphere(4)
    assert Sphere(3) != Euclidean(3)
