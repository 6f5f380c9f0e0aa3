"""The token solver against closed equations, conservation laws and independent integrators."""

from mpi4py import MPI

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from meanformer.attention import Attention, Euclidean, Sphere, interaction_energy
from meanformer.attention.measures import PoissonKernel
from meanformer.particles import TokenSolver
from meanformer.solvers import advance

ALONE = MPI.COMM_SELF
LAWS = ["softmax", "unnormalised"]


def solve(points, attention, until, step=None, space=None, comm=ALONE, **options):
    space = space or Sphere(points.shape[1])
    return advance(TokenSolver(points, attention, space, comm, step, **options), until)


def exact(rate, start, until):
    """Solution of a scalar or vector equation, to round-off."""
    solution = solve_ivp(
        lambda _, y: rate(y), (0, until), np.atleast_1d(start), "DOP853", rtol=1e-12, atol=1e-14
    )
    return solution.y[:, -1]


def attention_sums(law, beta, x):
    """sum_j x_j e^{beta <x_i,x_j>}, over Z or over n: the definition, before projection."""
    weights = np.exp(beta * x @ x.T)
    scale = weights.sum(axis=1, keepdims=True) if law == "softmax" else len(x)
    return weights @ x / scale


def velocity(law, beta, x):
    y = attention_sums(law, beta, x)
    return y - np.einsum("ij,ij->i", x, y)[:, None] * x


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("beta", [-2.0, 0.0, 1.0, 4.0])
class TestClosedEquations:
    """arXiv 2312.10794."""

    @pytest.mark.parametrize(("n", "start"), [(3, 0.1), (5, -0.2)])
    def test_equiangular_tokens(self, law, beta, n, start):
        # g' = 2(1-g)(1+(n-1)g)/(e^{beta(1-g)}+n-1), or (2/n) e^{beta g} (1-g)(1+(n-1)g).
        def rate(g):
            common = 2 * (1 - g) * (1 + (n - 1) * g)
            if law == "softmax":
                return common / (np.exp(beta * (1 - g)) + n - 1)
            return common * np.exp(beta * g) / n

        gram = (1 - start) * np.eye(n) + start
        tokens = np.linalg.cholesky(gram)
        final = solve(tokens, Attention(law, beta), 1.0, step=0.01).points
        gram = final @ final.T
        off = gram[~np.eye(n, dtype=bool)]
        assert np.ptp(off) < 1e-12
        assert abs(off[0] - exact(rate, start, 1.0)[0]) < 1e-8

    @pytest.mark.parametrize("angle", [0.3, 2.5])
    @pytest.mark.parametrize("dimension", [2, 3])
    def test_two_tokens(self, law, beta, angle, dimension):
        # phi' = -2 sin(phi)/(1+e^{beta(1-cos phi)}), or -sin(phi) e^{beta cos phi}.
        def rate(phi):
            if law == "softmax":
                return -2 * np.sin(phi) / (1 + np.exp(beta * (1 - np.cos(phi))))
            return -np.sin(phi) * np.exp(beta * np.cos(phi))

        tokens = np.zeros((2, dimension))
        tokens[0, 0], tokens[1, :2] = 1, [np.cos(angle), np.sin(angle)]
        x, y = solve(tokens, Attention(law, beta), 1.0, step=0.01).points
        phi = 2 * np.arcsin(np.linalg.norm(x - y) / 2)
        assert abs(phi - exact(rate, angle, 1.0)[0]) < 1e-7


@pytest.mark.parametrize("law", LAWS)
def test_runge_kutta_is_of_order_four(on_sphere, law):
    tokens, beta = on_sphere(1, 12), 3.0
    wanted = exact(lambda y: velocity(law, beta, y.reshape(-1, 3)).ravel(), tokens.ravel(), 1.0)
    errors = []
    for step in (0.1, 0.05, 0.025):
        final = solve(tokens, Attention(law, beta), 1.0, step, integrator="rk4").points
        errors.append(np.abs(final.ravel() - wanted).max())
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert orders.min() >= 3.8
    assert errors[-1] < 1e-5


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("beta", [-4.0, 1.0, 9.0])
def test_automatic_steps_resolve_the_motion(on_sphere, law, beta):
    tokens, until = on_sphere(2, 20), 0.5
    if law == "unnormalised":
        until *= np.exp(-abs(beta))  # speeds reach e^{|beta|}
    wanted = exact(lambda y: velocity(law, beta, y.reshape(-1, 3)).ravel(), tokens.ravel(), until)
    final = solve(tokens, Attention(law, beta), until, integrator="rk4").points
    # A step is a tenth of the time in which velocities change: (0.1)^4 / 120 a unit of time.
    assert np.abs(final.ravel() - wanted).max() < 1e-5


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("dimension", [1, 2])
def test_tokens_in_euclidean_space(law, dimension):
    tokens = np.random.default_rng(3).uniform(-1, 1, size=(15, dimension))
    matrices = np.random.default_rng(4).normal(size=(3, dimension, dimension))
    attention = Attention(law, 0.5, *matrices)
    query, key, value = matrices

    def rate(y):
        x = y.reshape(-1, dimension)
        weights = np.exp(0.5 * (x @ query.T) @ (x @ key.T).T)
        scale = weights.sum(axis=1, keepdims=True) if law == "softmax" else len(x)
        return (weights @ x / scale @ value.T).ravel()

    final = solve(tokens, attention, 0.5, 0.005, Euclidean(dimension)).points
    assert np.abs(final.ravel() - exact(rate, tokens.ravel(), 0.5)).max() < 1e-8


class TestKuramoto:
    """beta = 0: every token moves by v = P_x m with m the mean of all."""

    def test_fifty_tokens(self):
        uniforms = np.random.default_rng(5).uniform(size=(50, 3))
        tokens = PoissonKernel((0.2, -0.1, 0.2)).sample(uniforms)

        def rate(y):
            x = y.reshape(-1, 3)
            mean = x.mean(axis=0)
            return (mean - (x @ mean)[:, None] * x).ravel()

        for law in LAWS:
            final = solve(tokens, Attention(law, beta=0.0), 2.0, step=0.02).points
            assert np.abs(final.ravel() - exact(rate, tokens.ravel(), 2.0)).max() < 1e-8

    @pytest.mark.parametrize("value", [1.0, -1.0])
    def test_the_poisson_kernel_keeps_its_form(self, value):
        # r' = +-(1-r^2)/2 mhat(r); tokens from an even lattice have the mean of the density.
        def mean_length(r):
            log = np.log((1 + r) / (1 - r))
            return (1 + r**2) / (2 * r) - (1 - r**2) ** 2 / (4 * r**2) * log

        count, axis = 4000, np.array([2.0, -1.0, 2.0]) / 3
        number = np.arange(count)
        lattice = np.stack(
            [0 * number, (number + 0.5) / count, np.mod(number * (np.sqrt(5) - 1) / 2, 1)], axis=1
        )
        tokens = PoissonKernel(tuple(0.3 * axis)).sample(lattice)
        solver = TokenSolver(tokens, Attention(beta=0.0, value=value), Sphere(3), ALONE, 0.1)
        for time in (0.5, 1.0, 2.0):
            advance(solver, time)
            r = exact(lambda r: value * (1 - r**2) / 2 * mean_length(r), 0.3, time)[0]
            mean = solver.points.mean(axis=0)
            # The lattice starts within 1e-5 of the mean; the flow stretches that by e^{t} at most.
            assert np.abs(mean - mean_length(r) * axis).max() < 1e-5 * np.exp(time)

    @pytest.mark.parametrize(
        ("time", "length"),
        [(0.5, 0.5147863920), (1, 0.6473419475), (2, 0.8683197557), (4, 0.9935316179)],
    )
    def test_mean_lengths_on_record(self, time, length):
        count = 4000
        number = np.arange(count)
        lattice = np.stack(
            [0 * number, (number + 0.5) / count, np.mod(number * (np.sqrt(5) - 1) / 2, 1)], axis=1
        )
        tokens = PoissonKernel((0.0, 0.0, 0.3)).sample(lattice)
        final = solve(tokens, Attention(beta=0.0), float(time), step=0.1)
        assert abs(np.linalg.norm(final.points.mean(axis=0)) - length) < 2e-5


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("count", [30, 300])
class TestSymmetries:
    """With few tokens and many: both backends of attention."""

    def test_rotations(self, on_sphere, law, count):
        tokens = on_sphere(6, count)
        turn, _ = np.linalg.qr(np.random.default_rng(7).normal(size=(3, 3)))
        plain = solve(tokens, Attention(law, 4.0), 0.3, 0.05).points
        turned = solve(tokens @ turn.T, Attention(law, 4.0), 0.3, 0.05).points
        assert np.abs(turned - plain @ turn.T).max() < (1e-13 if law == "softmax" else 1e-11)

    def test_permutations(self, on_sphere, law, count):
        tokens, order = on_sphere(6, count), np.random.default_rng(8).permutation(count)
        plain = solve(tokens, Attention(law, 4.0), 0.3, 0.05).points
        shuffled = solve(tokens[order], Attention(law, 4.0), 0.3, 0.05).points
        assert np.abs(shuffled - plain[order]).max() < (1e-13 if law == "softmax" else 1e-11)

    def test_lengths_stay_one(self, on_sphere, law, count):
        solver = TokenSolver(on_sphere(6, count), Attention(law, 4.0), Sphere(3), ALONE, 0.1)
        for _ in range(10):
            solver.step(10.0)
            assert np.abs(np.linalg.norm(solver.points, axis=1) - 1).max() < 1e-15


class TestConservation:
    @pytest.mark.parametrize("dimension", [3, 4])
    @pytest.mark.parametrize("beta", [1.0, 4.0])
    def test_unnormalised_attention_has_no_torque(self, on_sphere, dimension, beta):
        # sum_i x_i ^ v_i = (1/n) sum_ij x_i ^ x_j e^{beta <x_i,x_j>} = 0; softmax breaks it.
        x = on_sphere(9, 40, dimension, centre=np.eye(dimension)[0], width=0.7)
        torque = {}
        for law in LAWS:
            v = Attention(law, beta).velocity(x, x, np.full(40, 1 / 40), Sphere(dimension))
            moment = x.T @ v / 40
            torque[law] = np.abs(moment - moment.T).max()
        assert torque["unnormalised"] < 1e-14 * np.exp(beta)
        assert torque["softmax"] > 1e-4

    def test_angles_on_the_circle_keep_their_sum(self):
        angles = np.random.default_rng(10).uniform(-1.2, 1.2, size=25)
        tokens = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        change = {}
        for law in LAWS:
            final = solve(tokens, Attention(law, 2.0), 1.0, 0.01).points
            change[law] = np.sum(np.arctan2(final[:, 1], final[:, 0]) - angles)
        assert abs(change["unnormalised"]) < 1e-6  # Runge-Kutta keeps it to its fourth order
        assert abs(change["softmax"]) > 1e-3


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("beta", [-4.0, 1.0, 9.0])
class TestEnergy:
    @pytest.mark.parametrize("count", [60, 300])
    def test_rate_is_the_dissipation(self, on_sphere, law, beta, count):
        # dE/dt = int |v|^2, or int Z |v|^2 for softmax.
        x, w = on_sphere(11, count), np.full(count, 1 / count)
        attention, space = Attention(law, beta), Sphere(3)
        field = attention.prepare(x, x, space)(w)
        h = 1e-3 / attention.rate_bound(field, space)
        ahead, behind = (
            interaction_energy(attention, space.retract(x + s * field.velocity), w, space)
            for s in (h, -h)
        )
        partition = field.partition * np.exp(field.log_scale) if law == "softmax" else 1.0
        dissipation = np.sum(w * partition * (field.velocity**2).sum(axis=1))
        # The difference quotient is off by (h |Dv|)^2 and by the round-off of E over h.
        energy = interaction_energy(attention, x, w, space)
        tolerance = 1e-6 * dissipation + 1e-13 * abs(energy) / h
        assert abs((ahead - behind) / (2 * h) - dissipation) < tolerance
        assert tolerance < 1e-3 * dissipation

    def test_increases_to_the_last_step(self, on_sphere, law, beta):
        solver = TokenSolver(on_sphere(12, 50), Attention(law, beta), Sphere(3), ALONE)
        energies = []
        for _ in range(25):
            energies.append(
                interaction_energy(Attention(law, beta), solver.points, solver.weights, Sphere(3))
            )
            solver.step(100.0)
        assert np.diff(energies).min() > 0


@pytest.mark.mpi
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("beta", [-4.0, 4.0])
@pytest.mark.parametrize("count", [30, 400])
class TestRanks:
    COMM = MPI.COMM_WORLD

    def test_tokens_move_as_they_do_alone(self, on_sphere, share, gather, law, beta, count):
        tokens, attention = on_sphere(13, count), Attention(law, beta)
        alone = solve(tokens, attention, 0.2)
        together = solve(share(tokens), attention, 0.2, comm=self.COMM)
        assert together.number == count
        assert together.steps == alone.steps
        assert together.mass() == pytest.approx(1, rel=1e-14)
        assert np.abs(gather(together.points) - alone.points).max() < 1e-13 * np.exp(abs(beta))

    def test_a_rank_may_hold_no_token(self, on_sphere, share, law, beta, count):
        tokens, attention = on_sphere(13, count), Attention(law, beta)
        alone = solve(tokens, attention, 0.2)
        together = solve(share(tokens, only=0), attention, 0.2, comm=self.COMM)
        assert together.steps == alone.steps
        if self.COMM.rank == 0:
            assert np.abs(together.points - alone.points).max() < 1e-13 * np.exp(abs(beta))


class TestSteps:
    def tokens(self, on_sphere):
        return on_sphere(14, 10)

    def test_end_at_the_time_asked_for(self, on_sphere):
        for step in (None, 0.03, 0.1, 7.0):
            solver = solve(self.tokens(on_sphere), Attention(), 1.0, step, integrator="rk4")
            assert solver.time == 1.0
            if step:
                assert solver.steps == int(np.ceil(1 / step - 1e-9))

    def test_softmax_tokens_of_one_place_stay(self, on_sphere):
        tokens = np.tile(on_sphere(14, 1), (10, 1))
        final = solve(tokens, Attention(beta=9.0), 1.0).points
        assert np.abs(final - tokens).max() < 1e-14

    def test_without_values_nothing_moves(self, on_sphere):
        # V = 0 has no time scale of its own: any step will do.
        tokens = self.tokens(on_sphere)
        solver = solve(tokens, Attention(value=0.0), 1.0)
        assert np.abs(solver.points - tokens).max() < 1e-15
        assert solver.time == 1.0

    def test_mass_is_one_until_a_token_is_lost(self, on_sphere):
        solver = TokenSolver(self.tokens(on_sphere), Attention(), Sphere(3), ALONE)
        assert solver.mass() == pytest.approx(1, rel=1e-15)
        solver.points[3] = np.nan
        assert np.isnan(solver.mass())

    def test_the_given_array_is_not_moved(self, on_sphere):
        tokens = self.tokens(on_sphere)
        kept = tokens.copy()
        solve(tokens, Attention(), 1.0)
        assert np.array_equal(tokens, kept)


@pytest.mark.mpi
@pytest.mark.parametrize("law", ["softmax", "sinkhorn"])
def test_looking_at_the_velocity_changes_no_step(on_sphere, law):
    model = Attention(law, beta=2.0)
    seen, unseen = (
        TokenSolver(on_sphere(40, 3), model, Sphere(3), ALONE, step=0.1) for _ in range(2)
    )
    for _ in range(3):
        expected = model.velocity(seen.points, seen.points, seen.weights, Sphere(3))
        assert np.allclose(seen.velocity(), expected, rtol=0, atol=1e-9)
        assert seen.velocity() is seen.velocity()
        for solver in (seen, unseen):
            solver.step(1.0)
        assert np.array_equal(seen.points, unseen.points)


class TestRefusals:
    def test_no_token(self):
        with pytest.raises(ValueError, match="at least one"):
            TokenSolver(np.empty((0, 3)), Attention(), Sphere(3), MPI.COMM_WORLD)

    @pytest.mark.parametrize("step", [0.0, -0.1, np.nan])
    def test_a_step_that_is_none(self, step):
        with pytest.raises(ValueError, match="step"):
            TokenSolver(np.eye(3), Attention(), Sphere(3), MPI.COMM_WORLD, step).step(1.0)

    @pytest.mark.parametrize(
        ("tokens", "reason"),
        [(2 * np.eye(3), "unit"), (np.eye(2), "shape"), (np.full((1, 3), np.nan), "finite|unit")],
    )
    def test_tokens_out_of_the_space(self, tokens, reason):
        with pytest.raises(ValueError, match=reason):
            TokenSolver(tokens, Attention(), Sphere(3), MPI.COMM_WORLD).step(1.0)


@pytest.mark.mpi
@pytest.mark.parametrize("until", [0.0, 0.7])
def test_the_attention_matrix_is_that_of_x(share, until):
    # By its definition; also where tokens are z = e^{-tV} x, of eigenvalues of both signs.
    value = np.array([[0.6, 0.8], [0.6, -0.4]])
    query = np.array([[1.0, 0.3], [-0.2, 0.5]])
    attention = Attention(beta=0.5, query=query, value=value)
    start = np.random.default_rng(5).normal(size=(12, 2))
    comm, options = MPI.COMM_WORLD, {"space": Euclidean(2), "comm": MPI.COMM_WORLD}
    tokens = solve(share(start), attention, until, tolerance=1e-10, **options)
    x = np.concatenate(comm.allgather(tokens.points))
    weights = np.exp(0.5 * tokens.points @ query.T @ x.T)
    expected = weights / weights.sum(axis=1, keepdims=True)
    assert np.abs(tokens.attention_matrix()[0] - expected).max() < 1e-14
    rescaled = solve(share(start), attention, until, rescaled=True, tolerance=1e-10, **options)
    assert np.abs(rescaled.attention_matrix()[0] - expected).max() < 1e-8


@pytest.mark.mpi
def test_looking_at_the_matrix_changes_no_step(share):
    start = share(np.random.default_rng(6).normal(size=(15, 2)))
    seen, unseen = (
        TokenSolver(start, Attention("sinkhorn"), Euclidean(2), MPI.COMM_WORLD) for _ in range(2)
    )
    for until in (0.1, 0.2, 0.3):
        seen.attention_matrix()
        for tokens in (seen, unseen):
            advance(tokens, until)
    assert np.array_equal(seen.points, unseen.points)
