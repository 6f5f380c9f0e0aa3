"""Initial measures: densities of mass one, and samples that have their moments."""

from itertools import product

import numpy as np
import pytest
from scipy.special import eval_legendre
from scipy.stats import kstest

from meanformer.attention.measures import (
    UNIFORMS,
    Mixture,
    PoissonKernel,
    Uniform,
    VonMisesFisher,
    ZonalHarmonic,
    uniform_numbers,
)

AXIS = (2 / 3, -1 / 3, 2 / 3)


def along(length, axis=AXIS):
    return tuple(length * c for c in axis)


# Each measure with the axis about which it is symmetric.
ZONAL = {
    "uniform": (Uniform(), AXIS),
    "vmf-0": (VonMisesFisher(AXIS, 0.0), AXIS),
    "vmf-1e-12": (VonMisesFisher(AXIS, 1e-12), AXIS),
    "vmf-1": (VonMisesFisher((0.0, 0.0, -1.0), 1.0), (0.0, 0.0, -1.0)),
    "vmf-30": (VonMisesFisher(AXIS, 30.0), AXIS),
    "vmf-1e4": (VonMisesFisher(AXIS, 1e4), AXIS),
    "poisson-0": (PoissonKernel((0.0, 0.0, 0.0)), AXIS),
    "poisson-0.3": (PoissonKernel(along(0.3)), AXIS),
    "poisson-0.999": (PoissonKernel(along(0.999)), AXIS),
    "harmonic-1": (ZonalHarmonic(1, 1.0, AXIS), AXIS),
    "harmonic-2": (ZonalHarmonic(2, -1.0, AXIS), AXIS),
    "harmonic-3": (ZonalHarmonic(3, 0.5, (0.0, 1.0, 0.0)), (0.0, 1.0, 0.0)),
    "harmonic-12": (ZonalHarmonic(12, 1.0, AXIS), AXIS),
}
MIXED = Mixture(
    (VonMisesFisher(AXIS, 5.0), Uniform(), PoissonKernel((0.0, 0.5, 0.0))), (3.0, 1.0, 2.0)
)


def rule(axis):
    """Nodes and weights on the sphere, refined geometrically towards an axis."""
    t, w = np.polynomial.legendre.leggauss(36)
    edges = np.concatenate([[0], np.pi * 0.5 ** np.arange(16, -1, -1)])
    half = np.diff(edges)[:, None] / 2
    colatitude = (edges[:-1, None] + half * (1 + t)).ravel()
    weight = (half * w).ravel() * np.sin(colatitude)
    turn = 2 * np.pi * np.arange(12) / 12
    pole = np.asarray(axis)
    first = np.linalg.svd(pole[None])[2][1]
    second = np.cross(pole, first)
    points = np.cos(colatitude)[:, None, None] * pole + np.sin(colatitude)[:, None, None] * (
        np.cos(turn)[:, None] * first + np.sin(turn)[:, None] * second
    )
    return points.reshape(-1, 3), np.repeat(weight, 12) * 2 * np.pi / 12


def monomials(points):
    """All products of one to four coordinates, ``shape=(34, n)``."""
    powers = [np.ones_like(points.T)]
    for _ in range(4):
        powers.append(powers[-1] * points.T)
    return np.stack(
        [
            powers[i][0] * powers[j][1] * powers[k][2]
            for i, j, k in product(range(5), repeat=3)
            if 1 <= i + j + k <= 4
        ]
    )


def check_moments(observables, sampled, exact, weights):
    """Means over a sample within five standard errors, from a quadrature of the density."""
    mean = exact @ weights
    error = np.sqrt((exact - mean[:, None]) ** 2 @ weights / sampled.shape[1])
    assert len(mean) == observables
    assert np.all(np.abs(sampled.mean(axis=1) - mean) < 5 * error + 1e-14)


@pytest.mark.parametrize("name", ZONAL)
class TestZonal:
    def test_mass_one_and_positive(self, name):
        measure, axis = ZONAL[name]
        points, area = rule(axis)
        density = measure.density(points)
        assert area.sum() == pytest.approx(4 * np.pi, rel=1e-13)
        assert np.all(density >= -1e-15)
        assert density @ area == pytest.approx(1, rel=1e-11)

    def test_samples_have_its_moments(self, name):
        measure, axis = ZONAL[name]
        x = measure.sample(uniform_numbers(0, 200_000, 1))
        assert np.abs(np.linalg.norm(x, axis=1) - 1).max() < 2e-15
        points, area = rule(axis)
        weights = measure.density(points) * area
        check_moments(34, monomials(x), monomials(points), weights)

    def test_samples_have_its_heights(self, name):
        # The distribution function of the height, by Kolmogorov-Smirnov, at a level of 1e-6.
        measure, axis = ZONAL[name]
        x = measure.sample(uniform_numbers(7, 20_000, 2))
        points, area = rule(axis)
        share = (measure.density(points) * area).reshape(-1, 12).sum(axis=1)
        colatitude = np.arctan2(
            np.linalg.norm(np.cross(points[::12], axis), axis=1), points[::12] @ axis
        )
        middle = np.cumsum(share) - share / 2
        angle = np.arctan2(np.linalg.norm(np.cross(x, axis), axis=1), x @ axis)
        mapped = np.interp(angle, colatitude, middle)
        # Nodes lie dense enough for linear interpolation to be wrong by 0.01 at most.
        assert kstest(mapped, "uniform").statistic < 2.7 / np.sqrt(20_000) + 0.01


@pytest.mark.parametrize(
    ("measure", "moment"),
    [
        (VonMisesFisher(AXIS, 2.0), 1 / np.tanh(2) - 1 / 2),
        (VonMisesFisher(AXIS, 1e4), 1 - 1e-4),
        (VonMisesFisher(AXIS, 1e-12), 1e-12 / 3),
        (ZonalHarmonic(1, -1.0, AXIS), -1 / 3),
        (ZonalHarmonic(1, 0.5, AXIS), 1 / 6),
        (ZonalHarmonic(2, 1.0, AXIS), 0.0),
    ],
)
def test_mean_heights(measure, moment):
    # A_3(c) = coth c - 1/c; and int P_1 P_k = delta_{1k}/3.
    points, area = rule(AXIS)
    assert (measure.density(points) * area) @ (points @ AXIS) == pytest.approx(moment, abs=1e-11)


@pytest.mark.parametrize("degree", [1, 2, 5, 12])
@pytest.mark.parametrize("amplitude", [-1.0, 0.3, 1.0])
def test_harmonics_have_their_own_moment_only(degree, amplitude):
    # E P_k = amplitude/(2k+1), and zero for the other degrees.
    x = ZonalHarmonic(degree, amplitude, AXIS).sample(uniform_numbers(0, 100_000, 3))
    for k in {degree, degree + 1, 3}:
        values = eval_legendre(k, x @ AXIS)
        wanted = amplitude / (2 * degree + 1) if k == degree else 0.0
        assert abs(values.mean() - wanted) < 5 * values.std() / np.sqrt(len(x))


@pytest.mark.parametrize("r", [0.3, 0.6, 0.9, 0.999])
def test_mean_length_of_the_poisson_kernel(r):
    mean = (1 + r**2) / (2 * r) - (1 - r**2) ** 2 / (4 * r**2) * np.log((1 + r) / (1 - r))
    measure = PoissonKernel(along(r))
    points, area = rule(AXIS)
    exact = (measure.density(points) * area) @ points
    assert np.abs(exact - mean * np.array(AXIS)).max() < 1e-11
    x = measure.sample(uniform_numbers(0, 200_000, 4))
    assert np.all(np.abs(x.mean(axis=0) - exact) < 5 * x.std(axis=0) / np.sqrt(len(x)))


@pytest.mark.parametrize("r", [0.3, 0.9, 0.999])
def test_the_poisson_kernel_is_the_image_of_the_uniform_measure(r):
    # A conformal map of the sphere, whose area factor is 1/(4 pi rho): compared by differences.
    measure, h = PoissonKernel(along(r)), 1e-6
    numbers = np.random.default_rng(5).uniform(0.1, 0.9, size=(200, UNIFORMS))
    x = measure.sample(numbers)
    by_height, by_turn = (
        (measure.sample(numbers + h * e) - measure.sample(numbers - h * e)) / (2 * h)
        for e in np.eye(UNIFORMS)[1:]
    )
    # A unit of uniform numbers carries a unit of mass: density times area is one.
    area = np.linalg.norm(np.cross(by_height, by_turn), axis=1)
    assert np.abs(area * measure.density(x) - 1).max() < 1e-6


class TestMixture:
    def components(self):
        return zip(MIXED.components, np.array(MIXED.weights) / 6, strict=True)

    def test_density_is_the_weighted_mean(self, on_sphere):
        x = on_sphere(1, 100)
        wanted = sum(share * part.density(x) for part, share in self.components())
        assert np.abs(MIXED.density(x) - wanted).max() < 1e-15

    def test_mass_one(self, product_rule):
        points, area = product_rule(60)
        mass = MIXED.density(points) @ area
        assert mass == pytest.approx(1, rel=1e-12)

    @pytest.mark.parametrize(
        ("mixture", "shares"),
        [
            (MIXED, np.array([3, 1, 2]) / 6),
            (Mixture((MIXED,), (7.0,)), np.array([3, 1, 2]) / 6),
            (Mixture((MIXED, Uniform()), (1.0, 1.0)), np.array([3, 7, 2]) / 12),
            (Mixture((Uniform(), MIXED), (1.0, 1.0)), np.array([3, 7, 2]) / 12),
        ],
        ids=["flat", "nested alone", "nested first", "nested last"],
    )
    def test_samples_have_its_moments(self, mixture, shares):
        x = mixture.sample(uniform_numbers(0, 200_000, 6))
        points, weights = [], []
        for part, share in zip(MIXED.components, shares, strict=True):
            nodes, area = rule((0.0, 1.0, 0.0) if isinstance(part, PoissonKernel) else AXIS)
            points.append(nodes)
            weights.append(share * part.density(nodes) * area)
        check_moments(34, monomials(x), monomials(np.concatenate(points)), np.concatenate(weights))

    def test_components_are_independent_of_their_places(self):
        # Within each component the moments are its own: the choice has its own uniform number.
        numbers = uniform_numbers(0, 100_000, 8)
        x = Mixture((ZonalHarmonic(1, 1.0, AXIS), Uniform()), (1.0, 1.0)).sample(numbers)
        for half, mean in ((numbers[:, 0] < 0.5, 1 / 3), (numbers[:, 0] >= 0.5, 0.0)):
            heights = x[half] @ AXIS
            assert abs(heights.mean() - mean) < 5 * heights.std() / np.sqrt(half.sum())


class TestUniformNumbers:
    def test_stretches_are_parts_of_one_stream(self):
        whole = uniform_numbers(0, 1000, 9)
        assert whole.shape == (1000, UNIFORMS)
        for first, count in ((0, 1), (0, 1000), (1, 10), (333, 334), (999, 1), (500, 0)):
            part = uniform_numbers(first, count, 9)
            assert np.array_equal(part, whole[first : first + count])

    def test_far_stretches_cost_nothing(self):
        far = uniform_numbers(10**15, 4, 9)
        assert np.array_equal(far[2:], uniform_numbers(10**15 + 2, 2, 9))

    def test_depend_on_the_seed_and_on_nothing_else(self):
        assert np.array_equal(uniform_numbers(5, 10, 1), uniform_numbers(5, 10, 1))
        assert not np.array_equal(uniform_numbers(5, 10, 1), uniform_numbers(5, 10, 2))

    def test_fill_the_unit_interval(self):
        numbers = uniform_numbers(0, 50_000, 10)
        assert np.all((numbers >= 0) & (numbers < 1))
        for column in numbers.T:
            assert kstest(column, "uniform").pvalue > 1e-6


@pytest.mark.parametrize("name", ZONAL)
def test_samples_depend_on_their_own_numbers_only(name):
    measure, _ = ZONAL[name]
    numbers = uniform_numbers(0, 100, 11)
    parts = [measure.sample(numbers[:37]), measure.sample(numbers[37:])]
    assert np.array_equal(measure.sample(numbers), np.concatenate(parts))
    assert measure.sample(numbers[:0]).shape == (0, 3)


@pytest.mark.parametrize("name", ZONAL)
def test_extreme_uniform_numbers_give_unit_vectors(name):
    measure, _ = ZONAL[name]
    edges = [0.0, 2.0**-53, 0.5, 1 - 2.0**-53]
    x = measure.sample(np.array(list(product(edges, repeat=UNIFORMS))))
    assert np.all(np.isfinite(x))
    assert np.abs(np.linalg.norm(x, axis=1) - 1).max() < 2e-15
