"""The interaction energy: values, bounds, limits, and its rate along the flow."""

from mpi4py import MPI

import numpy as np
import pytest
from scipy.special import iv

from meanformer.attention import (
    Attention,
    Euclidean,
    Head,
    Sphere,
    energy_gradient,
    interaction_energy,
)
from meanformer.attention.laws import LAWS


def double_sum(beta, points, weights, query=None, key=None):
    x, w = points.astype(np.longdouble), weights.astype(np.longdouble)
    queries = x if query is None else x @ query.T
    keys = x if key is None else x @ key.T
    return w @ np.exp(beta * queries @ keys.T) @ w / (2 * beta)


@pytest.mark.parametrize("beta", [-9.0, -1e-3, 1e-3, 1.0, 9.0, 100.0])
@pytest.mark.parametrize("count", [50, 200])
def test_is_the_double_sum(on_sphere, beta, count):
    points = on_sphere(1, count)
    weights = np.random.default_rng(2).dirichlet(np.ones(count))
    energy = interaction_energy(Attention(beta=beta), points, weights, Sphere(3))
    assert energy == pytest.approx(double_sum(beta, points, weights), rel=1e-10)


@pytest.mark.parametrize("beta", [-100.0, -30.0, -9.0])
def test_is_the_double_sum_of_a_cluster_that_repels(on_sphere, beta):
    # All kernels are close to e^{beta}, far below the largest value e^{-beta} elsewhere.
    points = on_sphere(1, 200, centre=[0, 0, 1], width=0.1)
    weights = np.full(200, 1 / 200)
    energy = interaction_energy(Attention(beta=beta), points, weights, Sphere(3))
    assert energy == pytest.approx(double_sum(beta, points, weights), rel=1e-10)


def test_uses_queries_and_keys_but_neither_law_nor_value():
    rng = np.random.default_rng(3)
    points, weights = rng.normal(size=(60, 4)), rng.dirichlet(np.ones(60))
    query, key, value = rng.normal(size=(3, 4, 4)) / 2
    wanted = pytest.approx(double_sum(0.7, points, weights, query, key), rel=1e-13)
    for law in ("softmax", "unnormalised"):
        attention = Attention(law, 0.7, query, key, value)
        assert interaction_energy(attention, points, weights, Euclidean(4)) == wanted


@pytest.mark.parametrize("beta", [0.5, 4.0, 25.0])
class TestBounds:
    """w_0/(2 beta) <= E <= e^beta/(2 beta)."""

    def test_any_measure(self, on_sphere, beta):
        least, most = np.sinh(beta) / beta / (2 * beta), np.exp(beta) / (2 * beta)
        for seed in range(10):
            points = on_sphere(seed, 30, centre=[0, 0, 1], width=0.2 * (seed + 1))
            weights = np.random.default_rng(seed).dirichlet(np.ones(30))
            energy = interaction_energy(Attention(beta=beta), points, weights, Sphere(3))
            assert least < energy < most

    def test_a_point_mass_reaches_the_upper(self, beta):
        point = np.array([[2.0, -1.0, 2.0]]) / 3
        energy = interaction_energy(Attention(beta=beta), point, np.ones(1), Sphere(3))
        assert energy == pytest.approx(np.exp(beta) / (2 * beta), rel=1e-14 * (1 + beta))

    def test_the_uniform_measure_reaches_the_lower(self, product_rule, beta):
        points, area = product_rule(36)
        weights = area / (4 * np.pi)
        energy = interaction_energy(Attention(beta=beta), points, weights, Sphere(3))
        assert energy == pytest.approx(np.sinh(beta) / beta / (2 * beta), rel=1e-11)

    def test_so_it_does_on_the_circle(self, beta):
        angle = 2 * np.pi * np.arange(128) / 128
        points = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        energy = interaction_energy(Attention(beta=beta), points, np.full(128, 1 / 128), Sphere(2))
        assert energy == pytest.approx(iv(0, beta) / (2 * beta), rel=1e-13)


def test_beta_zero_is_the_limit_without_its_constant(on_sphere):
    # E - 1/(2 beta) = |mean|^2/2 + beta <second moments>/4 + ..., for mass one.
    points = on_sphere(1, 300, centre=[0, 0, 1], width=1.0)
    weights = np.random.default_rng(4).dirichlet(np.ones(300))
    limit = interaction_energy(Attention(beta=0.0), points, weights, Sphere(3))
    second = (points * weights[:, None]).T @ points
    for beta in (1e-2, -1e-2, 1e-3):
        energy = interaction_energy(Attention(beta=beta), points, weights, Sphere(3))
        wanted = limit + beta * np.sum(second**2) / 4
        # The next term of the series is beta^2/12 at most; round-off is that of 1/(2 beta).
        assert abs(energy - 1 / (2 * beta) - wanted) <= beta**2 / 12 + 1e-11 / abs(beta)


class TestOtherLaws:
    @pytest.mark.parametrize("beta", [-2.0, 3.0])
    def test_of_the_l2_law_is_the_double_sum(self, beta):
        rng = np.random.default_rng(5)
        x, w = rng.normal(size=(40, 2)), rng.dirichlet(np.ones(40))
        query, key = rng.normal(size=(2, 3, 2)) / 2
        squares = ((x @ query.T)[:, None] - x @ key.T) ** 2
        wanted = w @ np.exp(-beta * squares.sum(axis=2)) @ w / (2 * beta)
        energy = interaction_energy(Attention("l2", beta, query, key), x, w, Euclidean(2))
        assert energy == pytest.approx(wanted, rel=1e-9)
        limit = interaction_energy(Attention("l2", 0.0, query, key), x, w, Euclidean(2))
        assert limit == pytest.approx(-w @ squares.sum(axis=2) @ w / 2, rel=1e-13)

    def test_of_the_linear_law_is_the_double_sum(self):
        rng = np.random.default_rng(6)
        x, w = rng.normal(size=(40, 2)), rng.dirichlet(np.ones(40))
        query, key = rng.normal(size=(2, 3, 2))
        squares = (0.7 * (x @ query.T) @ (x @ key.T).T) ** 2
        energy = interaction_energy(Attention("linear", 0.7, query, key), x, w, Euclidean(2))
        assert energy == pytest.approx(w @ squares @ w / (4 * 0.7), rel=1e-13)

    @pytest.mark.parametrize("law", ["l2", "linear", "sinkhorn"])
    @pytest.mark.parametrize("beta", [-1.0, 3.0])
    def test_rate_is_the_dissipation(self, on_sphere, law, beta):
        # dE/dt = int |v|^2 (linear, sinkhorn), 2 int Z |v|^2 (l2): a gradient flow.
        space, x, w = Sphere(3), on_sphere(7, 60, centre=[0, 0, 1], width=1.0), np.full(60, 1 / 60)
        attention = Attention(law, beta)
        field = attention.evaluate(x, x, w, space, 1e-12)
        h = 1e-4
        ahead, behind = (
            interaction_energy(attention, space.retract(x + s * field.velocity), w, space)
            for s in (h, -h)
        )
        factor = 2 * np.exp(field.log_partition[0]) if law == "l2" else 1.0
        dissipation = np.sum(w * factor * (field.velocity**2).sum(axis=1))
        assert (ahead - behind) / (2 * h) == pytest.approx(dissipation, rel=1e-5)

    def test_of_several_heads_is_the_sum(self, on_sphere):
        x, w = on_sphere(8, 30), np.full(30, 1 / 30)
        heads = [Head(2.0), Head(None, -1.0, 5.0)]
        both = interaction_energy(Attention(beta=1.5, heads=heads), x, w, Sphere(3))
        wanted = double_sum(3.0, x, w) * 2 + double_sum(-1.5, x, w) * -1
        assert both == pytest.approx(wanted, rel=1e-10)

    @pytest.mark.parametrize("law", ["sigmoid", "hardmax"])
    def test_some_have_none(self, on_sphere, law):
        with pytest.raises(ValueError, match=r"law.*softmax"):
            interaction_energy(Attention(law), on_sphere(1, 5), np.full(5, 0.2), Sphere(3))


@pytest.mark.mpi
@pytest.mark.parametrize("beta", [0.0, 1.0, 9.0])
@pytest.mark.parametrize("count", [60, 400])
def test_does_not_depend_on_the_ranks(on_sphere, share, beta, count):
    points = on_sphere(1, count)
    weights = np.random.default_rng(2).dirichlet(np.ones(count))
    attention, space = Attention(beta=beta), Sphere(3)
    alone = interaction_energy(attention, points, weights, space)
    for only in (None, 0):
        together = interaction_energy(
            attention, share(points, only), share(weights, only), space, MPI.COMM_WORLD
        )
        assert together == pytest.approx(alone, rel=1e-13)


class TestGradient:
    """The rate of the energy along any motion of the points is the integral of the gradient."""

    @pytest.mark.parametrize("space", [Sphere(2), Sphere(3), Euclidean(1), Euclidean(3)], ids=str)
    @pytest.mark.parametrize("law", [name for name, law in LAWS.items() if law.energetic])
    @pytest.mark.parametrize("beta", [-1.5, 0.0, 2.0])
    @pytest.mark.parametrize("matrices", ["multiples", "other", "heads"])
    def test_rate_along_a_motion(self, space, law, beta, matrices):
        rng = np.random.default_rng(5)
        d, count = space.dimension, 40
        points = space.retract(rng.normal(size=(count, d)))
        along = space.tangent(points, rng.normal(size=(count, d)))
        weights = rng.dirichlet(np.ones(count))
        query, key = rng.normal(size=(2, 2, d)) / 2
        attention = {
            "multiples": Attention(law, beta, 0.8, 0.9),
            "other": Attention(law, beta, query, key),
            "heads": Attention(law, beta, heads=[Head(query, key), Head(0.5, 1.5)]),
        }[matrices]
        h = 1e-4
        ahead, behind = (
            interaction_energy(attention, space.retract(points + s * along), weights, space)
            for s in (h, -h)
        )
        gradient = energy_gradient(attention, points, weights, space)
        rate = float(weights @ (gradient * along).sum(axis=1))
        assert abs((ahead - behind) / (2 * h) - rate) < 2e-6 * (1 + abs(rate))

    @pytest.mark.parametrize("law", ["softmax", "unnormalised", "linear", "sinkhorn", "l2"])
    def test_the_velocity_follows_it(self, law):
        points = Sphere(3).retract(np.random.default_rng(1).normal(size=(50, 3)))
        weights = np.full(50, 0.02)
        attention = Attention(law, 1.5)
        field = attention.evaluate(points, points, weights, Sphere(3))
        scale = np.exp(field.log_partition[0])[:, None] if law in ("softmax", "l2") else 1.0
        gradient = energy_gradient(attention, points, weights, Sphere(3))
        wanted = field.velocity * scale * (2 if law == "l2" else 1)
        assert np.abs(gradient - wanted).max() < 1e-7 * np.abs(wanted).max()

    def test_a_law_without_energy(self):
        with pytest.raises(ValueError, match="sigmoid"):
            energy_gradient(Attention("sigmoid"), np.ones((1, 2)), np.ones(1), Euclidean(2))
