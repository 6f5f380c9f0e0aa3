"""Tokens with a drift beside attention: exact paths, and independent integrators."""

from mpi4py import MPI

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from scipy.special import ndtr

from meanformer.attention import (
    Attention,
    Euclidean,
    LinearDrift,
    Perceptron,
    Schedule,
    Sphere,
)
from meanformer.attention.exact import exact_solution
from meanformer.attention.measures import Gaussian
from meanformer.particles import TokenSolver
from meanformer.solvers import advance

ALONE, WORLD = MPI.COMM_SELF, MPI.COMM_WORLD
STEPS = {"adaptive": {"tolerance": 1e-11}, "rk4": {"step": 0.01}}
ACTIVATIONS = {"relu": lambda u: np.maximum(u, 0), "gelu": lambda u: u * ndtr(u), "tanh": np.tanh}


def matrix_of(dimension, seed=1):
    return np.random.default_rng(seed).normal(size=(dimension, dimension)) / np.sqrt(dimension)


def perceptron_of(dimension, activation, hidden=6):
    rng = np.random.default_rng(2)
    shapes = (hidden, dimension), (hidden,), (dimension, hidden)
    return Perceptron(*(0.7 * rng.normal(size=shape) for shape in shapes), activation)


def solve(points, model, until, space=None, comm=ALONE, **options):
    space = space or Sphere(points.shape[1])
    return advance(TokenSolver(points, model, space, comm, **options), until)


def softmax_sums(x, beta):
    logits = beta * x @ x.T
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights @ x / weights.sum(axis=1, keepdims=True)


def exact(rate, points, until):
    def flat(_, y):
        return rate(y.reshape(points.shape)).ravel()

    solution = solve_ivp(flat, (0, until), points.ravel(), "DOP853", rtol=1e-12, atol=1e-13)
    return solution.y[:, -1].reshape(points.shape)


@pytest.mark.verification
@pytest.mark.parametrize("dimension", [2, 3, 8])
@pytest.mark.parametrize("integrator", STEPS)
def test_a_linear_drift_moves_directions(on_sphere, verify, dimension, integrator):
    # x' = P_x M x: x(t) = e^{tM} x(0) over its length.
    points, matrix = on_sphere(3, 30, dimension), matrix_of(dimension)
    model = Attention(beta=1.0, value=0.0, drift=LinearDrift(matrix))
    options = STEPS[integrator]
    final = solve(points, model, 1.0, integrator=integrator, **options).points
    wanted = points @ expm(matrix).T
    wanted /= np.linalg.norm(wanted, axis=1)[:, None]
    error = np.abs(final - wanted).max()
    verify(
        f"tokens with a linear drift on S^{dimension - 1}, {integrator}",
        "e^{tM} x over its length, t = 1",
        f"error {error:.0e}",
    )
    assert error < 1e-8


def test_its_runge_kutta_method_is_of_order_four(on_sphere):
    points, matrix = on_sphere(4, 10), matrix_of(3)
    model = Attention(beta=2.0, drift=LinearDrift(matrix))

    def rate(x):
        v = softmax_sums(x, 2.0) + x @ matrix.T
        return v - np.einsum("ij,ij->i", x, v)[:, None] * x

    wanted = exact(rate, points, 1.0)
    errors = [
        np.abs(solve(points, model, 1.0, integrator="rk4", step=step).points - wanted).max()
        for step in (0.1, 0.05, 0.025)
    ]
    assert np.log2(np.array(errors[:-1]) / errors[1:]).min() > 3.8
    assert np.abs(solve(points, model, 1.0, integrator="rk4").points - wanted).max() < 1e-4


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("space", [Sphere(3), Euclidean(2)], ids=["sphere", "euclidean"])
def test_a_perceptron_beside_softmax(on_sphere, activation, space):
    d, sphere = space.dimension, isinstance(space, Sphere)
    points = on_sphere(5, 6) if sphere else np.random.default_rng(6).normal(size=(6, 2))
    drift = perceptron_of(d, activation)
    inner, offset, outer = drift.arrays

    def rate(x):
        x = space.retract(x)
        hidden = ACTIVATIONS[activation](x @ inner.T + offset)
        v = softmax_sums(x, 0.8) + hidden @ outer.T
        return v - np.einsum("ij,ij->i", x, v)[:, None] * x if sphere else v

    final = solve(points, Attention(beta=0.8, drift=drift), 0.5, space, tolerance=1e-11).points
    assert np.abs(final - exact(rate, points, 0.5)).max() < 1e-8


@pytest.mark.parametrize("law", ["softmax", "linear"])
def test_moments_in_flat_space(law):
    # A drift alone, and beside linear attention, moves tokens by one matrix: their moments are
    # those of a normal distribution. Softmax sees more of tokens than moments: V = 0.
    points = np.random.default_rng(7).normal((0.5, -0.3), size=(40, 2))
    value = 0.0 if law == "softmax" else [[-0.5, 0.3], [0.1, 0.4]]
    model = Attention(law, 0.3, value=value, drift=LinearDrift(matrix_of(2)))
    covariance = np.cov(points.T, bias=True)
    start = Gaussian(tuple(points.mean(axis=0)), tuple(map(tuple, covariance)))
    mean, covariance = exact_solution(model, start, 0.7).moments()
    final = solve(points, model, 0.7, Euclidean(2), tolerance=1e-11).points
    assert np.abs(final.mean(axis=0) - mean).max() < 1e-9
    assert np.abs(np.cov(final.T, bias=True) - covariance).max() < 1e-9


@pytest.mark.parametrize("integrator", STEPS)
def test_drifts_of_layers(on_sphere, integrator):
    points, first, second = on_sphere(8, 10, 4), matrix_of(4, 1), matrix_of(4, 9)
    still = Attention(value=0.0)
    layers = [
        Attention(value=0.0, drift=LinearDrift(first)),
        still,
        Attention(value=0.0, drift=LinearDrift(second)),
    ]
    final = solve(points, Schedule(layers, 0.4), 1.0, integrator=integrator, **STEPS[integrator])
    wanted = points @ expm(0.4 * first).T @ expm(0.2 * second).T
    wanted /= np.linalg.norm(wanted, axis=1)[:, None]
    assert np.abs(final.points - wanted).max() < 1e-8


@pytest.mark.mpi
@pytest.mark.parametrize("integrator", ["adaptive", "rk4"])
@pytest.mark.parametrize("activation", [None, "gelu"])
def test_ranks_agree(on_sphere, share, gather, activation, integrator):
    points = on_sphere(9, 31)
    drift = perceptron_of(3, activation) if activation else LinearDrift(matrix_of(3))
    model = Attention(beta=3.0, drift=drift)
    wanted = solve(points, model, 1.0, integrator=integrator).points
    found = solve(share(points), model, 1.0, comm=WORLD, integrator=integrator).points
    assert np.abs(gather(found) - wanted).max() < 1e-12


def test_no_rescaled_variables():
    model = Attention(drift=LinearDrift(np.eye(2)))
    with pytest.raises(ValueError, match="drift"):
        TokenSolver(np.eye(2), model, Euclidean(2), ALONE, rescaled=True)
