"""Measures in R^d: densities of mass one, exact samples, exact moments."""

from itertools import product

import numpy as np
import pytest
from scipy.special import gamma, ndtr
from scipy.stats import kstest, multivariate_normal

from meanformer.attention import Euclidean
from meanformer.attention.measures import (
    Ball,
    Box,
    Gaussian,
    Mixture,
    Uniform,
    uniform_numbers,
    uniforms_per_sample,
)
from meanformer.attention.measures.euclidean import covariance_fault

ROTATION = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
TILTED = ROTATION @ np.diag([9.0, 1.0, 0.04]) @ ROTATION.T

GAUSSIANS = {
    "line": Gaussian((0.5,), 0.09),
    "tiny": Gaussian((0.0,), 1e-200),
    "huge": Gaussian((1.0, -1e80), 1e160),
    "plane": Gaussian((0.1, -3.0), ((2.0, 0.7), (0.7, 0.4))),
    "units": Gaussian((0.0, 0.0), ((1e-20, 0.9), (0.9, 1e20))),
    "tilted": Gaussian((1.0, 2.0, 3.0), TILTED),
    "ball": Gaussian((1.0, 2.0, 3.0), 0.25),
    "many": Gaussian((0.0,) * 7, np.eye(7) + 0.5),
}
BOXES = {
    "interval": Box((-1.0,), (3.0,)),
    "short": Box((0.0,), (1e-120,)),
    "thin": Box((0.0, 1e6), (1e-8, 2e6)),
    "cube": Box((-1.0, 0.0, 5.0), (1.0, 0.5, 9.0)),
}
BALLS = {
    "segment": Ball((3.0,), 0.5),
    "disk": Ball((-1.0, 4.0), 2.0),
    "solid": Ball((1.0, 2.0, -3.0), 0.1),
    "far": Ball((1e6, 1e6, 0.0), 1e-3),
    "seven": Ball((0.0,) * 6 + (1.0,), 5.0),
}
LINE = Mixture((GAUSSIANS["line"], BOXES["interval"]), (3.0, 1.0))
PLANE = Mixture((GAUSSIANS["plane"], Gaussian((4.0, 4.0), 0.5), Box((-1, -2), (1, 0))), (2, 1, 1))
ROUND = Mixture((BALLS["disk"], GAUSSIANS["plane"], Ball((4.0, 4.0), 1.0)), (2, 1, 1))
ALL = {
    **GAUSSIANS,
    **BOXES,
    **BALLS,
    "mixture with balls": ROUND,
    "mixture of the line": LINE,
    "mixture of the plane": PLANE,
}


def draw(measure, count, seed=1):
    return measure.sample(uniform_numbers(0, count, seed, measure.space))


def normal_rule(measure):
    """Points, and weights for Lebesgue measure, of a grid of ten deviations along L of S = L L^T.

    The trapezoidal rule is exact to round-off for Gaussian functions.
    """
    mean, covariance = measure.moments()
    root, d = np.linalg.cholesky(covariance), len(mean)
    steps = {1: 200, 2: 100, 3: 50}[d]
    t = np.linspace(-10, 10, steps + 1)
    grid = np.stack(np.meshgrid(*[t] * d, indexing="ij"), axis=-1).reshape(-1, d)
    return mean + grid @ root.T, (20 / steps) ** d * np.prod(np.diag(root))


@pytest.mark.parametrize("name", [name for name in GAUSSIANS if name != "many"])
class TestGaussian:
    def test_density_has_mass_one_and_its_moments(self, name):
        measure = GAUSSIANS[name]
        mean, covariance = measure.moments()
        x, volume = normal_rule(measure)
        weights = measure.density(x) * volume
        deviations = np.sqrt(np.diag(covariance))
        assert weights.sum() == pytest.approx(1, rel=1e-12)
        z = (x - mean) / deviations
        assert np.abs(weights @ z).max() < 1e-12
        second = (weights * z.T) @ z
        assert np.abs(second - covariance / np.outer(deviations, deviations)).max() < 1e-12

    def test_whitened_samples_are_normal(self, name):
        measure = GAUSSIANS[name]
        mean, covariance = measure.moments()
        z = np.linalg.solve(np.linalg.cholesky(covariance), (draw(measure, 20_000) - mean).T)
        for row in z:
            assert kstest(row, "norm").pvalue > 1e-6
        # The joint distribution, along one more direction and in length.
        assert kstest(z.sum(axis=0) / np.sqrt(len(z)), "norm").pvalue > 1e-6
        assert kstest((z**2).sum(axis=0), "chi2", args=(len(z),)).pvalue > 1e-6


@pytest.mark.parametrize("name", ["line", "plane", "tilted", "many"])
def test_gaussian_density_is_the_known_one(name):
    measure = GAUSSIANS[name]
    x = 3 * draw(measure, 100)
    known = multivariate_normal(*measure.moments()).logpdf(x)
    with np.errstate(divide="ignore"):
        assert np.log(measure.density(x)) == pytest.approx(known, rel=1e-10)


def test_samples_are_the_quantiles_of_their_numbers():
    numbers = uniform_numbers(0, 10_000, 2, Euclidean(2))
    x = GAUSSIANS["plane"].sample(numbers)
    first = (x[:, 0] - 0.1) / np.sqrt(2)
    assert np.abs(ndtr(first) - numbers[:, 1]).max() < 1e-14
    # Given the first coordinate the second is normal about its regression.
    second = (x[:, 1] + 3 - 0.35 * (x[:, 0] - 0.1)) / np.sqrt(0.4 - 0.245)
    assert np.abs(ndtr(second) - numbers[:, 2]).max() < 1e-14
    x = BOXES["thin"].sample(numbers)
    assert np.abs((x - [0, 1e6]) / [1e-8, 1e6] - numbers[:, 1:]).max() < 1e-15


@pytest.mark.parametrize("name", BOXES)
class TestBox:
    def test_density_is_one_over_the_volume_inside(self, name):
        box = BOXES[name]
        lower, upper = np.array(box.lower), np.array(box.upper)
        x = lower + (upper - lower) * np.random.default_rng(3).uniform(
            -0.5, 1.5, (2000, len(lower))
        )
        inside = np.all((x >= lower) & (x <= upper), axis=1)
        density = box.density(x)
        assert 0 < inside.sum() < 2000
        assert np.all(density[~inside] == 0)
        assert density[inside] * np.prod(upper - lower) == pytest.approx(1, rel=1e-14)

    def test_samples_are_uniform(self, name):
        box = BOXES[name]
        x = draw(box, 10_000)
        assert np.all((x >= box.lower) & (x <= box.upper))
        assert np.all(box.density(x) > 0)
        shares = (x - box.lower) / (np.array(box.upper) - box.lower)
        for column in shares.T:
            assert kstest(column, "uniform").pvalue > 1e-6
        correlations = np.atleast_2d(np.corrcoef(shares.T)) - np.eye(shares.shape[1])
        assert np.abs(correlations).max() < 0.05


@pytest.mark.parametrize("name", BALLS)
class TestBall:
    def test_density_is_one_over_the_volume_inside(self, name):
        ball = BALLS[name]
        d = len(ball.centre)
        direction = np.random.default_rng(3).normal(size=(200, d))
        direction /= np.linalg.norm(direction, axis=1)[:, None]
        volume = np.pi ** (d / 2) / gamma(d / 2 + 1) * ball.radius**d
        for share, inside in ((0.0, True), (0.5, True), (1 - 1e-6, True), (1 + 1e-6, False)):
            density = ball.density(ball.centre + share * ball.radius * direction)
            assert np.abs(density * volume - inside).max() < 1e-14

    def test_density_has_mass_one(self, name):
        # Seen on random points of the cube around the ball.
        ball = BALLS[name]
        d, n = len(ball.centre), 200_000
        cube = np.random.default_rng(4).uniform(-1, 1, size=(n, d))
        values = ball.density(ball.centre + ball.radius * cube) * (2 * ball.radius) ** d
        assert abs(values.mean() - 1) < 5 * values.std() / np.sqrt(n) + 1e-14

    def test_radii_and_directions(self, name):
        ball = BALLS[name]
        x = draw(ball, 20_000)
        assert np.all(ball.density(x) > 0)
        apart = (x - ball.centre) / ball.radius
        length, d = np.linalg.norm(apart, axis=1), len(ball.centre)
        assert kstest(length**d, "uniform").pvalue > 1e-6
        # Of a direction, (1 + cos)/2 follows a Beta distribution, and none depends on the length.
        cosines = (apart / length[:, None]).T
        for cosine in cosines:
            if d > 1:
                law = ((d - 1) / 2, (d - 1) / 2)
                assert kstest((1 + cosine) / 2, "beta", args=law).pvalue > 1e-6
            assert abs(np.corrcoef(cosine, length)[0, 1]) < 0.05
        correlations = np.atleast_2d(np.corrcoef(cosines)) - np.eye(d)
        assert np.abs(correlations).max() < 0.05


def test_samples_of_a_segment_are_quantiles():
    numbers = uniform_numbers(0, 10_000, 2, Euclidean(1))
    x = BALLS["segment"].sample(numbers)
    assert np.abs(x[:, 0] - (3 + 0.5 * (2 * numbers[:, 1] - 1))).max() < 5e-15


def test_a_ball_of_many_dimensions():
    # All points are near the surface, no coordinate is far off, and volumes are tiny.
    ball, n = Ball((0.0,) * 500, 10.0), 2000
    x = draw(ball, n)
    length = np.linalg.norm(x, axis=1)
    assert kstest((length / 10) ** 500, "uniform").pvalue > 1e-6
    second = (x**2).sum(axis=1) / 500
    assert abs(second.mean() / (100 / 502) - 1) < 5 * (second / (100 / 502)).std() / np.sqrt(n)
    assert np.all(np.isfinite(ball.density(x))) and np.all(ball.density(x) > 0)


class TestMixture:
    def test_mass_one(self):
        # The box jumps: Gauss's rule between its sides and beyond.
        t, w = np.polynomial.legendre.leggauss(100)
        edges = np.array([-8.0, -1.0, 0.5, 3.0, 8.0])
        half = np.diff(edges)[:, None] / 2
        x = (edges[:-1, None] + half * (1 + t)).ravel()
        density = LINE.density(x[:, None])
        weights = (half * w).ravel() * density
        mean, covariance = LINE.moments()
        assert weights.sum() == pytest.approx(1, rel=1e-12)
        assert weights @ x == pytest.approx(mean[0], rel=1e-12)
        assert weights @ (x - mean) ** 2 == pytest.approx(covariance[0, 0], rel=1e-12)

    def test_samples_of_the_line(self):
        def distribution(x):
            return 0.75 * ndtr((x - 0.5) / 0.3) + 0.25 * np.clip((x + 1) / 4, 0, 1)

        assert kstest(draw(LINE, 50_000)[:, 0], distribution).pvalue > 1e-6

    def test_samples_of_the_plane(self):
        def marginal(x):
            box = np.clip((x + 1) / 2, 0, 1)
            return ndtr((x - 0.1) / np.sqrt(2)) / 2 + ndtr((x - 4) / np.sqrt(0.5)) / 4 + box / 4

        assert kstest(draw(PLANE, 50_000)[:, 0], marginal).pvalue > 1e-6


@pytest.mark.parametrize("name", ALL)
def test_samples_have_the_exact_moments(name):
    measure, n = ALL[name], 40_000
    mean, covariance = measure.moments()
    deviations = np.sqrt(np.diag(covariance))
    z = (draw(measure, n, 5) - mean) / deviations
    assert np.all(np.abs(z.mean(axis=0)) < 5 / np.sqrt(n))
    products = np.einsum("ni,nj->nij", z, z)
    error = 5 * products.std(axis=0) / np.sqrt(n)
    wanted = covariance / np.outer(deviations, deviations)
    assert np.all(np.abs(products.mean(axis=0) - wanted) < error + 1e-12)


@pytest.mark.parametrize("name", ALL)
def test_extreme_uniform_numbers_give_finite_points(name):
    measure = ALL[name]
    edges, k = [0.0, 2.0**-53, 1 - 2.0**-53], uniforms_per_sample(measure.space)
    x = measure.sample(np.array(list(product(edges, repeat=k))))
    assert x.shape == (3**k, measure.space.dimension) and np.all(np.isfinite(x))
    density = measure.density(x)
    assert np.all(np.isfinite(density)) and np.all(density >= 0)


@pytest.mark.parametrize("name", ALL)
def test_no_points(name):
    measure = ALL[name]
    assert draw(measure, 0).shape == (0, measure.space.dimension)
    assert measure.density(draw(measure, 0)).shape == (0,)


def test_density_far_away_is_zero():
    assert GAUSSIANS["line"].density(np.array([[1e200], [-1e308]])).tolist() == [0, 0]


class TestMisuse:
    def test_points_of_another_space(self):
        for measure in (GAUSSIANS["line"], BOXES["interval"], BALLS["segment"], LINE):
            with pytest.raises(ValueError, match=r"points has shape \(4, 3\); it must be \(n, 1\)"):
                measure.density(np.ones((4, 3)))
            with pytest.raises(ValueError, match=r"uniforms has shape .* \(n, 2\) on Euclidean"):
                measure.sample(np.ones((4, 3)))

    def test_mixture_of_space_and_sphere(self):
        with pytest.raises(ValueError, match="must share one space"):
            Mixture((GAUSSIANS["ball"], Uniform()), (1.0, 1.0))

    def test_boxes(self):
        with pytest.raises(ValueError, match=r"lower\[1\] is 2.0 and upper\[1\] is 2.0"):
            Box((0.0, 2.0), (1.0, 2.0))
        with pytest.raises(ValueError, match="lower has 1 entries and upper 2"):
            Box((0.0,), (1.0, 2.0))

    @pytest.mark.parametrize("radius", [0.0, -1.0, float("nan"), float("inf")])
    def test_balls(self, radius):
        with pytest.raises(ValueError, match=r"radius is .*; it must be a positive number"):
            Ball((0.0, 1.0), radius)

    @pytest.mark.parametrize(
        ("covariance", "message"),
        [
            (np.eye(3), r"has shape \(3, 3\); it must be \(2, 2\)"),
            ([1.0, 2.0], r"has shape \(2,\)"),
            ([[1.0, 0.5], [0.4, 1.0]], r"is not symmetric: 0.5 at \[0\]\[1\], 0.4 at \[1\]\[0\]"),
            ([[1.0, 2.0], [2.0, 1.0]], "is not positive definite"),
            ([[1.0, 1.0], [1.0, 1.0]], "is singular to round-off"),
            (0.0, "is not positive definite: 0 at"),
            (-1.0, "is not positive definite: -1 at"),
            ([[1e-300, 1e300], [1e300, 1e-300]], "is not positive definite"),
            ([[np.nan, 0.0], [0.0, 1.0]], "is not symmetric"),
        ],
        ids=str,
    )
    def test_covariances(self, covariance, message):
        with pytest.raises(ValueError, match=message):
            Gaussian((0.0, 0.0), covariance)


def test_good_covariances_pass():
    rng = np.random.default_rng(7)
    for d in (1, 2, 3, 10):
        for condition in (1, 1e6, 1e12):
            turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
            # Neither round-off of a product nor the units of a coordinate matter.
            covariance = turn @ np.diag(np.geomspace(1, 1 / condition, d)) @ turn.T
            units = 10.0 ** rng.uniform(-100, 100, d)
            assert covariance_fault(covariance) == ""
            assert covariance_fault((covariance + covariance.T) / 2 * np.outer(units, units)) == ""
