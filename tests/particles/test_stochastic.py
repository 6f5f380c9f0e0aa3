"""Tokens with noise against exact means, stationary states, and themselves on other ranks."""

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.attention import Attention, Euclidean, Schedule, Sphere
from meanformer.attention.exact import exact_solution
from meanformer.attention.measures import Gaussian, VonMisesFisher
from meanformer.coupling import sample_tokens
from meanformer.particles import TokenSolver
from meanformer.solvers import advance
from meanformer.theory.stationary import ordered_mean

ALONE = MPI.COMM_SELF


def noisy(points, attention, temperature, space=None, comm=ALONE, step=None, **options):
    space = space or Sphere(points.shape[1])
    return TokenSolver(points, attention, space, comm, step, temperature=temperature, **options)


def within(samples, expected, errors=4):
    """Whether means of independent samples, ``shape=(n, ...)``, are as expected."""
    deviation = samples.std(axis=0) / np.sqrt(len(samples))
    return np.all(np.abs(samples.mean(axis=0) - expected) < errors * deviation)


@pytest.mark.parametrize("dimension", [2, 3, 5])
def test_harmonics_decay(dimension):
    """Degree k like e^{-kappa k (k+d-2) t}: <x, e>, and <x, e>^2 - 1/d."""
    axis = np.eye(dimension)[0]
    start = VonMisesFisher(axis, 4.0)
    tokens = sample_tokens(start, 100_000, 3, ALONE)
    solver = noisy(tokens, Attention("linear", value=0.0), 0.3)
    before = tokens @ axis
    for time in (0.2, 0.8):
        after = advance(solver, time).points @ axis
        first, second = np.exp(-0.3 * time * np.array([dimension - 1, 2 * dimension]))
        # The start is known: the difference from it has no noise of the start's.
        assert within(after - first * before, 0.0)
        assert within(after**2 - 1 / dimension - second * (before**2 - 1 / dimension), 0.0)
        assert np.abs(np.linalg.norm(solver.points, axis=1) - 1).max() < 1e-15


@pytest.mark.parametrize(
    ("law", "beta", "kappa", "dimension"),
    [
        ("softmax", 1.0, 0.25042823, 3),
        ("unnormalised", 1.0, 0.45212728, 2),
    ],
)
def test_stationary_means(law, beta, kappa, dimension):
    number, end = 5000, 8.0
    length = mean_length(law, beta, kappa, dimension, number, end)
    assert abs(length - ordered_mean(law, beta, 1.0, kappa, dimension)) < 4 / np.sqrt(number)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("law", "kappa", "dimension", "mean"),
    [
        ("unnormalised", 0.29430355, 3, 0.6844788477),
        ("softmax", 0.25042823, 3, 0.5241689995),
        ("unnormalised", 0.45212728, 2, 0.6822258473),
        ("softmax", 0.35711197, 2, 0.5886299427),
    ],
)
def test_stationary_means_of_many_tokens(law, kappa, dimension, mean):
    number = 200_000
    length = mean_length(law, 1.0, kappa, dimension, number, 25.0)
    distance = abs(length - mean) * np.sqrt(number)
    print(f"{law}, d = {dimension}: {distance:.2f} n^(-1/2) off")
    assert distance < 4


def mean_length(law, beta, kappa, dimension, number, end):
    start = VonMisesFisher(np.eye(dimension)[0], 2.0 + dimension / 2)
    solver = noisy(sample_tokens(start, number, 1, ALONE), Attention(law, beta), kappa)
    return np.linalg.norm(advance(solver, end).points.mean(axis=0))


class TestInSpace:
    @pytest.mark.parametrize("dimension", [2, 3])
    def test_tokens_that_follow_their_mean(self, dimension):
        """A = 0, V = -I: dx = -m dt beside noise, with m the mean."""
        kappa, time, number = 0.2, 1.0, 20_000
        start = np.linspace(-1, 1, dimension)
        solver = noisy(
            np.tile(start, (number, 1)),
            Attention(query=0.0, value=-1.0),
            kappa,
            Euclidean(dimension),
            step=0.05,
        )
        points = advance(solver, time).points
        assert within(points, np.exp(-time) * start, 5)
        assert np.allclose(
            np.cov(points.T), 2 * kappa * time * np.eye(dimension), rtol=0, atol=0.02
        )

    def test_ornstein_uhlenbeck(self):
        """One token, over many seeds: the mean e^{-t}, the variance kappa (1 - e^{-2t})."""
        attention, ends = Attention(value=-1.0), []
        for seed in range(150):
            solver = noisy(np.array([[1.0]]), attention, 0.5, Euclidean(1), step=0.125, seed=seed)
            ends.append(advance(solver, 0.5).points[0, 0])
        ends = np.array(ends)
        assert within(ends, np.exp(-0.5))
        variance = 0.5 * (1 - np.exp(-1.0))
        assert within((ends - np.exp(-0.5)) ** 2, variance)

    @pytest.mark.parametrize("value", [-1.0, [[-0.8, 0.3], [-0.4, -0.6]]])
    def test_gaussians_stay_gaussian(self, value):
        attention = Attention(beta=1.0, value=value)
        start, number, time = Gaussian([0.5, -0.3], 0.3 * np.eye(2)), 40_000, 1.0
        tokens = sample_tokens(start, number, 2, ALONE)
        solver = noisy(tokens, attention, 0.2, Euclidean(2))
        points = advance(solver, time).points
        mean, covariance = exact_solution(attention, start, time, 0.2).moments()
        assert np.abs(points.mean(axis=0) - mean).max() < 4 / np.sqrt(number)
        assert np.abs(np.cov(points.T) - covariance).max() < 4 / np.sqrt(number)


CASES = {
    "sphere": (Attention(beta=4.0), Sphere(3)),
    "circle": (Attention("unnormalised", 1.0), Sphere(2)),
    "sinkhorn": (Attention("sinkhorn", 2.0), Sphere(3)),
    "hardmax": (Attention("hardmax"), Sphere(5)),
    "flat": (Attention(beta=1.0), Euclidean(3)),
    "layers": (Schedule([Attention(beta=4.0), Attention(value=-1.0)], 0.33), Sphere(3)),
}


@pytest.fixture(params=CASES)
def one(request, on_sphere):
    """A model, a space, and tokens."""
    attention, space = CASES[request.param]
    return attention, space, on_sphere(5, 26, space.dimension)


@pytest.mark.mpi
def test_ranks_take_the_same_steps(one):
    attention, space, tokens = one
    comm = MPI.COMM_WORLD
    mine = slice(*(len(tokens) * rank // comm.size for rank in (comm.rank, comm.rank + 1)))
    alone = noisy(tokens, attention, 0.1, space)
    together = noisy(tokens[mine], attention, 0.1, space, comm)
    for time in (0.2, 1.0):
        advance(alone, time)
        advance(together, time)
        assert np.abs(together.points - alone.points[mine]).max() < 1e-12
    assert together.steps == alone.steps


@pytest.mark.mpi
def test_noise_alone_is_the_same_bit_for_bit_on_any_ranks(on_sphere):
    tokens, comm = on_sphere(5, 26), MPI.COMM_WORLD
    mine = slice(*(len(tokens) * rank // comm.size for rank in (comm.rank, comm.rank + 1)))
    still = Attention(beta=0.0, value=0.0)
    alone = advance(noisy(tokens, still, 0.1), 1.0)
    together = advance(noisy(tokens[mine], still, 0.1, comm=comm), 1.0)
    assert np.array_equal(together.points, alone.points[mine])


@pytest.mark.parametrize("stop", [0.0, 0.33])
def test_going_on_is_the_same_bit_for_bit(one, stop):
    attention, space, tokens = one
    whole, first, second = (noisy(tokens, attention, 0.1, space) for _ in range(3))
    for solver in (whole, first):
        for time in (0.31, 0.33, 0.7):
            if time <= stop:
                advance(solver, time)
    second.restore(first.arrays())
    assert np.array_equal(second.points, whole.points)
    for time in (0.72, 1.0, 1.5):
        advance(whole, time)
        assert np.array_equal(advance(second, time).points, whole.points)
    assert second.steps == whole.steps


def test_looking_at_the_velocity_changes_no_step(one):
    attention, space, tokens = one
    seen, unseen = (noisy(tokens, attention, 0.1, space) for _ in range(2))
    for time in (0.2, 0.5):
        seen.velocity()
        assert np.array_equal(advance(seen, time).points, advance(unseen, time).points)


def test_systems_and_seeds_have_noise_of_their_own(on_sphere):
    tokens, still = on_sphere(1, 2000), Attention(value=0.0)
    keys = ({}, {"system": 1}, {"system": 2}, {"seed": 1})
    ends = [advance(noisy(tokens, still, 1e-3, **key), 0.1).points - tokens for key in keys]
    for k, here in enumerate(ends):
        for there in ends[:k]:
            correlation = (here * there).sum() / (here**2).sum()
            assert abs(correlation) < 4 / np.sqrt(2 * len(tokens))


class TestSteps:
    def test_end_at_samples(self, on_sphere):
        solver = noisy(on_sphere(1, 5), Attention(), 0.1, step=0.04)
        for time in (0.1, 0.2):
            solver = advance(solver, time)
            assert solver.time == time
        assert solver.steps == 6
        assert solver.refused_steps == 0

    def test_noise_shortens_them_on_spheres(self, on_sphere):
        lengths = []
        for kappa in (1e-3, 10.0):
            solver = noisy(on_sphere(1, 50, 5), Attention(), kappa)
            solver.step(1.0)
            lengths.append(solver.automatic_step)
        assert lengths == pytest.approx([0.2 / 3, 0.2 / 40], rel=1e-12)

    def test_tokens_in_one_place_are_driven_apart(self):
        # b = b(2 kappa / b), b(s) = |V| (|A| s + 2).
        solver = noisy(np.zeros((9, 2)), Attention(beta=3.0), 5.0, Euclidean(2))
        solver.step(1.0)
        bound = 0.2 / solver.automatic_step
        assert bound == pytest.approx(3.0 * 2 * 5.0 / bound + 2, rel=1e-12)

    def test_without_values_they_are_those_of_noise(self):
        solver = noisy(np.zeros((9, 2)), Attention(value=0.0), 5.0, Euclidean(2))
        assert advance(solver, 1.0).steps == 1


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"temperature": -0.1}, "temperature is -0.1"),
        ({"temperature": np.nan}, "temperature is nan"),
        ({"temperature": np.inf}, "temperature is inf"),
        ({"temperature": 0.1, "integrator": "adaptive"}, "integrator is 'adaptive'"),
        ({"temperature": 0.1, "integrator": "rk4"}, "integrator is 'rk4'"),
    ],
)
def test_refuses(on_sphere, options, match):
    with pytest.raises(ValueError, match=match):
        noisy(on_sphere(1, 4), Attention(), **options)


def test_refuses_rescaled_variables():
    with pytest.raises(ValueError, match="rescaled is True; it must be False with noise"):
        noisy(np.zeros((3, 2)), Attention(), 0.1, Euclidean(2), rescaled=True)
