"""Tokens at late times in R^d, for every kind of eigenvalues that V may have."""

from mpi4py import MPI

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import block_diag, expm

from meanformer.attention import Attention, Euclidean
from meanformer.particles import TokenSolver
from meanformer.solvers import advance


def turning(real, imaginary):
    return np.array([[real, -imaginary], [imaginary, real]])


def jordan(eigenvalue, size):
    return eigenvalue * np.eye(size) + np.diag(np.ones(size - 1), 1)


def solver_of(start, value, tolerance, rescaled=True):
    attention, space = Attention(value=value), Euclidean(start.shape[1])
    return TokenSolver(
        start, attention, space, MPI.COMM_SELF, tolerance=tolerance, rescaled=rescaled
    )


# Blocks of V, each with the end of a run: 15 over the largest real part, or over the largest
# absolute one where all tokens contract.
SPECTRA = {
    "positive line": ([[[1.0]]], 15),
    "negative line": ([[[-1.0]]], 15),
    "zero line": ([[[0.0]]], 15),
    "slowly turning": ([turning(1.0, 0.1)], 15),
    "turning": ([turning(0.6, 0.8)], 25),
    "turning inwards": ([turning(-0.5, 1.0)], 30),
    "turning in place": ([turning(0.0, 1.0)], 15),
    "negative": ([[[-1.0]], [[-0.3]]], 15),
    "saddle": ([[[1.0]], [[-1.0]]], 15),
    "zero": ([[[1.0]], [[0.0]]], 15),
    "nilpotent": ([jordan(0.0, 2)], 15),
    "defective and negative": ([jordan(-1.0, 2)], 15),
    "nearly repeated": ([[[1.0]], [[0.99]]], 15),
    "turning outwards and a negative": ([turning(0.6, 0.8), [[-0.7]]], 25),
    "real before turning": ([[[1.0]], turning(0.3, 1.5)], 15),
    "real before turning inwards": ([[[1.0]], turning(-0.4, 1.5)], 15),
    "repeated": ([[[1.0]], [[1.0]], [[-0.5]]], 15),
    "repeated below": ([[[1.0]], [[-0.5]], [[-0.5]]], 15),
    "defective below": ([[[1.0]], jordan(-0.5, 2)], 15),
    "defective of three": ([jordan(-0.7, 3)], 21),
    "all contract": ([[[-1.0]], turning(-0.3, 0.7)], 15),
}
# Leading and defective: see ``test_tokens_on_the_verge_of_leading``.
DEFECTIVE = {
    "defective": ([jordan(1.0, 2)], 4),
    "defective and a negative": ([jordan(1.0, 2), [[-0.3]]], 4),
    "defective of three outwards": ([jordan(1.0, 3)], 5),
}
LONG = [
    "turning",
    "turning in place",
    "turning outwards and a negative",
    "real before turning",
    "defective of three",
    "defective",
    "defective and a negative",
    "defective of three outwards",
]


class Problem:
    """Eight tokens under V = B J B^{-1}, J of blocks, B neither orthogonal nor symmetric."""

    def __init__(self, blocks):
        self.blocks = [np.array(block) for block in blocks]
        self.jordan = block_diag(*self.blocks)
        d = len(self.jordan)
        rng = np.random.default_rng(d)
        turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
        self.basis = turn @ (np.eye(d) + 0.3 * rng.normal(size=(d, d)))
        self.value = self.basis @ self.jordan @ np.linalg.inv(self.basis)
        self.start = np.random.default_rng(9).uniform(-5, 5, size=(8, d))
        expands = np.concatenate([[np.trace(b) > 0] * len(b) for b in self.blocks])
        self.expanding = self.jordan * expands
        self.contracting = self.jordan - self.expanding

    def reference(self, end):
        """Coordinates in B of e^{-tV} x where V expands, of x elsewhere, by another integrator."""

        def rate(time, flat):
            u = flat.reshape(self.start.shape)
            x = u @ (self.basis @ expm(time * self.expanding)).T
            logits = x @ x.T
            weights = np.exp(logits - logits.max(axis=1, keepdims=True))
            mean = weights @ u / weights.sum(axis=1, keepdims=True)
            return (mean @ self.jordan.T - u @ self.expanding.T).ravel()

        start = np.linalg.solve(self.basis, self.start.T).T.ravel()
        found = solve_ivp(rate, (0, end), start, "DOP853", rtol=1e-11, atol=1e-11)
        return found.y[:, -1].reshape(self.start.shape)

    def solver(self, tolerance):
        return solver_of(self.start, self.value, tolerance)

    def coordinates(self, solver):
        """What ``reference`` gives, of a solver of z."""
        in_basis = np.linalg.solve(self.basis, solver.points.T).T
        return in_basis @ expm(solver.time * self.contracting).T


@pytest.mark.verification
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in LONG else ())
        for name in SPECTRA | DEFECTIVE
    ],
)
def test_another_integrator_ends_there(verify, name):
    blocks, end = (SPECTRA | DEFECTIVE)[name]
    problem = Problem(blocks)
    wanted, solver = problem.reference(end), problem.solver(1e-6)
    got = problem.coordinates(advance(solver, end))
    error = np.abs(got - wanted).max() / np.abs(wanted).max()
    verify(
        f"eight tokens to t = {end}, V {name}, at tolerance 1e-6",
        "another integrator at 1e-11",
        f"{error:.1e} of the largest coordinate, {solver.steps} steps",
    )
    assert error < 3e-4
    assert solver.steps < 1000


@pytest.mark.parametrize("name", ["negative", "repeated"])
def test_errors_follow_the_tolerance(name):
    blocks, end = SPECTRA[name]
    problem = Problem(blocks)
    wanted = problem.reference(end)
    got = problem.coordinates(advance(problem.solver(1e-9), end))
    assert np.abs(got - wanted).max() < 1e-7 * np.abs(wanted).max()


@pytest.mark.slow
@pytest.mark.verification
def test_tokens_on_the_verge_of_leading(verify, rate):
    # V = [[1, 1], [0, 1]] up to a basis: a token next to a leader attends to itself with a weight
    # of 1/t^2, in a stable balance until its logits change by |x_i - x_j|^2, of order one. In z
    # that is a layer of width e^{-2t}/t, next to a leader e^{-t} away. Steps keep the balance while
    # the layer is wider than the tolerance, and the distance then is the square root of it.
    problem, end = Problem([jordan(1.0, 2)]), 15.0
    wanted, tolerances, errors, steps = problem.reference(end), [1e-5, 1e-6, 1e-7], [], []
    for tolerance in tolerances:
        solver = advance(problem.solver(tolerance), end)
        errors.append(np.abs(problem.coordinates(solver) - wanted).max() / np.abs(wanted).max())
        steps.append(solver.steps)
    power = rate(errors, 1 / np.array(tolerances), 3)
    verify(
        "a leading eigenvalue that is defective: errors are like the tolerance's square root",
        "another integrator at 1e-11",
        f"tolerance^{power:.2f}; {errors[1]:.1e} and {steps[1]} steps at 1e-6, t = 15",
    )
    assert 0.4 < power < 0.6
    assert max(errors) < 0.03 and max(steps) < 2000


def of_many_dimensions(dimension, leading):
    """V of normal entries, of spectral radius 1; of radius 1/2 and a real one of about 1."""
    rng = np.random.default_rng(dimension)
    value = rng.normal(size=(dimension, dimension)) / np.sqrt(dimension)
    if leading == "complex":
        return value
    axis = rng.normal(size=dimension)
    return value / 2 + np.outer(axis, axis) / (axis @ axis)


@pytest.mark.parametrize("leading", ["complex", "real"])
@pytest.mark.parametrize("dimension", [80, 128])
def test_many_dimensions_move_as_x_does(dimension, leading):
    value = of_many_dimensions(dimension, leading)
    start = np.random.default_rng(5).uniform(-1, 1, size=(20, dimension))
    z, x = (advance(solver_of(start, value, 1e-9, r), 0.5).points for r in (True, False))
    assert np.abs(z @ expm(0.5 * value).T - x).max() < 1e-8


def to_late_times(dimension, number, leading, tolerance):
    """A run to lambda t = 15, and how far leading coordinates are apart, in order."""
    value = of_many_dimensions(dimension, leading)
    values, left = np.linalg.eig(value.T)
    start = np.random.default_rng(5).uniform(-1, 1, size=(number, dimension))
    solver = advance(solver_of(start, value, tolerance), 15 / values.real.max())
    coordinates = np.sort(solver.points @ left[:, values.real.argmax()].real)
    return solver, np.diff(coordinates) / np.ptp(coordinates)


@pytest.mark.slow
@pytest.mark.verification
@pytest.mark.parametrize("dimension", [80, 128])
def test_many_dimensions_at_late_times(verify, dimension):
    coarse, gaps = to_late_times(dimension, 40, "real", 1e-6)
    wanted, _ = to_late_times(dimension, 40, "real", 1e-9)
    error = np.abs(coarse.points - wanted.points).max() / np.abs(wanted.points).max()
    verify(
        f"40 tokens in R^{dimension} to lambda t = 15 at tolerance 1e-6",
        "tolerance 1e-9",
        f"{error:.1e} of the largest coordinate, {coarse.steps} steps",
    )
    assert error < 1e-4
    assert coarse.steps < 500
    assert np.count_nonzero(gaps > 1e-3) <= 2


@pytest.mark.slow
def test_hundreds_of_dimensions_end_on_hyperplanes():
    # Three parallel ones at most, as <Q phi, K phi> > 0 (arXiv 2305.05465).
    solver, gaps = to_late_times(384, 64, "real", 1e-5)
    assert np.count_nonzero(gaps > 1e-3) <= 2
    assert solver.steps < 500


@pytest.mark.slow
def test_many_dimensions_that_turn():
    # Rows of P switch for ever: steps resolve each switch.
    solver, _ = to_late_times(80, 40, "complex", 1e-6)
    assert np.all(np.isfinite(solver.points))
    assert solver.steps < 1500
