"""Measures on the circle: densities of mass one, and samples that are their exact quantiles."""

from itertools import product

import numpy as np
import pytest
from scipy.special import i0e, ive, ndtr
from scipy.stats import kstest

from meanformer.attention import Sphere
from meanformer.attention.measures import (
    Mixture,
    PoissonKernel,
    Uniform,
    VonMisesFisher,
    ZonalHarmonic,
    uniform_numbers,
)
from meanformer.attention.measures.circle import angle_from, at_angle

CIRCLE = Sphere(2)
AXIS = (0.6, -0.8)


def along(length):
    return tuple(length * c for c in AXIS)


def bessel_ratios(c):
    """I_n(c)/I_0(c) for n = 1, 2, ... down to round-off."""
    return ive(np.arange(1, 60 + int(10 * np.sqrt(c))), c) / i0e(c)


def von_mises_distribution(c):
    """The primitive of the density's Fourier series, 1 + 2 sum_n I_n/I_0 cos(n t)."""
    ratios = bessel_ratios(c)
    n = np.arange(1, len(ratios) + 1)

    def distribution(angle):
        waves = np.sin(np.multiply.outer(angle, n)) @ (ratios / n)
        return 0.5 + angle / (2 * np.pi) + waves / np.pi

    return distribution


def poisson_distribution(r):
    # arctan((1 + r)/(1 - r) tan(t/2)), without the pole.
    return lambda t: 0.5 + np.arctan2((1 + r) * np.sin(t / 2), (1 - r) * np.cos(t / 2)) / np.pi


def harmonic_distribution(k, amplitude):
    return lambda t: 0.5 + (t + amplitude * np.sin(k * t) / k) / (2 * np.pi)


# Each measure with its axis, its distribution function of the angle from it, and its mean along it.
FIRST = (1.0, 0.0)
MEASURES = {
    "uniform": (Uniform(2), FIRST, von_mises_distribution(0.0), 0.0),
    "poisson-0": (PoissonKernel((0.0, 0.0)), FIRST, poisson_distribution(0.0), 0.0),
}
for c in (0.0, 1e-12, 0.1, 1.0, 8.0, 29.0, 31.0, 700.0, 1e4):
    exact = von_mises_distribution(c)
    MEASURES[f"von-mises-{c:g}"] = (VonMisesFisher(AXIS, c), AXIS, exact, bessel_ratios(c)[0])
for r in (0.3, 0.9, 0.999):
    MEASURES[f"poisson-{r:g}"] = (PoissonKernel(along(r)), AXIS, poisson_distribution(r), r)
for k, amplitude in ((1, 1.0), (1, -1.0), (2, 0.3), (3, -1.0), (12, 1.0), (1000, -0.5)):
    exact = harmonic_distribution(k, amplitude)
    mean = amplitude / 2 if k == 1 else 0.0
    harmonic = ZonalHarmonic(k, amplitude, AXIS)
    MEASURES[f"harmonic-{k}-{amplitude:g}"] = (harmonic, AXIS, exact, mean)
EDGES = [0.0, 2.0**-53, 2.0**-30, 0.25, 0.5 - 2.0**-54, 0.5, 0.5 + 2.0**-53, 0.75, 1 - 2.0**-53]


def numbers_and_edges():
    """Random uniform numbers, and the extreme ones."""
    edges = np.array(list(product([0.0, 0.5], EDGES)))
    return np.concatenate([uniform_numbers(0, 3000, 1, CIRCLE), edges])


def rule():
    """Angles and weights on the circle, refined geometrically towards the axis."""
    t, w = np.polynomial.legendre.leggauss(40)
    edges = np.concatenate([[0], np.pi * 0.5 ** np.arange(16, -1, -1)])
    # Finer panels, for harmonics of high degree.
    edges = np.unique(np.concatenate([edges, np.linspace(0, np.pi, 40)]))
    edges = np.concatenate([-edges[:0:-1], edges])
    half = np.diff(edges)[:, None] / 2
    return (edges[:-1, None] + half * (1 + t)).ravel(), (half * w).ravel()


@pytest.mark.parametrize("name", MEASURES)
class TestCircle:
    def test_density_has_mass_one_and_the_mean(self, name):
        measure, axis, _, mean = MEASURES[name]
        angle, length = rule()
        points = at_angle(axis, angle)
        density = measure.density(points)
        assert np.all(density >= -1e-16)
        assert density @ length == pytest.approx(1, rel=1e-12)
        assert np.abs((density * length) @ points - mean * np.array(axis)).max() < 1e-12

    def test_density_is_the_derivative_of_the_distribution_function(self, name):
        measure, axis, distribution, _ = MEASURES[name]
        angle, h = np.linspace(-3, 3, 1001), 1e-6
        slope = (distribution(angle + h) - distribution(angle - h)) / (2 * h)
        density = measure.density(at_angle(axis, angle))
        assert np.abs(slope - density).max() < 2e-6 * max(1, density.max())

    def test_samples_are_quantiles(self, name):
        measure, axis, distribution, _ = MEASURES[name]
        numbers = numbers_and_edges()
        x = measure.sample(numbers)
        error = distribution(angle_from(axis, x)) - numbers[:, 1]
        # Half a turn is both levels, 0 and 1. The coordinates of x have round-off of their own.
        assert np.all(np.abs(error - np.round(error)) < 5e-15 + 4e-16 * measure.density(x))

    def test_samples_increase_with_the_level(self, name):
        measure, axis, _, _ = MEASURES[name]
        u = np.linspace(2.0**-40, 1 - 2.0**-40, 5001)
        x = measure.sample(np.stack([u, u], axis=1))
        assert np.all(np.diff(angle_from(axis, x)) > 0)

    def test_unit_vectors(self, name):
        x = MEASURES[name][0].sample(numbers_and_edges())
        assert np.abs(np.linalg.norm(x, axis=1) - 1).max() < 1e-15

    def test_samples_follow_the_density(self, name):
        # Kolmogorov-Smirnov at a level of 1e-6, with the density integrated afresh.
        measure, axis, _, _ = MEASURES[name]
        angle, length = rule()
        share = measure.density(at_angle(axis, angle)) * length
        x = measure.sample(uniform_numbers(7, 20_000, 2, CIRCLE))
        mapped = np.interp(angle_from(axis, x), angle, np.cumsum(share) - share / 2)
        # Nodes lie dense enough for linear interpolation to be wrong by 0.005 at most.
        assert kstest(mapped, "uniform").statistic < 2.7 / np.sqrt(20_000) + 0.005

    def test_samples_depend_on_their_own_numbers_only(self, name):
        measure = MEASURES[name][0]
        numbers = uniform_numbers(0, 100, 11, CIRCLE)
        whole = measure.sample(numbers)
        for cut in (1, 37, 99):
            parts = [measure.sample(numbers[:cut]), measure.sample(numbers[cut:])]
            assert np.array_equal(whole, np.concatenate(parts))
        assert measure.sample(numbers[:0]).shape == (0, 2)
        assert measure.density(whole[:0]).shape == (0,)


@pytest.mark.parametrize("c", [1e-12, 1.0, 100.0, 1e4, 1e8, 1e12])
def test_rare_angles_are_exact_as_well(c):
    # The mass beyond an angle to a relative error, down to a level of 1e-15, by quadrature.
    u = 0.5 * 10.0 ** -np.arange(0.25, 15, 0.25)
    x = VonMisesFisher((1.0, 0.0), c).sample(np.stack([u, u], axis=1))
    angle = -np.arctan2(x[:, 1], x[:, 0])
    t, w = np.polynomial.legendre.leggauss(200)
    ends = np.minimum(np.pi, angle + 14 / np.sqrt(max(c, 1e-6)))
    half = (ends - angle)[:, None] / 2
    nodes = angle[:, None] + half * (1 + t)
    beyond = (half * w * np.exp(-2 * c * np.sin(nodes / 2) ** 2)).sum(axis=1)
    # Where all of the circle is close to pi, pi itself is known to round-off only.
    assert np.all(np.abs(beyond / (2 * np.pi * i0e(c)) - u) < 1e-12 * u + 2e-16)


def test_large_concentrations_are_normal():
    # Up to 1/c, relatively.
    c, z = 1e12, np.array([-4.0, -1.0, 0.3, 3.0])
    x = VonMisesFisher((0.0, 1.0), c).sample(np.stack([z, ndtr(z)], axis=1))
    assert np.abs(-x[:, 0] * np.sqrt(c) - z).max() < 1e-11


@pytest.mark.parametrize("c", [0.5, 30.0, 1e4])
def test_von_mises_density_keeps_its_digits(c):
    # Against the Fourier series; near the mean 1 - <x, m> has no digits left, |x - m|^2 has all.
    ratios = bessel_ratios(c)
    angle = np.array([0.0, 1e-9, 1e-4, 0.01, 0.1])
    series = 1 + 2 * np.cos(np.multiply.outer(angle, np.arange(1, len(ratios) + 1))) @ ratios
    density = VonMisesFisher((1.0, 0.0), c).density(at_angle((1.0, 0.0), angle))
    assert np.abs(2 * np.pi * density - series).max() < 1e-13 * series.max()


class TestMixture:
    PARTS = (VonMisesFisher(AXIS, 1e4), PoissonKernel((0.0, 0.9)), Uniform(2))
    MIXED = Mixture((Mixture(PARTS[:2], (3.0, 1.0)), PARTS[2]), (2.0, 1.0))
    SHARES = np.array([3 / 6, 1 / 6, 2 / 6])

    def test_space(self):
        assert self.MIXED.space == CIRCLE

    def test_density(self):
        angle, length = rule()
        points = at_angle(AXIS, angle)
        wanted = sum(s * p.density(points) for s, p in zip(self.SHARES, self.PARTS, strict=True))
        assert np.abs(self.MIXED.density(points) - wanted).max() < 1e-13
        assert self.MIXED.density(points) @ length == pytest.approx(1, rel=1e-12)

    def test_samples(self):
        x = self.MIXED.sample(uniform_numbers(0, 100_000, 3, CIRCLE))
        mean = self.SHARES[0] * bessel_ratios(1e4)[0] * np.array(AXIS) + self.SHARES[1] * np.array(
            [0.0, 0.9]
        )
        assert np.all(np.abs(x.mean(axis=0) - mean) < 5 * x.std(axis=0) / np.sqrt(len(x)))

    def test_each_component_has_its_own_distribution(self):
        numbers = uniform_numbers(0, 30_000, 4, CIRCLE)
        x = self.MIXED.sample(numbers)
        chosen = numbers[:, 0] < 0.5
        angle = angle_from(AXIS, x[chosen])
        assert kstest(von_mises_distribution(1e4)(angle), "uniform").pvalue > 1e-6


class TestMisuse:
    def test_other_spheres_are_refused_by_name(self):
        for measure in (Uniform(1), VonMisesFisher((1.0,), 2.0), PoissonKernel((0.1,))):
            with pytest.raises(ValueError, match="dimension is 1; it must be an integer, at least"):
                measure.sample(np.zeros((1, 1)))
        with pytest.raises(ValueError, match="must be 2, for the circle, or 3, for the sphere"):
            ZonalHarmonic(1, 0.5, ())

    def test_points_of_another_space(self):
        for measure, *_ in MEASURES.values():
            with pytest.raises(ValueError, match=r"points has shape \(5, 3\); it must be \(n, 2\)"):
                measure.density(np.ones((5, 3)))
            with pytest.raises(ValueError, match=r"uniforms has shape \(5, 3\)"):
                measure.sample(np.ones((5, 3)))

    def test_mixtures_of_several_spaces(self):
        with pytest.raises(ValueError, match=r"Sphere\(dimension=2\), Sphere\(dimension=3\)"):
            Mixture((Uniform(2), Uniform()), (1.0, 1.0))
        with pytest.raises(ValueError, match="live on none"):
            Mixture((), ())
        for weights in ((1.0,), (1.0, 0.0), (1.0, float("nan"))):
            with pytest.raises(ValueError, match="2 positive numbers"):
                Mixture((Uniform(), Uniform()), weights)

    def test_spheres_have_no_moments(self):
        mixture = Mixture((Uniform(2), Mixture((Uniform(2),), (1.0,))), (1.0, 2.0))
        with pytest.raises(TypeError, match="closed form"):
            mixture.moments()
