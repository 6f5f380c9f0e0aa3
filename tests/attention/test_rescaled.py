"""Rescaled variables: the same motion as that of x, and none of its size."""

from mpi4py import MPI

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import block_diag, expm

from meanformer.attention import Attention, Euclidean, Head, Rescaled, Schedule, Sphere
from meanformer.attention.rescaled import RescalingError, positive_part
from meanformer.particles import TokenSolver
from meanformer.solvers import advance

ALONE = MPI.COMM_SELF
HYPERPLANES = np.array([[0.64709742, 0.81911926], [0.61210449, 0.63263484]])


def run(model, points, end, rescaled=True, tolerance=1e-9):
    space = Euclidean(points.shape[1])
    return advance(
        TokenSolver(points, model, space, ALONE, tolerance=tolerance, rescaled=rescaled), end
    )


def uniform(seed, shape, half_width=5.0):
    return np.random.default_rng(seed).uniform(-half_width, half_width, size=shape)


def directly(start, value, times):
    """Z by the definition in z alone: z_i' = sum_j P_ij V (z_j - z_i), by another integrator."""

    def rate(t, z):
        z = z.reshape(start.shape)
        x = z @ expm(t * value).T
        logits = x @ x.T
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        mean = weights @ z / weights.sum(axis=1, keepdims=True)
        return ((mean - z) @ value.T).ravel()

    span = (0, times[-1])
    found = solve_ivp(rate, span, start.ravel(), "DOP853", times, rtol=1e-11, atol=1e-12)
    return found.y.T.reshape(-1, *start.shape)


class TestPositivePart:
    ROTATION = np.array([[0.3, -2.0], [2.0, 0.3]])
    JORDAN = np.array([[0.5, 1.0], [0.0, 0.5]])

    @pytest.mark.parametrize(
        ("blocks", "positive"),
        [
            ([[[1.0]], [[-0.5]]], [True, False]),
            ([ROTATION, [[-1.0]]], [True, False]),
            ([-ROTATION, [[2.0]]], [False, True]),
            ([JORDAN, -JORDAN], [True, False]),
            ([JORDAN, ROTATION, [[-3.0]], [[0.0]]], [True, True, False, False]),
            ([[[1.0]], [[1.0]], [[2.0]]], [True, True, True]),
            ([[[0.0]], [[0.0]]], [False, False]),
            ([-JORDAN, -ROTATION], [False, False]),
        ],
    )
    def test_of_a_known_decomposition(self, blocks, positive):
        size = sum(len(block) for block in blocks)
        basis = np.random.default_rng(size).normal(size=(size, size))
        kept = [np.multiply(block, good) for block, good in zip(blocks, positive, strict=True)]
        value, wanted = (
            basis @ block_diag(*parts) @ np.linalg.inv(basis) for parts in (blocks, kept)
        )
        assert np.abs(positive_part(value) - wanted).max() <= 1e-12 * np.abs(value).max() * size

    @pytest.mark.parametrize("seed", range(5))
    def test_of_random_matrices(self, seed):
        value = np.random.default_rng(seed).normal(size=(40, 40)) / np.sqrt(40)
        part = positive_part(value)
        assert np.abs(part @ value - value @ part).max() < 1e-9
        # What is left over has no real part above the cut, which is near zero.
        bound = 0.1 * np.abs(np.linalg.eigvals(value).real).max()
        assert np.linalg.eigvals(value - part).real.max() < bound
        assert np.linalg.eigvals(part).real.min() > -1e-9


class TestTheSameMotion:
    VALUE = np.array([[0.6, 0.8, 0.0], [-0.5, 0.6, 0.1], [0.0, 0.2, -0.4]])

    @pytest.mark.parametrize("law", ["softmax", "l2", "sinkhorn", "feature-map"])
    def test_of_every_normalised_law(self, law):
        rng = np.random.default_rng(1)
        start = rng.normal(size=(20, 3))
        query, key = rng.normal(size=(2, 3, 3)) / 2
        attention = Attention(law, 0.5, query, key, self.VALUE)
        x = run(attention, start, 1.0, rescaled=False).points
        z = run(attention, start, 1.0).points
        assert np.abs(z @ expm(self.VALUE).T - x).max() < 1e-7

    def test_of_several_heads(self):
        rng = np.random.default_rng(2)
        start = rng.normal(size=(20, 3))
        heads = [Head(*rng.normal(size=(3, 3, 3)) / 2), Head(0.3, 0.5, 0.7)]
        total = heads[0].value + 0.7 * np.eye(3)
        attention = Attention("softmax", 0.5, heads=heads)
        x = run(attention, start, 1.0, rescaled=False).points
        z = run(attention, start, 1.0).points
        assert np.abs(z @ expm(total).T - x).max() < 1e-7

    def test_of_layers(self):
        # Phi' = V(t) Phi: a product of exponentials, the last one on the left.
        rng = np.random.default_rng(3)
        start, values = rng.normal(size=(20, 3)), (self.VALUE, -self.VALUE.T, np.eye(3))
        model = Schedule([Attention(beta=0.5, value=value) for value in values], 0.4)
        x = run(model, start, 1.0, rescaled=False).points
        solver = run(model, start, 1.0)
        phi = expm(0.2 * values[2]) @ expm(0.4 * values[1]) @ expm(0.4 * values[0])
        assert np.abs(solver.points @ phi.T - x).max() < 1e-7

    def test_velocity_is_that_of_z(self):
        start = np.random.default_rng(4).normal(size=(20, 3))
        before, solver, after = (
            run(Attention(value=self.VALUE), start, time) for time in (0.999, 1.0, 1.001)
        )
        quotient = (after.points - before.points) / 0.002
        assert np.abs(solver.velocity() - quotient).max() < 1e-5 * np.abs(quotient).max()


@pytest.mark.parametrize(
    ("value", "name"),
    [(np.eye(2), "I"), (np.diag([1.0, -0.5]), "diag"), (HYPERPLANES, "hyperplanes")],
    ids=["I", "diag", "hyperplanes"],
)
def test_late_times(value, name, verify):
    start, times = uniform(0, (20, 2)), (1.0, 5.0, 15.0)
    wanted = directly(start, value, times)
    solver = TokenSolver(
        start, Attention(value=value), Euclidean(2), ALONE, rescaled=True, tolerance=1e-6
    )
    worst = 0.0
    for time, z in zip(times, wanted, strict=True):
        error = np.abs(advance(solver, time).points - z).max(axis=0) / np.abs(z).max(axis=0)
        worst = max(worst, error.max())
    what = f"error over the largest coordinate of 20 tokens in z, V = {name}, to t = 15"
    verify(what, "another integrator at 1e-11", f"{worst:.1e}, {solver.steps} steps")
    assert worst < 1e-4
    assert solver.steps < 150


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dimension", "value"),
    [
        (1, np.array([[1.0]])),
        (3, TestTheSameMotion.VALUE),
        (3, block_diag([[1.0, 1.0], [0.0, 1.0]], [[-0.3]])),
        (80, np.random.default_rng(80).normal(size=(80, 80)) / np.sqrt(80)),
    ],
    ids=["1", "3", "repeated", "80"],
)
def test_any_matrix_to_late_times(dimension, value):
    start = uniform(5, (20, dimension), 1.0)
    coarse, fine = (run(Attention(value=value), start, 15.0, tolerance=t) for t in (1e-6, 1e-8))
    spread = np.abs(fine.points).max()
    assert np.isfinite(spread)
    assert np.abs(coarse.points - fine.points).max() < 1e-3 * spread


class TestRefuses:
    @pytest.mark.parametrize("law", ["unnormalised", "linear", "sigmoid"])
    def test_sums(self, law):
        with pytest.raises(ValueError, match="rescaled variables need one of"):
            Rescaled(Attention(law), 2)

    def test_values_that_are_relative_already(self):
        with pytest.raises(ValueError, match="relative is True"):
            Rescaled(Attention(relative=True), 2)

    def test_spheres(self):
        with pytest.raises(ValueError, match="sphere"):
            TokenSolver(np.eye(3), Attention(), Sphere(3), ALONE, rescaled=True)

    def test_times_at_which_the_exponential_overflows(self):
        with pytest.raises(RescalingError, match="exceeds"):
            run(Attention(value=100.0), uniform(1, (3, 2)), 10.0, tolerance=1e-4)


class TestVeryLateTimes:
    TURN = np.array([[0.6, 0.8], [-0.8, 0.6]])

    @pytest.mark.parametrize("time", [10.0, 30.0, 100.0])
    @pytest.mark.parametrize("values", [(1.348, -0.068), (1.0, -1.0), (1.0, 0.5)])
    def test_z_keeps_its_digits(self, values, time):
        # Tokens at one place stay there in z, for any V.
        value = self.TURN @ np.diag(values) @ self.TURN.T
        layer = Rescaled(Attention(value=value), 2).during(0.0)
        smaller = min(0.0, *values)
        axis = self.TURN[:, [int(np.argmin(values))]]
        wanted = np.eye(2) + (np.exp(-time * smaller) - 1) * axis @ axis.T
        assert np.abs(layer.ratio_at(time) - wanted).max() < 1e-13 * np.abs(wanted).max() * time

    def test_a_defective_zero_is_not_cut(self):
        basis = np.random.default_rng(3).normal(size=(3, 3))
        value = basis @ np.diag([1.0, 1.0], 1) @ np.linalg.inv(basis)
        norm = np.linalg.norm(value, 2)
        assert np.linalg.norm(positive_part(value), 2) <= 1.01 * norm
        x = run(Attention(value=value), uniform(1, (8, 3), 1.0), 2.0, rescaled=False).points
        z = run(Attention(value=value), uniform(1, (8, 3), 1.0), 2.0).points
        assert np.abs(z @ expm(2.0 * value).T - x).max() < 1e-6 * np.abs(x).max()

    def test_eigenvalues_that_cannot_be_told_apart(self):
        value = np.array([[1.0, 1.0, -1.0], [-1.0, -1.0, -1.0], [0.0, 0.0, 0.0]])
        assert np.all(np.isfinite(run(Attention(value=value), uniform(1, (5, 3)), 1.0).points))

    def test_layers_too_thin_are_refused(self):
        model = Schedule([Attention(value=np.diag([2.0, 0.5])), Attention(value=HYPERPLANES)], 20.0)
        with pytest.raises(RescalingError, match="expand some directions"):
            run(model, uniform(1, (5, 2)), 25.0)
