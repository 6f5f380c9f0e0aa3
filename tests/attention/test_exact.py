"""Exact solutions against the closed forms of the papers."""

import numpy as np
import pytest
from scipy.linalg import expm
from scipy.special import lambertw

from meanformer.attention import Attention, Euclidean, Head, LinearDrift, Perceptron, Sphere
from meanformer.attention.exact import exact_solution, exact_velocity, mean_length
from meanformer.attention.measures import (
    AngularGaussian,
    Box,
    Gaussian,
    Mixture,
    PoissonKernel,
    Uniform,
    VonMisesFisher,
    uniform_numbers,
)


def moments(attention, start, time, temperature=0.0):
    return exact_solution(attention, start, time, temperature).moments()


class TestPoissonKernel:
    @pytest.mark.parametrize(
        "time, length",
        [(0.5, 0.5147863920), (1.0, 0.6473419475), (2.0, 0.8683197557), (4.0, 0.9935316179)],
    )
    def test_mean_on_the_sphere(self, time, length):
        start = PoissonKernel((0.0, 0.18, 0.24))
        end = exact_solution(Attention(beta=0.0), start, time)
        radius = np.linalg.norm(end.vector)
        assert abs(mean_length(radius, 3) - length) < 1e-9
        assert np.allclose(np.array(end.vector) / radius, [0.0, 0.6, 0.8], atol=1e-14)

    @pytest.mark.parametrize("value", [1.0, -1.0, 0.5])
    def test_radius_on_the_circle(self, value):
        end = exact_solution(Attention(beta=0.0, value=value), PoissonKernel((0.3, 0.4)), 1.3)
        square = 0.25 / 0.75 * np.exp(1.3 * value)
        assert np.linalg.norm(end.vector) == pytest.approx(
            np.sqrt(square / (1 + square)), rel=1e-11
        )

    def test_the_mean_near_zero_is_continuous(self):
        below, above = mean_length(0.01 - 1e-15, 3), mean_length(0.01, 3)
        assert abs(below - above) < 1e-12
        assert mean_length(1e-8, 3) == pytest.approx(4e-8 / 3, rel=1e-12)

    def test_unknown(self):
        start = PoissonKernel((0.0, 0.0, 0.5))
        for attention in (
            Attention(beta=1.0),
            Attention("l2", 0.0),
            Attention(value=np.eye(3)[::-1]),
        ):
            assert exact_solution(attention, start, 1.0) is None
        assert exact_solution(Attention(beta=0.0), start, 1.0, temperature=0.1) is None
        assert (
            exact_solution(Attention(beta=0.0), VonMisesFisher((1.0, 0.0, 0.0), 2.0), 1.0) is None
        )
        # The mean's length is another function of |a| on larger spheres.
        assert exact_solution(Attention(beta=0.0), PoissonKernel((0.0, 0.0, 0.0, 0.5)), 1.0) is None


class TestSoftmax:
    """arXiv 2501.18322."""

    @pytest.mark.parametrize("sign", [1.0, -1.0])
    def test_isotropic(self, sign):
        a, s0, t = 0.4, 0.7, 0.9
        mean, covariance = moments(Attention(beta=a, value=sign), Gaussian((0.3, -0.2), s0), t)
        factor = 1 - 2 * sign * a * s0 * t
        assert np.allclose(covariance, s0 / factor * np.eye(2), rtol=1e-11)
        assert np.allclose(mean, np.array([0.3, -0.2]) * np.exp(sign * t) / np.sqrt(factor))

    def test_any_logits_without_a_value(self):
        query = np.array([[0.3, 0.2], [-0.4, 0.1]])
        start = np.array([[0.8, 0.1], [0.1, 0.5]])
        _, covariance = moments(Attention(beta=1.0, query=query), Gaussian((0.0, 0.0), start), 0.8)
        inverse = np.linalg.inv(start) - 0.8 * (query + query.T)
        assert np.allclose(np.linalg.inv(covariance), inverse, rtol=1e-10)

    def test_noise(self):
        a, kappa, s0, t = 0.5, 0.2, 0.1, 0.7
        _, covariance = moments(Attention(beta=a, value=-1.0), Gaussian((0.0,), s0), t, kappa)
        limit = np.sqrt(kappa / a)
        exact = limit * np.tanh(2 * np.sqrt(a * kappa) * t + np.arctanh(s0 / limit))
        assert covariance[0, 0] == pytest.approx(exact, rel=1e-11)

    def test_heads_add(self):
        heads = [Head(0.5, 0.5, -1.0), Head(0.3, 1.0, -0.5)]
        start = Gaussian((0.1, 0.2), 0.5)
        mean, covariance = moments(Attention(beta=1.0, heads=heads), start, 0.6)
        # V S A S of both: -(0.25 + 0.15) S^2; V (1 + S A) m: -(1.5 + 0.4 S) m
        s = 0.5 / (1 + 2 * 0.4 * 0.5 * 0.6)
        assert np.allclose(covariance, s * np.eye(2))
        assert np.allclose(mean, np.exp(-1.5 * 0.6) * np.sqrt(s / 0.5) * np.array([0.1, 0.2]))

    def test_blow_up(self):
        with pytest.raises(ArithmeticError, match="blows up"):
            exact_solution(Attention(beta=1.0), Gaussian((0.0,), 1.0), 0.6)


@pytest.mark.parametrize("value", [1.0, -0.7])
def test_l2(value):
    a, s0, t = 0.6, 0.5, 0.8
    mean, covariance = moments(
        Attention("l2", 1.0, np.sqrt(a), np.sqrt(a), value), Gaussian((0.3, 0.1), s0), t
    )
    w0 = 1 / (2 * a * s0)
    w = lambertw(w0 * np.exp(w0) * np.exp(-2 * value * t)).real
    assert np.allclose(covariance, np.eye(2) / (2 * a * w), rtol=1e-10)
    assert np.allclose(mean, np.exp(value * t) * np.array([0.3, 0.1]), rtol=1e-10)


@pytest.mark.parametrize("value", [1.0, -0.7])
def test_sinkhorn(value):
    a, s0, t = 0.6, 0.5, 0.8

    def primitive(s):
        u = np.arcsinh(2 * a * s)
        return u - 1 / np.tanh(u / 2)

    mean, covariance = moments(Attention("sinkhorn", a, value=value), Gaussian((0.3, 0.1), s0), t)
    s = covariance[0, 0]
    assert np.allclose(covariance, s * np.eye(2))
    assert primitive(s) - primitive(s0) == pytest.approx(2 * value * t, rel=1e-9)
    assert np.allclose(mean, np.exp(value * t) * np.array([0.3, 0.1]))


def test_linear_attention_moves_by_a_matrix():
    a, t = 0.3, 0.5
    start = Box((-1.0, -0.5), (0.6, 1.1))
    mean, covariance = start.moments()
    second = covariance + np.multiply.outer(mean, mean)
    values, axes = np.linalg.eigh(np.eye(2) - 2 * a * second * t)
    end = exact_solution(Attention("linear", a), start, t)
    assert np.allclose(end.matrix, axes / np.sqrt(values) @ axes.T, rtol=1e-10)
    grid = np.stack(np.meshgrid(*[np.linspace(-3, 3, 600)] * 2), axis=-1).reshape(-1, 2)
    area = (6 / 599) ** 2
    density = end.density(grid)
    assert abs(density.sum() * area - 1) < 5e-3
    assert np.allclose(density @ grid * area, end.moments()[0], atol=5e-3)
    assert exact_solution(Attention("linear", a), start, t, temperature=0.1) is None


def test_the_linear_law_of_a_normal_distribution_is_the_image_of_it():
    start, attention = Gaussian((0.4, -0.1), ((0.5, 0.1), (0.1, 0.3))), Attention("linear", 0.3)
    as_normal = exact_solution(attention, start, 0.5).moments()
    mixture = Mixture((start,), (1.0,))
    image = exact_solution(attention, mixture, 0.5)
    if image is not None:
        for one, other in zip(as_normal, image.moments(), strict=True):
            assert np.allclose(one, other)


MATRIX = np.array([[0.3, -0.8], [0.5, -0.6]])


class TestDrift:
    """A linear drift, alone and beside attention."""

    def test_alone_in_flat_space(self):
        # m(t) = e^{tM} m, S(t) = e^{tM} S e^{tM^T}.
        start = Gaussian((0.4, -0.1), ((0.5, 0.1), (0.1, 0.3)))
        model = Attention(beta=1.0, value=0.0, drift=LinearDrift(MATRIX))
        flow = expm(0.9 * MATRIX)
        mean, covariance = moments(model, start, 0.9)
        assert np.allclose(mean, flow @ start.mean, rtol=1e-11)
        assert np.allclose(covariance, flow @ start.covariance @ flow.T, rtol=1e-11)

    def test_noise_of_a_drift_that_holds_together(self):
        # S' = -2 c S + 2 kappa: the Ornstein-Uhlenbeck process.
        model = Attention(value=0.0, drift=LinearDrift([[-0.8]]))
        _, covariance = moments(model, Gaussian((0.3,), 0.5), 0.7, 0.2)
        limit = 0.2 / 0.8
        wanted = limit + (0.5 - limit) * np.exp(-1.6 * 0.7)
        assert covariance[0, 0] == pytest.approx(wanted, rel=1e-11)

    def test_beside_softmax(self):
        # S' = 2 (v a S^2 + c S) is Bernoulli's equation: 1/S goes to -v a/c like e^{-2ct}.
        a, v, c, s0, t = 0.4, -0.7, 0.3, 0.6, 0.8
        model = Attention(beta=a, value=v, drift=LinearDrift(c * np.eye(2)))
        mean, covariance = moments(model, Gaussian((0.3, 0.1), s0), t)
        inverse = (1 / s0 + v * a / c) * np.exp(-2 * c * t) - v * a / c
        assert np.allclose(covariance, np.eye(2) / inverse, rtol=1e-11)
        # m' = (v + v a S + c) m, and v a S + c is half of S'/S.
        growth = np.exp(v * t) / np.sqrt(inverse * s0)
        assert np.allclose(mean, growth * np.array([0.3, 0.1]), rtol=1e-11)

    def test_any_start_beside_linear_attention(self):
        model = Attention("linear", 0.3, drift=LinearDrift(MATRIX))
        box, normal = Box((-1.0, 0.0), (1.0, 2.0)), Gaussian((0.0, 1.0), 1 / 3)
        found, wanted = moments(model, box, 0.5), moments(model, normal, 0.5)
        for one, other in zip(found, wanted, strict=True):
            assert np.allclose(one, other, rtol=1e-11)

    @pytest.mark.parametrize("dimension", [2, 3, 8])
    def test_directions_on_spheres(self, dimension, on_sphere):
        # Mass follows the flow f(x) = e^{tM} x / |e^{tM} x|: rho(t, f(x)) |det Df| = rho(0, x).
        matrix = np.random.default_rng(3).normal(size=(dimension, dimension)) / 2
        model = Attention(value=0.0, drift=LinearDrift(matrix))
        middle = exact_solution(model, Uniform(dimension), 0.4)
        end = exact_solution(model, middle, 0.3)
        flow, h = expm(0.3 * matrix), 1e-5

        def moved(x):
            return Sphere(dimension).retract(x @ flow.T)

        for x in on_sphere(4, 5, dimension):
            frame = np.linalg.svd(x[None])[2][1:]
            y = moved(x[None])[0]
            ahead, behind = (moved(Sphere(dimension).retract(x + s * frame)) for s in (h, -h))
            there = np.linalg.svd(y[None])[2][1:]
            stretch = abs(np.linalg.det((ahead - behind) @ there.T / (2 * h)))
            densities = end.density(y[None]) * stretch / middle.density(x[None])
            assert densities[0] == pytest.approx(1, abs=1e-8)

    def test_a_multiple_of_the_identity_moves_no_direction(self):
        model = Attention(value=0.0, drift=LinearDrift(400.0 * np.eye(3)))
        end = exact_solution(model, Uniform(3), 5.0)
        assert np.array_equal(end.covariance, np.eye(3))

    def test_too_sharp(self):
        model = Attention(value=0.0, drift=LinearDrift(np.diag([1.0, 0.0])))
        with pytest.raises(ArithmeticError, match="exceeds double precision"):
            exact_solution(model, Uniform(2), 20.0)

    def test_velocity(self):
        x, start = np.random.default_rng(8).normal(size=(9, 2)), mixture(2)
        for drift in (
            LinearDrift(MATRIX),
            Perceptron(np.ones((3, 2)), [0, 1, 2], np.ones((2, 3)), "tanh"),
        ):
            alone, beside = (Attention(beta=0.2, drift=each) for each in (None, drift))
            wanted = exact_velocity(alone, start, x) + drift.velocity(x)
            assert np.array_equal(exact_velocity(beside, start, x), wanted)

    def test_unknown(self):
        linear = LinearDrift(np.diag([1.0, 0.0, -0.5]))
        moving, still = Attention(beta=0.0, drift=linear), Attention(value=0.0, drift=linear)
        assert exact_solution(moving, Uniform(3), 1.0) is None
        assert exact_solution(still, Uniform(3), 1.0, temperature=0.1) is None
        assert exact_solution(still, PoissonKernel((0.0, 0.0, 0.5)), 1.0) is None
        assert exact_solution(Attention(), AngularGaussian(np.eye(3)), 1.0) is None
        hidden = Perceptron(np.ones((2, 3)), [0, 0], np.ones((3, 2)))
        for start in (Uniform(3), Gaussian((0.0, 0.0, 0.0), 1.0)):
            assert exact_solution(Attention(value=0.0, drift=hidden), start, 1.0) is None


def mixture(dimension, seed=1):
    """Three normal distributions, two of them in a mixture of their own."""
    rng = np.random.default_rng(seed)

    def normal(scale):
        factor = scale * rng.normal(size=(dimension, dimension)) / np.sqrt(dimension)
        covariance = factor @ factor.T + 0.1 * scale**2 * np.eye(dimension)
        return Gaussian(tuple(rng.normal(size=dimension)), tuple(map(tuple, covariance)))

    inner = Mixture((normal(0.7), normal(0.3)), (2.0, 1.0))
    return Mixture((inner, normal(0.5)), (3.0, 1.5))


def nodes(measure, number):
    """Gauss-Hermite points and weights of a mixture of normal distributions."""
    if isinstance(measure, Mixture):
        parts = [nodes(component, number) for component in measure.components]
        points, weights = zip(*parts, strict=True)
        shares = np.array(measure.weights) / sum(measure.weights)
        scaled = [share * w for share, w in zip(shares, weights, strict=True)]
        return np.concatenate(points), np.concatenate(scaled)
    t, w = np.polynomial.hermite_e.hermegauss(number)
    mean, covariance = measure.moments()
    grid = np.stack(np.meshgrid(*[t] * len(mean), indexing="ij"), axis=-1).reshape(-1, len(mean))
    weights = np.prod(np.meshgrid(*[w / w.sum()] * len(mean), indexing="ij"), axis=0).ravel()
    return mean + grid @ np.linalg.cholesky(covariance).T, weights


def attention_of(dimension, law="softmax", seed=3):
    """Q, K and V without any symmetry; on any mixture of ``mixture`` logits of order one."""
    query, key, value = np.random.default_rng(seed).normal(size=(3, dimension, dimension))
    return Attention(law, 0.6 / np.linalg.norm(key.T @ query, 2), query, key, value)


class TestMixture:
    """Softmax and l2 over normal distributions and their mixtures, at every x."""

    def error(self, attention, start):
        d = start.space.dimension
        x = np.random.default_rng(2).uniform(-3, 3, size=(60, d))
        points, weights = nodes(start, 36)
        wanted = attention.velocity(x, points, weights, Euclidean(d), 1e-14)
        return np.abs(exact_velocity(attention, start, x) - wanted).max() / np.abs(wanted).max()

    @pytest.mark.parametrize("law", ["softmax", "l2"])
    @pytest.mark.parametrize("dimension", [1, 2, 3])
    def test_against_quadrature(self, law, dimension):
        assert self.error(attention_of(dimension, law), mixture(dimension)) < 1e-13

    def test_several_heads(self):
        heads = [Head(*np.random.default_rng(4).normal(size=(3, 2, 2))), Head(0.4, 0.5, -1.0)]
        assert self.error(Attention(beta=0.3, heads=heads), mixture(2)) < 1e-13

    def test_without_logits_it_is_the_mean(self):
        start, value = mixture(3), np.random.default_rng(5).normal(size=(3, 3))
        x = np.random.default_rng(6).normal(size=(5, 3))
        velocity = exact_velocity(Attention(beta=0.0, value=value), start, x)
        assert np.abs(velocity - value @ start.moments()[0]).max() < 1e-14

    def test_far_away_one_component_is_seen(self):
        # Where exponents of all components exceed double precision.
        narrow, wide = Gaussian((3.0,), 0.01), Gaussian((0.0,), 1.0)
        start, x = Mixture((narrow, wide), (1.0, 1.0)), np.array([[-2e3], [2e3]])
        velocity = exact_velocity(Attention(), start, x)
        assert np.array_equal(velocity, exact_velocity(Attention(), wide, x)) and velocity[1] == 2e3

    def test_unknown(self):
        x, normal = np.zeros((1, 2)), Gaussian((0.3, 0.1), 1.0)
        for law in ("unnormalised", "sinkhorn", "linear", "sigmoid", "feature-map"):
            assert exact_velocity(Attention(law), normal, x) is None
        assert exact_velocity(Attention(relative=True), normal, x) is None
        box = Box((0.0, 0.0), (1.0, 1.0))
        assert exact_velocity(Attention(), Mixture((normal, box), (1.0, 1.0)), x) is None

    @pytest.mark.verification
    @pytest.mark.parametrize("dimension", [1, 2, 3, 10])
    def test_tokens_tend_to_it_like_the_square_root_of_their_number(self, dimension, verify):
        # Logits are of order one: where they spread, tokens see less of the tails (2512.10656).
        attention, start = attention_of(dimension), mixture(dimension)
        space, sizes, seeds = Euclidean(dimension), [250, 2000, 16_000], range(60)
        x = np.random.default_rng(7).normal(size=(20, dimension))
        wanted, errors = exact_velocity(attention, start, x), []
        for n in sizes:
            runs = [start.sample(uniform_numbers(0, n, seed, space)) for seed in seeds]
            weights = np.full(n, 1 / n)
            apart = [attention.velocity(x, y, weights, space) - wanted for y in runs]
            errors.append(np.sqrt(np.mean(np.square(apart))))
        rate = -np.polyfit(np.log(sizes), np.log(errors), 1)[0]
        verify(
            f"the velocity of tokens of a mixture in R^{dimension} tends to that of the mixture",
            "closed form",
            f"n^-{rate:.2f}, error {errors[-1]:.1e} with {sizes[-1]} tokens",
        )
        assert 0.42 < rate < 0.58
