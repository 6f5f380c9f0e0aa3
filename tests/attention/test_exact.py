"""Exact solutions against the closed forms of the papers."""

import numpy as np
import pytest
from scipy.special import lambertw

from meanformer.attention import Attention, Head
from meanformer.attention.exact import exact_solution, mean_length
from meanformer.attention.measures import Box, Gaussian, Mixture, PoissonKernel, VonMisesFisher


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
