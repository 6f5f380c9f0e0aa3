"""Causal tokens and prompts: closed equations, the limit of many labels, ranks, and going on."""

from itertools import pairwise

from mpi4py import MPI

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from meanformer.attention import Attention, Euclidean, Head, Sphere
from meanformer.particles import TokenSolver
from meanformer.solvers import advance

ALONE = MPI.COMM_SELF


def solve(points, attention, space, until, comm=ALONE, **options):
    return advance(TokenSolver(points, attention, space, comm, **options), until)


def on_sphere(count, dimension, seed=0):
    points = np.random.default_rng(seed).normal(size=(count, dimension))
    return points / np.linalg.norm(points, axis=1)[:, None]


class TestClosedEquations:
    @pytest.mark.parametrize("beta", [-1.0, 0.0, 2.0, 9.0])
    def test_the_second_token(self, beta):
        """phi' = -sin(phi) / (1 + e^{beta (1 - cos phi)}), and the first rests."""
        start = np.array([[1.0, 0.0, 0.0], [np.cos(2.0), np.sin(2.0), 0.0]])
        attention = Attention("softmax", beta, causal=True)
        tokens = solve(start, attention, Sphere(3), 2.0, tolerance=1e-11)
        exact = solve_ivp(
            lambda _, phi: -np.sin(phi) / (1 + np.exp(beta * (1 - np.cos(phi)))),
            (0, 2.0), [2.0], "DOP853", rtol=1e-12, atol=1e-14,
        ).y[0, -1]  # fmt: skip
        assert np.array_equal(tokens.points[0], start[0])
        assert np.abs(tokens.points[1] - [np.cos(exact), np.sin(exact), 0.0]).max() < 1e-8

    @pytest.mark.parametrize("sees_itself", [True, False])
    @pytest.mark.parametrize("decay", [0.0, 2.0])
    def test_means_of_the_past(self, sees_itself, decay):
        """Q^T K = 0, V = I: x' = P x with a triangular P, whatever the tokens."""
        n = 20
        numbers = np.arange(n)
        gaps = numbers[:, None] - numbers
        matrix = np.where(gaps >= 1 - sees_itself, np.exp(-decay * gaps / n), 0.0)
        totals = matrix.sum(axis=1, keepdims=True)
        matrix = np.divide(matrix, totals, out=np.zeros_like(matrix), where=totals > 0)
        start = np.random.default_rng(1).normal(size=(n, 1))
        attention = Attention("softmax", 0.0, causal=True, sees_itself=sees_itself, decay=decay)
        tokens = solve(start, attention, Euclidean(1), 1.0, tolerance=1e-11)
        assert np.abs(tokens.points - expm(matrix) @ start).max() < 1e-8

    def test_a_prompt_acts_and_rests(self):
        """x' = mean of prompt and tokens, as many of them as seen, of one weight each."""
        prompt, start = np.array([[2.0], [-1.0]]), np.array([[1.0], [3.0], [0.5]])
        everyone = np.concatenate([prompt, start])
        for causal, seen in ((True, np.tri(5)), (False, np.ones((5, 5)))):
            matrix = seen / seen.sum(axis=1, keepdims=True)
            matrix[:2] = 0.0
            attention = Attention("softmax", 0.0, causal=causal)
            tokens = solve(
                start, attention, Euclidean(1), 1.0, tolerance=1e-11, prompt=prompt.tolist()
            )
            assert np.abs(tokens.points - (expm(matrix) @ everyone)[2:]).max() < 1e-8
            assert tokens.mass() == pytest.approx(1)

    def test_a_prompt_adds_to_a_law_that_is_not_normalised(self):
        prompt, start = on_sphere(4, 3, 1), on_sphere(6, 3, 2)
        tokens = TokenSolver(start, Attention("unnormalised", 1.5), Sphere(3), ALONE, prompt=prompt)
        everyone = np.concatenate([prompt, start])
        sums = np.exp(1.5 * start @ everyone.T) @ everyone / 6
        wanted = Sphere(3).tangent(start, sums)
        assert np.abs(tokens.velocity() - wanted).max() < 1e-10
        assert tokens.attention_matrix().shape == (1, 6, 10)

    def test_rescaled_tokens_are_those_of_x(self):
        """The first one sees nothing: z = e^{-tV} x of one that rests."""
        start = np.random.default_rng(3).normal(size=(12, 2))
        value = np.array([[0.8, 0.3], [-0.2, -0.5]])
        attention = Attention("softmax", 0.5, value=value, causal=True, sees_itself=False)
        given = start, attention, Euclidean(2), 1.0
        x, z = (solve(*given, tolerance=1e-10, rescaled=one).points for one in (False, True))
        assert np.abs(z - x @ expm(-value).T).max() < 1e-7


class TestManyLabels:
    @pytest.mark.parametrize("power", [1.0, 2.0])
    def test_the_exact_limit(self, power):
        """x = e^{t/(p+1)} s^p for Q^T K = 0, V = I; n tokens are off by 1/n."""
        errors = []
        for n in 50 * 2 ** np.arange(6):
            labels = (np.arange(n)[:, None] + 1) / n
            attention = Attention("softmax", 0.0, causal=True)
            tokens = solve(labels**power, attention, Euclidean(1), 1.0, tolerance=1e-9)
            errors.append(np.abs(tokens.points - np.exp(1 / (power + 1)) * labels**power).mean())
        orders = np.log2(np.array(errors[:-1]) / errors[1:])
        assert np.abs(orders - 1).max() < 0.1

    def test_with_attention(self):
        """Differences of n and 2 n tokens fall like 1/n, with Q^T K that is no multiple of I."""
        query, ends = np.array([[1.0, 0.7], [-0.4, 0.8]]), []
        for n in 50 * 2 ** np.arange(5):
            labels = (np.arange(n) + 1) / n
            start = np.stack([np.sin(3 * labels), labels**2], axis=1)
            attention = Attention("softmax", 1.0, query, causal=True, decay=1.0)
            tokens = solve(start, attention, Euclidean(2), 1.0, tolerance=1e-9)
            ends.append(tokens.points)
        gaps = [np.abs(coarse - fine[1::2]).mean() for coarse, fine in pairwise(ends)]
        orders = np.log2(np.array(gaps[:-1]) / gaps[1:])
        assert np.abs(orders[1:] - 1).max() < 0.1


def test_all_meet_the_first():
    """V = I on the sphere (arXiv 2411.04990)."""
    start = on_sphere(20, 3)
    tokens = solve(start, Attention("softmax", 2.0, causal=True), Sphere(3), 60.0)
    assert np.abs(tokens.points[0] - start[0]).max() < 1e-15
    assert np.abs(tokens.points - start[0]).max() < 1e-3


@pytest.mark.parametrize("sees_itself", [True, False])
def test_leaders_of_causal_hardmax(sees_itself):
    """Who is longer than all before along its direction; whatever the decay, and never a twin."""
    points = np.array([[1.0, 0.0], [0.5, 0.0], [0.0, 2.0], [3.0, 0.0], [3.0, 0.0], [0.0, 1.0]])
    attention = Attention("hardmax", causal=True, sees_itself=sees_itself, decay=100.0)
    tokens = TokenSolver(points, attention, Euclidean(2), ALONE, integrator="rk4")
    leading = [True, False, True, True, False, False]
    assert tokens.leaders().tolist() == [each and sees_itself for each in leading]


def test_steps_are_short_enough_for_the_first_tokens():
    """Those that spread most see each other alone: the whole measure's variance says nothing."""
    far = np.array([[-3.0], [3.0], [-3.0], [3.0]])
    near = 0.01 * np.random.default_rng(0).normal(size=(400, 1))
    attention = Attention("softmax", 1.0, causal=True, value=-1.0)
    tokens = solve(np.concatenate([far, near]), attention, Euclidean(1), 0.1, integrator="rk4")
    alone = solve(far, attention, Euclidean(1), 0.1, integrator="rk4")
    assert 2 * tokens.steps >= alone.steps > 5


def test_each_of_several_systems_has_its_own_past_and_the_same_prompt():
    start, prompt = on_sphere(3 * 8, 3), on_sphere(4, 3, 1)
    given = Attention("softmax", 2.0, causal=True, decay=1.0), Sphere(3), 1.0
    options = {"integrator": "rk4", "step": 0.25, "prompt": prompt}
    together = solve(start, *given, systems=3, **options).points.reshape(3, 8, 3)
    for own, points in zip(start.reshape(3, 8, 3), together, strict=True):
        assert np.abs(points - solve(own, *given, **options).points).max() < 1e-13


@pytest.mark.mpi
@pytest.mark.parametrize("integrator", ["adaptive", "rk4", None])
def test_ranks(share, gather, integrator):
    noise = 0.3 if integrator is None else 0.0
    start, prompt = on_sphere(60, 3), on_sphere(7, 3, 1)
    heads = [Head(2.0, None, 1.0), Head(None, None, [[0, -1, 0], [1, 0, 0], [0, 0, 1]])]
    attention = Attention("softmax", 1.5, heads=heads, causal=True, decay=1.0)
    options = {"integrator": integrator, "temperature": noise, "prompt": prompt}
    own = slice(
        *(
            60 * rank // MPI.COMM_WORLD.size
            for rank in (MPI.COMM_WORLD.rank, MPI.COMM_WORLD.rank + 1)
        )
    )
    alone = solve(start, attention, Sphere(3), 0.5, **options)
    together = solve(start[own], attention, Sphere(3), 0.5, MPI.COMM_WORLD, **options)
    assert together.steps == alone.steps
    assert np.abs(together.points - alone.points[own]).max(initial=0.0) < 1e-12


@pytest.mark.parametrize("integrator", ["adaptive", "rk4"])
def test_goes_on_bit_by_bit(integrator):
    start, prompt = on_sphere(30, 3), on_sphere(5, 3, 1)
    attention = Attention("softmax", 1.5, causal=True, decay=1.0, sees_itself=False)

    def new():
        return TokenSolver(start, attention, Sphere(3), ALONE, integrator=integrator, prompt=prompt)

    whole = advance(new(), 0.5)
    kept = {name: array.copy() for name, array in whole.arrays().items()}
    again = new()
    again.restore(kept)
    assert np.array_equal(advance(again, 1.0).points, advance(whole, 1.0).points)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": np.ones((2, 2))}, "prompt must have shape"),
        ({"prompt": np.ones((2, 3))}, "each row a point of the space"),
        ({"prompt": np.full((2, 3), np.nan)}, "each row a point of the space"),
    ],
)
def test_bad_prompts(options, message):
    with pytest.raises(ValueError, match=message):
        TokenSolver(on_sphere(5, 3), Attention(), Sphere(3), ALONE, **options)


def test_a_prompt_is_not_rescaled():
    with pytest.raises(ValueError, match="rescaled is True; it must be False with a prompt"):
        TokenSolver(
            np.eye(2), Attention(), Euclidean(2), ALONE, rescaled=True, prompt=np.ones((1, 2))
        )
