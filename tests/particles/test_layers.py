"""Layers of tokens against their formulas, the flows they tend to, and what hardmax ones keep."""

from mpi4py import MPI

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from meanformer.attention import (
    Attention,
    AttentionDomainError,
    Euclidean,
    Head,
    LinearDrift,
    RandomLayers,
    Schedule,
    Sphere,
)
from meanformer.particles import TokenSolver
from meanformer.particles.layers import NormalisationError
from meanformer.solvers import advance

ALONE, WORLD = MPI.COMM_SELF, MPI.COMM_WORLD
VARIANTS = ["post", "pre", "peri", "ngpt"]


def in_layers(points, model, step, space=None, comm=ALONE, **options):
    space = space or Sphere(points.shape[1])
    return TokenSolver(points, model, space, comm, step, integrator="layers", **options)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1)[:, None]


def matrix_of(dimension, seed=1):
    return np.random.default_rng(seed).normal(size=(dimension, dimension)) / np.sqrt(dimension)


def softmax_output(x, beta, value):
    """M, by its definition."""
    logits = beta * x @ x.T
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights @ x / weights.sum(axis=1, keepdims=True) @ value.T


def formula(variant, y, h, output):
    """One layer, as arXiv 2510.22026 has it."""
    x = unit(y)
    m = output(x)
    if variant == "post":
        return unit(x + h * m)
    if variant == "pre":
        return y + h * m
    if variant == "peri":
        return y + h * unit(m)
    return unit(x + h * (unit(m) - x))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dimension", [2, 3, 5])
class TestVariants:
    def test_are_the_formulas(self, on_sphere, variant, dimension):
        value, y = matrix_of(dimension), on_sphere(1, 9, dimension)
        solver = in_layers(y, Attention(beta=3.0, value=value), 0.3, normalisation=variant)
        for _ in range(10):
            y = formula(variant, y, 0.3, lambda x: softmax_output(x, 3.0, value))
            solver.step(3.0)
            assert np.abs(solver.points - unit(y)).max() < 1e-13
        assert solver.time == 3.0 and solver.steps == 10

    def test_tend_to_their_flows(self, on_sphere, rate, variant, dimension):
        """With P_x m over 1, r, r |m| and |m|; r' = <x, m> (pre), <x, m> / |m| (peri)."""
        value, tokens = matrix_of(dimension), on_sphere(2, 7, dimension)

        def slopes(_, state):
            x, r = state[: tokens.size].reshape(tokens.shape), state[tokens.size :]
            x = unit(x)
            m = softmax_output(x, 3.0, value)
            inner, length = (m * x).sum(axis=1), np.linalg.norm(m, axis=1)
            over = {"post": 1 + 0 * r, "pre": r, "peri": r * length, "ngpt": length}[variant]
            growth = {"pre": inner, "peri": inner / length}.get(variant, 0 * r)
            return np.concatenate([((m - inner[:, None] * x) / over[:, None]).ravel(), growth])

        start = np.concatenate([tokens.ravel(), np.ones(len(tokens))])
        flow = solve_ivp(slopes, (0, 1), start, "DOP853", rtol=1e-11, atol=1e-12).y[:, -1]
        counts, errors = np.array([50, 100, 200]), []
        for count in counts:
            model = Attention(beta=3.0, value=value)
            solver = advance(in_layers(tokens, model, 1 / count, normalisation=variant), 1.0)
            state = solver.arrays()["points"]
            errors.append(np.abs(solver.points.ravel() - flow[: tokens.size]).max())
            if variant in ("pre", "peri"):
                lengths = np.linalg.norm(state, axis=1)
                errors[-1] += np.abs(lengths - flow[tokens.size :]).max()
        assert rate(errors, counts) == pytest.approx(1.0, abs=0.1)
        assert errors[-1] < 0.05


HEADS = (Head(query=2.0, value=0.5), Head(value=matrix_of(3, 4)))
MODELS = {
    "several heads": Attention(beta=1.0, heads=HEADS),
    "unnormalised": Attention("unnormalised", 2.0, value=np.exp(-2.0) * matrix_of(3)),
    "a drift": Attention(beta=2.0, drift=LinearDrift(matrix_of(3, 3))),
    "relative values": Attention(beta=2.0, value=matrix_of(3), relative=True),
    "hardmax": Attention("hardmax", query=matrix_of(3, 5)),
    "sinkhorn": Attention("sinkhorn", 2.0),
    "random values": RandomLayers(Attention(beta=1.0), 3, seed=1, duration=0.2),
}


class TestEveryModel:
    @pytest.mark.parametrize("name", MODELS)
    def test_gives_what_is_not_projected(self, on_sphere, name):
        model, x = MODELS[name], on_sphere(3, 12)
        m = model.at(0.0).velocity(x, x, np.full(12, 1 / 12), Euclidean(3))
        for variant in VARIANTS:
            solver = in_layers(x, model, 0.2, normalisation=variant)
            solver.step(0.2)
            wanted = unit(formula(variant, x, 0.2, lambda _: m))
            assert np.abs(solver.points - wanted).max() < 1e-13

    def test_is_residual_in_space(self):
        rng = np.random.default_rng(6)
        x, value = rng.normal(size=(8, 4)), matrix_of(4)
        solver = in_layers(x, Attention(beta=0.5, value=value), 0.1, Euclidean(4))
        for _ in range(5):
            x = x + 0.1 * softmax_output(x, 0.5, value)
            solver.step(0.5)
            assert np.abs(solver.points - x).max() < 1e-13

    def test_the_first_normalisation_is_the_default(self, on_sphere):
        x, model = on_sphere(3, 12), Attention(beta=2.0)
        default = advance(in_layers(x, model, 0.5), 2.0)
        named = advance(in_layers(x, model, 0.5, normalisation="post"), 2.0)
        assert np.array_equal(default.points, named.points)

    def test_a_layer_of_a_schedule_holds_until_it_ends(self, on_sphere):
        x, values = on_sphere(4, 6), [matrix_of(3, seed) for seed in (7, 8, 9)]
        layers = [Attention(beta=1.0, value=value) for value in values]
        solver = advance(in_layers(x, Schedule(layers, [0.2, 0.1, 0.3]), 0.1), 0.6)
        for value in [values[0]] * 2 + [values[1]] + [values[2]] * 3:
            x = formula("post", x, 0.1, lambda x, value=value: softmax_output(x, 1.0, value))
        assert np.abs(solver.points - x).max() < 1e-13


class TestTime:
    def test_layers_are_counted(self, on_sphere):
        solver = in_layers(on_sphere(1, 3), Attention(value=0.0), 0.1)
        times = []
        for _ in range(1000):
            solver.step(100.0)
            times.append(solver.time)
        assert times == [round(0.1 * (k + 1), 10) for k in range(1000)]

    def test_a_third_to_twelve_digits_ends_at_one(self, on_sphere):
        solver = advance(in_layers(on_sphere(1, 3), Attention(), 0.333333333333), 1.0)
        assert solver.steps == 3 and solver.time == 1.0

    @pytest.mark.parametrize("until", [0.25, 0.05])
    def test_no_layer_is_cut(self, on_sphere, until):
        solver = in_layers(on_sphere(1, 3), Attention(), 0.1)
        with pytest.raises(ValueError, match=f"t = {until} is no multiple of the step, 0.1"):
            solver.step(until)
        assert solver.steps == 0 and solver.time == 0

    def test_nor_by_a_change_of_the_model(self, on_sphere):
        model = Schedule([Attention(), Attention(value=-1.0)], [0.25, 1.0])
        with pytest.raises(ValueError, match=r"t = 0\.25 is no multiple"):
            in_layers(on_sphere(1, 3), model, 0.1).step(1.0)


class TestNoDirection:
    PAIR = np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])

    @pytest.mark.parametrize("variant", VARIANTS)
    @pytest.mark.parametrize("step", [0.5, 1.0])
    def test_where_attention_says_nothing_nothing_moves(self, variant, step):
        # The mean of an antipodal pair is 0, exactly.
        solver = in_layers(self.PAIR, Attention(beta=0.0), step, normalisation=variant)
        assert np.array_equal(advance(solver, 3.0).points, self.PAIR)

    @pytest.mark.filterwarnings("error")
    def test_tokens_of_space_that_grow_beyond_all_bounds(self):
        points = np.random.default_rng(0).normal(size=(4, 3))
        solver = in_layers(points, Attention(value=1e30), 0.01, Euclidean(3))
        with pytest.raises(AttentionDomainError, match="tokens exceed double precision"):
            advance(solver, 0.2)

    @pytest.mark.mpi
    @pytest.mark.parametrize(("variant", "step"), [("post", 1.0), ("pre", 1.0), ("ngpt", 0.5)])
    def test_a_token_at_the_origin_is_told_on_every_rank(self, variant, step):
        # V = -I: a token alone is brought to the origin.
        mine = self.PAIR[:1] if WORLD.rank == 0 else self.PAIR[:0]
        solver = in_layers(
            mine, Attention(value=-1.0), step, Sphere(3), WORLD, normalisation=variant
        )
        with pytest.raises(NormalisationError, match=f"normalised at t = {step:g}"):
            solver.step(step)
        assert solver.time == 0 and np.array_equal(solver.points, mine)


class TestHardmax:
    """X_i + alpha/(1+alpha) mean_{j in C_i} (x_j - x_i) (arXiv 2407.01602)."""

    MATRICES = ([[1.0, 0.0], [0.0, 1.0]], [[2.0, 0.8], [0.8, 0.5]], [[0.3, -0.2], [-0.2, 1.5]])

    @staticmethod
    def solver(points, matrix, alpha=1.0, tolerance=1e-12):
        points = np.asarray(points, dtype=float)
        model = Attention("hardmax", query=matrix, relative=True, tie_tolerance=tolerance)
        return in_layers(points, model, alpha / (1 + alpha), Euclidean(points.shape[1]))

    @pytest.mark.parametrize("matrix", MATRICES)
    @pytest.mark.parametrize("alpha", [0.25, 1.0, 4.0])
    def test_leaders_stay_and_energies_do_not_fall(self, matrix, alpha):
        points = np.random.default_rng(3).uniform(-5, 5, size=(30, 2))
        solver = self.solver(points, matrix, alpha)
        before = points
        fixed = np.zeros(len(points), dtype=bool)
        # Until followers are where their leaders are, up to the tolerance of ties.
        for _ in range(int(18 / np.log1p(alpha))):
            leading = solver.leaders()
            assert np.all(leading[fixed])  # once a leader, always a leader
            fixed = leading
            solver.step(1000 * solver.automatic_step)
            after = solver.points
            assert np.abs(after - before)[fixed].max() <= 1e-15 * 5
            energies = [np.einsum("ni,ij,nj->n", x, matrix, x) for x in (before, after)]
            assert np.all(energies[1] >= energies[0] - 1e-14 * np.abs(energies).max())
            before = after
        assert fixed.sum() >= 2
        assert np.abs(after - points)[fixed].max() <= 1e-15 * 5

    @pytest.mark.parametrize("alpha", [0.1, 1.0, 3.0])
    def test_a_single_follower_contracts(self, alpha):
        leader, follower = np.array([4.0, 1.0]), np.array([0.5, 0.3])
        solver = self.solver([leader, follower], np.eye(2), alpha)
        assert solver.leaders().tolist() == [True, False]
        distances = [np.linalg.norm(follower - leader)]
        for _ in range(6):
            solver.step(1000 * solver.automatic_step)
            distances.append(np.linalg.norm(solver.points[1] - leader))
        ratios = np.array(distances[1:]) / distances[:-1]
        assert np.abs(ratios * (1 + alpha) - 1).max() < 1e-12

    def test_a_step_is_the_formula(self):
        points = np.random.default_rng(5).normal(size=(25, 3))
        matrix = np.diag([1.0, 2.0, 0.5])
        solver = self.solver(points, matrix, 2.0)
        for _ in range(6):
            followed = (points @ matrix @ points.T).argmax(axis=1)
            points = points + 2 / 3 * (points[followed] - points)
            solver.step(100 * solver.automatic_step)
            assert np.abs(solver.points - points).max() < 1e-13

    def test_ties_are_halved(self):
        # The middle token sees both ends alike, and stays on the line between them.
        points = [[1.0, 0.7], [1.0, -0.7], [0.3, 0.0]]
        solver = advance(self.solver(points, np.eye(2)), 3.0)
        wanted = [1 - 0.7 / 2**6, 0.0]
        assert np.abs(solver.points[2] - wanted).max() < 1e-15

    def test_without_a_tolerance_what_is_off_by_little_is_no_tie(self):
        points = [[1.0, 0.7], [1.0, -0.7], [0.3, 1e-13]]
        tied = advance(self.solver(points, np.eye(2), tolerance=1e-12), 10.0)
        apart = advance(self.solver(points, np.eye(2), tolerance=0.0), 10.0)
        assert np.abs(tied.points[2] - [1.0, 0.0]).max() < 1e-5
        assert np.abs(apart.points[2] - points[0]).max() < 1e-5


def share_of(tokens):
    return slice(*(len(tokens) * rank // WORLD.size for rank in (WORLD.rank, WORLD.rank + 1)))


@pytest.mark.mpi
@pytest.mark.parametrize("name", ["a drift", "hardmax", "random values"])
@pytest.mark.parametrize("variant", ["post", "pre", "peri"])
def test_ranks_take_the_same_layers(on_sphere, name, variant):
    tokens = on_sphere(5, 13)
    mine = share_of(tokens)
    alone = advance(in_layers(tokens, MODELS[name], 0.2, normalisation=variant), 2.0)
    together = in_layers(tokens[mine], MODELS[name], 0.2, comm=WORLD, normalisation=variant)
    assert np.abs(advance(together, 2.0).points - alone.points[mine]).max(initial=0.0) < 1e-12


@pytest.mark.parametrize("variant", VARIANTS)
def test_systems_are_those_of_each_alone(on_sphere, variant):
    tokens, options = on_sphere(7, 12), {"normalisation": variant}
    layers = RandomLayers(Attention(beta=1.0), 3, seed=1, scale=2.0, duration=0.2)
    together = advance(in_layers(tokens, layers, 0.2, systems=3, **options), 1.0).points
    for system, own in enumerate(np.split(tokens, 3)):
        drawn = layers.for_systems(range(system, system + 1))
        values = [drawn.layer(number).heads[0].value[0] for number in range(5)]
        alone = Schedule([Attention(beta=1.0, value=value) for value in values], 0.2)
        wanted = advance(in_layers(own, alone, 0.2, **options), 1.0).points
        assert np.abs(np.split(together, 3)[system] - wanted).max() < 1e-13


@pytest.mark.parametrize("variant", VARIANTS)
def test_going_on_is_the_same_bit_for_bit(on_sphere, variant):
    tokens, model = on_sphere(5, 13), MODELS["sinkhorn"]
    whole, first, second = (in_layers(tokens, model, 0.2, normalisation=variant) for _ in range(3))
    advance(first, 0.6)
    second.restore(first.arrays())
    second.velocity()
    advance(whole, 0.6)
    for time in (1.2, 2.0):
        assert np.array_equal(advance(second, time).points, advance(whole, time).points)
    assert second.steps == whole.steps == 10


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"step": None}, "step is None"),
        ({"normalisation": "middle"}, "allowed: post, pre, peri, ngpt"),
        ({"integrator": "rk4", "normalisation": "pre"}, "normalisation is 'pre'; it is of layers"),
        (
            {"space": Euclidean(3), "normalisation": "pre"},
            "normalisation is 'pre'; it is of layers",
        ),
        ({"space": Euclidean(3), "rescaled": True}, "rescaled is True"),
        ({"temperature": 0.1}, "integrator is 'layers'; it must be None with noise"),
    ],
)
def test_refuses(on_sphere, options, match):
    given = {"space": Sphere(3), "step": 0.1, "integrator": "layers"} | options
    with pytest.raises(ValueError, match=match):
        TokenSolver(on_sphere(1, 4), Attention(), comm=ALONE, **given)
