"""The angular central Gaussian measure: mass, moments, samples, what is refused."""

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.stats import kstest

from meanformer.attention import Sphere
from meanformer.attention.measures import AngularGaussian, Uniform, uniform_numbers

PLANE = ((1.3, 0.4), (0.4, 0.5))
SPACE = ((2.0, 0.3, -0.2), (0.3, 1.0, 0.4), (-0.2, 0.4, 0.7))


def wide(dimension):
    factor = np.random.default_rng(1).normal(size=(dimension, dimension))
    return tuple(map(tuple, factor @ factor.T + np.eye(dimension)))


def on_circle(count):
    angle = 2 * np.pi * np.arange(count) / count
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def test_mass_and_second_moments_on_the_circle():
    # int x x^T = G^{1/2} / tr G^{1/2} in d = 2.
    points, measure = on_circle(400), AngularGaussian(PLANE)
    weights = measure.density(points) * 2 * np.pi / len(points)
    assert weights.sum() == pytest.approx(1, rel=1e-13)
    root = sqrtm(np.array(PLANE))
    assert np.abs(points.T * weights @ points - root / np.trace(root)).max() < 1e-13


def test_mass_on_the_sphere(product_rule):
    points, weights = product_rule(80)
    assert AngularGaussian(SPACE).density(points) @ weights == pytest.approx(1, rel=1e-12)


def test_multiples_are_one_measure(on_sphere):
    points = on_sphere(2, 10, 5)
    one, other = (AngularGaussian(np.array(wide(5)) * scale) for scale in (1.0, 1e60))
    assert np.allclose(one.density(points), other.density(points), rtol=1e-11)
    uniform = AngularGaussian(3 * np.eye(5))
    assert np.allclose(uniform.density(points), Uniform(5).density(points), rtol=1e-13)


def test_samples_on_the_circle_have_the_distribution_of_the_density():
    # tan of the angle in the frame where G is diagonal is sqrt(g2/g1) times that of a uniform one.
    g, axes = np.linalg.eigh(np.array(PLANE))
    x = AngularGaussian(PLANE).sample(uniform_numbers(0, 20_000, 3, Sphere(2))) @ axes
    angle = np.arctan2(x[:, 1] / np.sqrt(g[1]), x[:, 0] / np.sqrt(g[0]))
    assert kstest(angle / (2 * np.pi) + 0.5, "uniform").pvalue > 1e-6


@pytest.mark.parametrize("dimension", [3, 8])
def test_samples_have_the_moments_of_normal_directions(dimension):
    covariance = np.array(wide(dimension))
    space, count = Sphere(dimension), 100_000
    x = AngularGaussian(covariance).sample(uniform_numbers(0, count, 4, space))
    assert np.abs(np.linalg.norm(x, axis=1) - 1).max() < 1e-14
    y = np.random.default_rng(5).multivariate_normal(np.zeros(dimension), covariance, count)
    y /= np.linalg.norm(y, axis=1)[:, None]
    # Entries of x x^T are at most 1: five standard errors of a difference of two means.
    assert np.abs(x.T @ x - y.T @ y).max() / count < 5 * np.sqrt(2 / count) * 0.5
    assert np.abs(x.mean(axis=0)).max() < 5 / np.sqrt(count)


def test_a_sample_does_not_depend_on_the_others():
    uniforms = uniform_numbers(0, 50, 6)
    whole = AngularGaussian(SPACE).sample(uniforms)
    assert np.array_equal(AngularGaussian(SPACE).sample(uniforms[20:31]), whole[20:31])


@pytest.mark.parametrize("covariance", [((1.0, 0.5), (0.0, 1.0)), ((1.0, 2.0), (2.0, 1.0))])
def test_refused(covariance):
    with pytest.raises(ValueError, match="symmetric and positive definite"):
        AngularGaussian(covariance)
