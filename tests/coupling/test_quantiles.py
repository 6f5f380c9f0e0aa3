"""W1 by distribution functions against closed forms, and against optimal transport."""

from mpi4py import MPI

import numpy as np
import ot
import pytest

from meanformer.attention import Attention, Euclidean, Sphere
from meanformer.attention.measures import Gaussian, Uniform, VonMisesFisher
from meanformer.coupling import METRICS, sample_tokens
from meanformer.coupling.distances.quantiles import spread_evenly, w1_of_points
from meanformer.meshes import box, circle
from meanformer.particles import TokenSolver
from meanformer.pde import DensitySolver

WORLD = MPI.COMM_WORLD
TURN = 2 * np.pi
UNIFORM = spread_evenly(TURN * (np.arange(40) + 0.3) / 40 - np.pi, np.ones(40), np.ones(40), True)


def on_circle(angles):
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def tokens_at(points, space, comm=MPI.COMM_SELF):
    return TokenSolver(points, Attention(), space, comm)


@pytest.mark.parametrize("number", [1, 2, 7])
@pytest.mark.parametrize("turn", [0.0, 0.05, 2.0])
def test_regular_points_on_a_uniform_circle(number, turn):
    # Each takes the mass of an arc about it: the mean distance is a quarter of the arc.
    points = turn + TURN * np.arange(number) / number
    assert w1_of_points(points, UNIFORM) == pytest.approx(TURN / number / 4, rel=1e-12)


def test_mass_takes_the_shorter_way_around():
    # Mass about the cut at pi, and points that are turned by half a radian across it.
    grid = TURN * (np.arange(400) + 0.5) / 400 - np.pi
    weights = (np.abs(grid) > np.pi - 0.2).astype(float)
    near = spread_evenly(grid, weights, np.ones(400), True)
    for angle in (0.5, -0.5, 6.0):
        shortest = min(abs(angle), TURN - abs(angle))
        found = w1_of_points(grid[weights > 0] + angle, near)
        assert found == pytest.approx(shortest, rel=1e-10)


def test_a_point_in_a_line_of_mass():
    # Of mass spread evenly over [0, 1], by distance from 1/4: int |x - 1/4| dx = 5/16.
    even = spread_evenly((np.arange(10) + 0.5) / 10, np.ones(10), np.full(10, 0.1), False)
    assert np.allclose([even.knots[0], even.knots[-1]], [0.0, 1.0], rtol=0, atol=1e-15)
    assert w1_of_points(np.array([0.25]), even) == pytest.approx(5 / 16, rel=1e-14)
    assert w1_of_points(np.array([3.0, -2.0]), even) == pytest.approx(2.25, rel=1e-14)


def test_is_that_of_optimal_transport_between_points():
    # Many narrow points for the pieces of F, weighted as they are.
    rng = np.random.default_rng(1)
    positions, weights, lengths = rng.uniform(-np.pi, np.pi, 25), *rng.uniform(0, 1, (2, 25))
    points = rng.uniform(-np.pi, np.pi, 40)
    for is_circle in (False, True):
        target = spread_evenly(positions, weights, lengths, is_circle)
        fine = np.interp((np.arange(4000) + 0.5) / 4000, target.values, target.knots)
        cost = np.abs(points[:, None] - fine)
        if is_circle:
            cost = np.minimum(cost % TURN, TURN - cost % TURN)
        expected = ot.emd2(np.full(40, 1 / 40), np.full(4000, 1 / 4000), cost)
        assert w1_of_points(points, target) == pytest.approx(expected, rel=1e-3)


@pytest.mark.mpi
def test_of_a_normal_distribution_from_tokens_in_one_place():
    # E|X| = sigma (2/pi)^{1/2}; on a mesh the error is that of F between quadrature points.
    measure, space = Gaussian((0.0,), ((1.0,),)), Euclidean(1)
    density = DensitySolver(
        box(WORLD, half_width=7.0, cells=140, dimension=1), Attention(), 2, measure.density
    )
    mine = np.zeros((20 if WORLD.rank == 0 else 3, 1))
    value, noise = METRICS["w1_all"](density, tokens_at(mine, space, WORLD)).measure()
    assert value == pytest.approx(np.sqrt(2 / np.pi), rel=1e-4)
    assert 0 < noise < 1


@pytest.mark.mpi
def test_does_not_depend_on_the_number_of_ranks():
    found = []
    for comm in (MPI.COMM_SELF, WORLD):
        measure = VonMisesFisher((0.6, 0.8), 3.0)
        density = DensitySolver(circle(comm, cells=40), Attention(), 2, measure.density)
        tokens = tokens_at(sample_tokens(measure, 1001, 0, comm), Sphere(2), comm)
        found.append(METRICS["w1_all"](density, tokens).measure())
    assert np.allclose(*found, rtol=1e-12)


def test_independent_tokens_are_at_the_distance_of_their_noise():
    # E W1 = (2 / (pi n))^{1/2} int (F (1 - F))^{1/2} dx on a line (del Barrio, Gine, Matran, 1999).
    measure = Gaussian((0.0,), ((1.0,),))
    domain = box(MPI.COMM_SELF, half_width=7.0, cells=140, dimension=1)
    density = DensitySolver(domain, Attention(), 2, measure.density)
    x = np.linspace(-7, 7, 4001)
    below = np.cumsum(measure.density(x[:, None])) * (x[1] - x[0])
    below = np.clip(below, 0.0, 1.0)
    for number in (400, 6400):
        exact = np.sqrt(2 / np.pi / number) * np.sum(np.sqrt(below * (1 - below))) * (x[1] - x[0])
        distances = [
            METRICS["w1_all"](
                density,
                tokens_at(sample_tokens(measure, number, seed, MPI.COMM_SELF), Euclidean(1)),
            ).measure()
            for seed in range(60)
        ]
        mean, noise = np.mean(distances, axis=0)
        assert mean == pytest.approx(exact, rel=0.15)
        assert 0.4 < noise / exact < 2.0


def test_uniform_tokens_on_the_circle_come_as_near_as_theory_says():
    density = DensitySolver(circle(MPI.COMM_SELF, cells=40), Attention(), 2, Uniform(2).density)
    regular = tokens_at(on_circle(TURN * np.arange(50) / 50), Sphere(2))
    value, _ = METRICS["w1_all"](density, regular).measure()
    assert value == pytest.approx(TURN / 200, rel=0.02)
