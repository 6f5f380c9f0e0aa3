"""Tokens by error-controlled steps, against closed equations and other programs."""

from mpi4py import MPI

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from meanformer.attention import Attention, Euclidean, Schedule, Sphere
from meanformer.errors import SolverError
from meanformer.integrators.embedded import DORMAND_PRINCE
from meanformer.integrators.stepper import Rate
from meanformer.particles import TokenSolver
from meanformer.solvers import advance

ALONE = MPI.COMM_SELF
LAWS = ["softmax", "unnormalised"]


def solver_of(points, attention, space=None, comm=ALONE, **options):
    space = space or Sphere(points.shape[1])
    return TokenSolver(points, attention, space, comm, **options)


def exact(rate, start, until):
    solution = solve_ivp(
        lambda _, y: rate(y), (0, until), [start], "DOP853", rtol=1e-13, atol=1e-15
    )
    return solution.y[0, -1]


def two_tokens(angle):
    return np.array([[1.0, 0.0, 0.0], [np.cos(angle), np.sin(angle), 0.0]])


def rate_of_two(law, beta):
    if law == "softmax":
        return lambda phi: -2 * np.sin(phi) / (1 + np.exp(beta * (1 - np.cos(phi))))
    return lambda phi: -np.sin(phi) * np.exp(beta * np.cos(phi))


def rate_of_equiangular(law, beta, n):
    def rate(g):
        common = 2 * (1 - g) * (1 + (n - 1) * g)
        if law == "softmax":
            return common / (np.exp(beta * (1 - g)) + n - 1)
        return common * np.exp(beta * g) / n

    return rate


@pytest.mark.parametrize("law", LAWS)
class TestClosedEquations:
    """arXiv 2312.10794."""

    def test_two_tokens(self, law, verify):
        solver = solver_of(two_tokens(2.5), Attention(law, 1.0), tolerance=1e-10)
        worst = 0.0
        for time in np.linspace(0.1, 10, 100):
            x, y = advance(solver, time).points
            phi = 2 * np.arcsin(np.linalg.norm(x - y) / 2)
            worst = max(worst, abs(phi - exact(rate_of_two(law, 1.0), 2.5, time)))
        verify(
            "error of two tokens to t = 10 at tolerance 1e-10", "closed equation", f"{worst:.1e}"
        )
        assert worst < 1e-9

    def test_equiangular_tokens(self, law):
        n, start, beta = 5, -0.2, 2.0
        tokens = np.linalg.cholesky((1 - start) * np.eye(n) + start)
        solver = solver_of(tokens, Attention(law, beta), tolerance=1e-10)
        for time in (0.3, 1.0, 3.0, 10.0):
            gram = advance(solver, time).points @ solver.points.T
            off = gram[~np.eye(n, dtype=bool)]
            wanted = exact(rate_of_equiangular(law, beta, n), start, time)
            assert np.abs(off - wanted).max() < 1e-9


@pytest.mark.parametrize(
    ("law", "n", "beta", "until"), [("softmax", 3, 1.0, 4.0), ("unnormalised", 2, 0.5, 2.0)]
)
def test_the_pair_is_of_fifth_order(law, n, beta, until, verify_order):
    attention, space, weights = Attention(law, beta), Sphere(n), np.full(n, 1 / n)

    def velocity(points, time):
        x = space.retract(points)
        return Rate(attention.velocity(x, x, weights, space, 1e-14))

    start, sizes, errors = -0.3, (8, 16, 32), []
    wanted = exact(rate_of_equiangular(law, beta, n), start, until)
    for count in sizes:
        x, dt = np.linalg.cholesky((1 - start) * np.eye(n) + start), until / count
        for k in range(count):
            x = space.retract(
                DORMAND_PRINCE.step(x, k * dt, dt, velocity(x, 0), tendency=velocity).after
            )
        errors.append(abs(x[0] @ x[1] - wanted))
    what = f"the pair, {n} equiangular tokens ({law})"
    assert verify_order(what, 5, "closed equation", errors, sizes) > 4.75


@pytest.mark.parametrize("tolerance", [1e-4, 1e-6, 1e-8])
@pytest.mark.parametrize("law", LAWS)
def test_errors_follow_the_tolerance(on_sphere, law, tolerance):
    tokens, attention = on_sphere(2, 20), Attention(law, 4.0)
    until = 2.0 if law == "softmax" else 2 * np.exp(-4)
    wanted = advance(solver_of(tokens, attention, tolerance=1e-12), until).points
    got = advance(solver_of(tokens, attention, tolerance=tolerance), until).points
    assert 1e-4 * tolerance < np.abs(got - wanted).max() < 20 * tolerance


def test_few_steps_at_large_beta(on_sphere):
    # Bounded steps are as short as the fastest motion that e^beta allows, to the end.
    attention = Attention("unnormalised", 16.0, value=np.exp(-16.0))
    tokens = on_sphere(3, 16)
    adaptive = advance(solver_of(tokens, attention), 40.0)
    bounded = advance(solver_of(tokens, attention, integrator="rk4"), 40.0)
    assert adaptive.steps < bounded.steps / 10
    assert np.abs(adaptive.points - bounded.points).max() < 1e-4


CASES = {
    "sphere": (Attention(beta=4.0), Sphere(3), {}),
    "unnormalised": (Attention("unnormalised", 2.0), Sphere(3), {}),
    "sinkhorn": (Attention("sinkhorn", 2.0), Sphere(3), {}),
    "flat": (Attention(beta=1.0), Euclidean(3), {}),
    "rescaled": (Attention(beta=1.0), Euclidean(3), {"rescaled": True}),
    "layers": (Schedule([Attention(beta=4.0), Attention(value=-1.0)], 0.33), Sphere(3), {}),
    "bounded": (Attention(beta=4.0), Sphere(3), {"integrator": "rk4"}),
}


class TestSamples:
    @pytest.fixture(params=CASES)
    def start(self, request, on_sphere):
        attention, space, options = CASES[request.param]
        return lambda: solver_of(on_sphere(5, 14), attention, space, **options)

    def test_shorten_no_step(self, start):
        seen, unseen = start(), start()
        if seen.arrays().keys() == {"points", "time", "steps"}:
            pytest.skip("bounded steps end at samples")
        for time in np.linspace(0, 1, 101)[1:]:
            advance(seen, time)
            assert seen.time == time
        advance(unseen, 1.0)
        assert seen.steps == unseen.steps < 101
        assert np.array_equal(seen.points, unseen.points)

    def test_lie_on_the_sphere(self, start):
        solver = start()
        if not isinstance(solver.space, Sphere):
            pytest.skip("no sphere")
        for time in np.linspace(0, 1, 31)[1:]:
            advance(solver, time)
            assert np.abs(np.linalg.norm(solver.points, axis=1) - 1).max() < 1e-15

    @pytest.mark.parametrize("stop", [0.0, 0.31, 0.33, 0.7])
    def test_going_on_is_the_same_bit_for_bit(self, start, stop):
        whole, first, second = start(), start(), start()
        for solver in (whole, first):
            for time in (0.31, 0.33, 0.7):
                if time <= stop:
                    advance(solver, time)
        second.restore(first.arrays())
        assert np.array_equal(second.points, whole.points)
        for time in (0.72, 1.0, 1.5):
            advance(whole, time)
            advance(second, time)
            assert np.array_equal(second.points, whole.points)
        assert (second.steps, second.refused_steps) == (whole.steps, whole.refused_steps)


@pytest.mark.mpi
@pytest.mark.parametrize("case", ["sphere", "unnormalised", "flat", "rescaled", "layers"])
def test_ranks_take_the_same_steps(on_sphere, share, gather, case):
    attention, space, options = CASES[case]
    tokens = on_sphere(6, 25)
    alone = solver_of(tokens, attention, space, **options)
    together = solver_of(share(tokens), attention, space, MPI.COMM_WORLD, **options)
    for time in (0.2, 1.0):
        advance(alone, time)
        advance(together, time)
        assert np.abs(gather(together.points) - alone.points).max() < 1e-12
    assert (together.steps, together.refused_steps) == (alone.steps, alone.refused_steps)


def test_angles_on_the_circle_keep_their_sum():
    # Unnormalised attention has no torque (arXiv 2312.10794).
    angles = np.random.default_rng(10).uniform(-1.2, 1.2, size=25)
    tokens = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    solver = advance(solver_of(tokens, Attention("unnormalised", 2.0), tolerance=1e-13), 1.0)
    final = np.arctan2(solver.points[:, 1], solver.points[:, 0])
    assert abs(np.sum(final - angles)) < 1e-12


def test_no_step_is_longer_than_the_longest(on_sphere):
    solver = advance(solver_of(on_sphere(1, 4), Attention(), step=0.05), 1.0)
    assert solver.steps == 20


class TestJumps:
    def test_a_sum_of_steps_may_miss_it_by_round_off(self, on_sphere):
        # 0.1 added eight times is less than 0.8.
        model = Schedule([Attention(value=0.1), Attention(value=-0.1)], [0.8, 1.0])
        solver = advance(solver_of(on_sphere(1, 5), model, step=0.1), 1.0)
        assert solver.steps == 10

    @pytest.mark.parametrize("rest", [1e-9, 1e-5])
    def test_a_short_rest_does_not_shorten_what_follows(self, on_sphere, rest):
        model = Schedule([Attention(), Attention(value=-1.0)], [15 + rest, 1.0])
        solver = advance(solver_of(on_sphere(1, 5), model, step=0.1), 20.0)
        assert solver.steps < 210


class TestInOnePlace:
    @pytest.mark.parametrize("number", [1, 6, 7, 8])
    def test_tokens_move_as_one(self, number):
        solver = solver_of(np.tile([[0.1, 0.3]], (number, 1)), Attention(value=-1.0), Euclidean(2))
        advance(solver, 3.0)
        assert np.allclose(solver.points, np.exp(-3) * np.array([0.1, 0.3]), rtol=1e-5, atol=0)
        assert solver.steps < 40 and solver.refused_steps < 3


def test_tokens_beyond_double_precision_stop():
    solver = solver_of(np.full((2, 1), 1e10), Attention(value=1e300), Euclidean(1))
    with pytest.raises(SolverError, match=r"double precision|too small|not positive"):
        advance(solver, 1.0)


class TestAlone:
    def test_a_token_that_contracts(self):
        solver = solver_of(np.array([[3.0, -4.0]]), Attention(value=-1.0), Euclidean(2))
        advance(solver, 20.0)
        assert solver.points == pytest.approx(np.exp(-20) * np.array([[3.0, -4.0]]), rel=1e-5)
        assert solver.steps < 400

    def test_a_token_at_rest(self):
        solver = solver_of(np.zeros((3, 2)), Attention(), Euclidean(2))
        assert np.array_equal(advance(solver, 5.0).points, np.zeros((3, 2)))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"integrator": "euler"}, "adaptive, rk4"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"tolerance": 0.1}, "tolerance"),
        ({"rescaled": True}, "sphere"),
    ],
)
def test_refuses(on_sphere, options, match):
    with pytest.raises(ValueError, match=match):
        solver_of(on_sphere(1, 4), Attention(), **options)
