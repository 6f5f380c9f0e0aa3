"""Measures on spheres of more than three coordinates."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import ive
from scipy.stats import kstest

from meanformer.attention.measures import (
    Mixture,
    PoissonKernel,
    Uniform,
    VonMisesFisher,
    ZonalHarmonic,
    uniform_numbers,
)
from meanformer.attention.measures.polar import PolarAngle, log_area

DIMENSIONS = [4, 5, 8, 64, 384]
COUNT = 20_000


def axis_in(dimension):
    axis = np.random.default_rng(dimension).normal(size=dimension)
    return tuple(axis / np.linalg.norm(axis))


def draw(measure, seed=1, count=COUNT):
    return measure.sample(uniform_numbers(0, count, seed, measure.space))


def test_areas():
    assert np.exp(log_area(4)) == pytest.approx(2 * np.pi**2, rel=1e-14)
    assert np.exp(log_area(5)) == pytest.approx(8 * np.pi**2 / 3, rel=1e-14)


@pytest.mark.parametrize("c", [0.0, 0.3, 8.0, 500.0])
@pytest.mark.parametrize("dimension", DIMENSIONS)
class TestVonMisesFisher:
    def test_quantiles_have_their_levels(self, dimension, c):
        angle = PolarAngle(dimension, c)
        levels = np.array([1e-12, 1e-3, 0.2, 0.5, 0.9, 1 - 1e-9])

        def density(t):
            mode = angle._mode
            power = (dimension - 2) * np.log(np.sin(t) / np.sin(mode))
            return np.exp(power + c * (np.cos(t) - np.cos(mode)))

        found = angle.quantile(levels)
        mode = angle._mode
        options = {"limit": 400, "epsabs": 0, "epsrel": 1e-12}
        parts = [
            quad(density, a, b, points=[mode] if a < mode < b else None, **options)[0]
            for a, b in zip([1e-9, *found], [*found, np.pi - 1e-9], strict=True)
        ]
        shares = np.cumsum(parts) / np.sum(parts)
        assert shares[:-1] == pytest.approx(levels, rel=1e-7, abs=1e-13)
        assert np.all(np.diff(found) > 0)

    def test_mass_is_that_of_bessel_functions(self, dimension, c):
        # int e^{c <x,m>} dx = (2 pi)^{d/2} I_{d/2-1}(c) / c^{d/2-1}.
        order = dimension / 2 - 1
        with np.errstate(divide="ignore"):
            bessel = np.log(ive(order, c))
        if c == 0:
            wanted = log_area(dimension)
        elif np.isfinite(bessel):
            wanted = dimension / 2 * np.log(2 * np.pi) + bessel - order * np.log(c)
        else:
            pytest.skip("the Bessel function underflows")
        assert PolarAngle(dimension, c).log_mass == pytest.approx(wanted, abs=1e-11)

    def test_samples_have_its_moments(self, dimension, c):
        mean = axis_in(dimension)
        x = draw(VonMisesFisher(mean, c))
        assert np.abs(np.linalg.norm(x, axis=1) - 1).max() < 1e-14
        order = dimension / 2
        below = ive(order - 1, c)
        length = ive(order, c) / below if below > 0 else c / dimension
        # Four standard errors; heights vary by at most their range, directions across evenly.
        heights, across = x @ mean, x - np.outer(x @ mean, mean)
        error = 4 / np.sqrt(COUNT)
        assert abs(heights.mean() - length) < error * heights.std() + 1e-12
        variance = (1 - (heights**2).mean()) / (dimension - 1)
        assert np.abs(across.mean(axis=0)).max() < 1.2 * error * np.sqrt(variance) + 1e-12
        covariance = across.T @ across / COUNT
        exact = variance * (np.eye(dimension) - np.outer(mean, mean))
        assert np.abs(covariance - exact).max() < 2.5 * error * variance


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_uniform_heights_are_of_a_beta_distribution(dimension):
    x = draw(Uniform(dimension))
    power = (dimension - 1) / 2
    for direction in (axis_in(dimension), np.eye(dimension)[0], np.eye(dimension)[-1]):
        assert kstest((1 + x @ direction) / 2, "beta", (power, power)).pvalue > 1e-3


@pytest.mark.parametrize("dimension", [4, 8])
def test_densities_are_those_of_the_samples(dimension):
    # The mean of 1/density over samples is the area of the sphere.
    axis = axis_in(dimension)
    for measure in (
        Uniform(dimension),
        VonMisesFisher(axis, 1.5),
        PoissonKernel(tuple(0.2 * np.array(axis))),
        Mixture((Uniform(dimension), VonMisesFisher(axis, 3.0)), (1.0, 2.0)),
    ):
        inverse = 1 / measure.density(draw(measure))
        spread = 5 * inverse.std() / np.sqrt(COUNT)
        assert inverse.mean() == pytest.approx(np.exp(log_area(dimension)), abs=spread + 1e-9)


def test_the_first_tokens_are_those_of_a_larger_sample():
    measure = VonMisesFisher(axis_in(16), 4.0)
    assert np.array_equal(draw(measure, count=10), draw(measure, count=50)[:10])


def test_extreme_numbers_give_points():
    for measure in (Uniform(6), VonMisesFisher(axis_in(6), 1e6), VonMisesFisher(axis_in(6), 0.0)):
        for number in (0.0, 2.0**-53, 1 - 2.0**-53):
            (x,) = measure.sample(np.full((1, 7), number))
            assert np.linalg.norm(x) == pytest.approx(1, abs=1e-14)


@pytest.mark.parametrize("c", [1e16, 1e100, 1.7e308])
def test_any_concentration(c):
    for dimension in (4, 64):
        x = draw(VonMisesFisher(axis_in(dimension), c), count=50)
        assert np.abs(x - axis_in(dimension)).max() < 1e-6


def test_directions_of_no_length_are_any():
    (x,) = VonMisesFisher(axis_in(5), 3.0).sample(np.full((1, 6), 0.5))
    assert np.linalg.norm(x) == pytest.approx(1, abs=1e-14)


def test_kernels_of_many_dimensions_are_no_nan():
    kernel = PoissonKernel(tuple(0.3 * np.array(axis_in(1000))))
    assert not np.any(np.isnan(kernel.density(draw(kernel, count=5))))


def test_the_last_axis_may_be_the_mean():
    x = draw(VonMisesFisher((0.0, 0.0, 0.0, 1.0), 50.0))
    assert x[:, 3].mean() > 0.95


def test_harmonics_are_refused():
    with pytest.raises(ValueError, match="must be 2, for the circle, or 3"):
        ZonalHarmonic(2, 0.5, axis_in(4))
