"""Linear attention with a feature map, beyond what every law is tested for."""

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.attention import Attention, Euclidean, Sphere


@pytest.mark.parametrize("size", [1.0, 1e3, 1e6])
@pytest.mark.parametrize("beta", [-1.0, 1.0])
def test_features_beyond_double_precision(reference, size, beta):
    # e^{-1e3} is none of its numbers, but the average is.
    rng = np.random.default_rng(1)
    points, targets = size * rng.normal(size=(50, 2)), size * rng.normal(size=(20, 2))
    targets[0], weights = [-size, -size], rng.dirichlet(np.ones(50))
    weights[np.argmax(points[:, 0])] = 0.0
    attention, plane = Attention("feature-map", beta), Euclidean(2)
    wanted = reference(attention, targets, points, weights, spherical=False)
    field = attention.evaluate(targets, points, weights, plane)
    assert np.all(np.linalg.norm(field.velocity - wanted.velocity, axis=1) < 1e-11 * wanted.terms)
    round_off = 1e-12 * np.maximum(1, np.abs(wanted.log_partition))
    assert np.all(np.abs(field.log_partition - wanted.log_partition) < round_off)


@pytest.mark.parametrize("beta", [-3.0, 1.0, 9.0])
def test_rate_bounds_the_derivative_of_the_velocity(on_sphere, beta):
    rng, space = np.random.default_rng(2), Sphere(3)
    points, weights = on_sphere(3, 80, centre=[0, 0, 1], width=0.5), np.full(80, 1 / 80)
    x = on_sphere(4, 60)
    along = space.tangent(x, rng.normal(size=x.shape))
    along /= np.linalg.norm(along, axis=1)[:, None]
    for _ in range(5):
        attention = Attention("feature-map", beta, *rng.normal(size=(3, 3, 3)))
        field = attention.evaluate(x, points, weights, space)
        h = 1e-5
        ahead, behind = (
            attention.velocity(space.retract(x + s * along), points, weights, space)
            for s in (h, -h)
        )
        slopes = np.linalg.norm(ahead - behind, axis=1) / (2 * h)
        assert slopes.max() <= attention.rate_bound(field, space) * (1 + 1e-6)


def test_other_backends_cannot_serve():
    points = np.eye(3)
    attention = Attention("feature-map")
    (plan,) = attention.plan(points, points, Sphere(3))
    assert plan.backend == "moments"
    with pytest.raises(ValueError, match="auto"):
        attention.plan(points, points, Sphere(3), backend="direct")


@pytest.mark.mpi
@pytest.mark.parametrize("only", [None, 0])
def test_ranks_agree_with_one(share, gather, only):
    rng, space = np.random.default_rng(5), Euclidean(2)
    points, targets = 300 * rng.normal(size=(90, 2)), rng.normal(size=(40, 2))
    weights, attention = rng.dirichlet(np.ones(90)), Attention("feature-map", 2.0)
    alone = attention.velocity(targets, points, weights, space)
    together = attention.velocity(
        share(targets), share(points, only), share(weights, only), space, comm=MPI.COMM_WORLD
    )
    assert np.abs(gather(together) - alone).max() < 1e-12 * np.abs(alone).max()
