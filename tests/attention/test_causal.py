"""Causal attention: each law in each space against its definition over what a target sees."""

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.attention import (
    Attention,
    Euclidean,
    Head,
    Sphere,
    interaction_energy,
)
from meanformer.attention.backends.causal import sums as causal
from meanformer.attention.evaluation import head_sums
from meanformer.attention.exact import exact_solution, exact_velocity
from meanformer.attention.laws import LAWS
from meanformer.attention.measures import Gaussian, PoissonKernel

ALLOWED = [name for name, law in LAWS.items() if law.has_causal_form]
SPACES = [
    Sphere(2), Sphere(3), Sphere(5), Euclidean(1), Euclidean(2), Euclidean(3), Euclidean(10),
]  # fmt: skip


@pytest.fixture
def small_leaves(monkeypatch):
    """Squares of pairs where tests have few tokens."""
    monkeypatch.setattr(causal, "_LEAF", 8)


def tokens(space, count, seed=1):
    points = np.random.default_rng(seed).normal(size=(count, space.dimension))
    if isinstance(space, Sphere):
        return points / np.linalg.norm(points, axis=1)[:, None]
    return points / np.abs(points).max()


@pytest.fixture
def of_past(reference):
    """Velocities by the definition: one target at a time, with all that it sees."""

    def evaluate(attention, targets, points, weights, space):
        n, first = len(points), len(points) - len(targets)
        everything = Attention(
            attention.law,
            attention.beta,
            heads=attention.all_heads,
            relative=attention.relative,
            offset=attention.offset,
        )
        velocities, terms = np.zeros_like(targets), np.ones(len(targets))
        for j, target in enumerate(targets):
            number = first + j
            seen = np.arange(number + attention.sees_itself)
            seen = seen[weights[seen] > 0]
            if not len(seen):
                continue
            of_seen = weights[seen] * np.exp(-attention.decay * (number - seen) / n)
            one = reference(
                everything,
                target[None],
                points[seen],
                of_seen / of_seen.sum(),
                isinstance(space, Sphere),
            )
            velocities[j], terms[j] = one.velocity[0], one.terms[0]
        return velocities, terms

    return evaluate


def model(law, dimension, beta=3.0, **options):
    rng = np.random.default_rng(7)
    query, key, value = rng.normal(size=(3, dimension, dimension)) / np.sqrt(dimension)
    heads = [Head(query, key, value), Head(-1.0, 0.5, 2.0)]
    return Attention(law, beta, heads=heads, offset=-0.3, causal=True, **options)


@pytest.mark.parametrize(
    ("sees_itself", "decay", "prompt"),
    [(True, 2.0, 7), (False, 0.0, 0)],
)
@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("law", ALLOWED)
def test_is_attention_of_the_past(small_leaves, of_past, law, space, sees_itself, decay, prompt):
    points = tokens(space, 47)
    weights = np.random.default_rng(2).dirichlet(np.ones(47))
    weights[20] = 0.0
    attention = model(law, space.dimension, sees_itself=sees_itself, decay=decay)
    targets = points[prompt:]
    wanted, terms = of_past(attention, targets, points, weights, space)
    got = attention.velocity(targets, points, weights, space, 1e-9)
    assert np.all(np.linalg.norm(got - wanted, axis=1) <= 1e-9 * terms)


@pytest.mark.parametrize("backend", ["harmonic", "laplace", "direct"])
@pytest.mark.parametrize("law", ["softmax", "l2"])
def test_squares_are_of_the_backend_asked_for(small_leaves, of_past, law, backend):
    points, weights = tokens(Sphere(3), 100), np.full(100, 0.01)
    attention = Attention(law, 4.0, causal=True, decay=100.0)
    wanted, terms = of_past(attention, points[9:], points, weights, Sphere(3))
    evaluator = attention.prepare(points[9:], points, Sphere(3), 1e-9, backend=backend)
    assert evaluator.plans[0].backend == backend
    got = evaluator(weights).velocity
    assert np.all(np.linalg.norm(got - wanted, axis=1) <= 1e-9 * terms)


@pytest.mark.parametrize("decay", [-300.0, 300.0])
@pytest.mark.parametrize("law", ALLOWED)
def test_the_steepest_decay(small_leaves, of_past, law, decay):
    points, weights = tokens(Sphere(3), 40), np.full(40, 1 / 40)
    attention = Attention(law, 2.0, causal=True, decay=decay)
    wanted, terms = of_past(attention, points, points, weights, Sphere(3))
    got = attention.velocity(points, points, weights, Sphere(3))
    assert np.all(np.linalg.norm(got - wanted, axis=1) <= 1e-10 * terms)


def test_what_comes_later_does_not_matter(small_leaves):
    """Not even where its terms exceed all others by more than double precision can hold."""
    points = tokens(Euclidean(2), 50)
    attention = Attention("softmax", 1.0, causal=True)
    before = attention.velocity(points, points, np.full(50, 0.02), Euclidean(2))
    points[37:] *= 1e4
    after = attention.velocity(points, points, np.full(50, 0.02), Euclidean(2))
    assert np.abs(after - before)[:37].max() < 1e-14


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("law", ALLOWED)
def test_who_sees_nothing_rests(small_leaves, law, relative):
    points, weights = tokens(Euclidean(3), 30), np.full(30, 1 / 30)
    weights[0] = 0.0
    attention = model(law, 3, relative=relative, sees_itself=False)
    field = attention.evaluate(points, points, weights, Euclidean(3))
    assert np.array_equal(field.velocity[:2], np.zeros((2, 3)))
    assert np.array_equal(field.log_partition[:, :2], np.zeros((2, 2)))
    assert np.abs(field.velocity[2:]).min() > 0


@pytest.mark.mpi
@pytest.mark.parametrize("law", ALLOWED)
def test_the_matrix_times_the_values_on_all_ranks(small_leaves, share, gather, law):
    """A prompt is on rank 0; its share of the tokens follows."""
    points, rank = tokens(Euclidean(3), 50), MPI.COMM_WORLD.rank
    weights = np.random.default_rng(2).dirichlet(np.ones(50))
    attention = model(law, 3, decay=1.0, sees_itself=False)
    alone = attention.velocity(points[10:], points, weights, Euclidean(3))
    cuts = 10 + 40 * np.arange(MPI.COMM_WORLD.size + 1) // MPI.COMM_WORLD.size
    own = slice(0 if rank == 0 else cuts[rank], cuts[rank + 1])
    targets = points[cuts[rank] : cuts[rank + 1]]
    evaluator = attention.prepare(targets, points[own], Euclidean(3), comm=MPI.COMM_WORLD)
    field = evaluator(weights[own])
    assert np.abs(np.concatenate(MPI.COMM_WORLD.allgather(field.velocity)) - alone).max() < 1e-12
    matrices = evaluator.matrix(weights[own])
    assert matrices.shape == (2, len(targets), 50)
    values = [head.value if np.ndim(head.value) else 2.0 * np.eye(3) for head in attention.heads]
    products = sum(m @ points @ v.T for m, v in zip(matrices, values, strict=True))
    assert np.abs(products - field.velocity).max(initial=0.0) < 1e-9
    number = cuts[rank] + np.arange(len(targets))
    assert not matrices[:, np.arange(50) >= number[:, None]].any()
    if attention.normalised:
        assert np.abs(matrices.sum(axis=2) - 1).max(initial=0.0) < 1e-12


@pytest.mark.mpi
def test_large_squares_are_shared_by_ranks():
    """Harmonics, whose moments are added up, on as many points as make them the fastest."""
    points, comm = tokens(Sphere(3), 6000), MPI.COMM_WORLD
    attention = Attention("softmax", 4.0, causal=True)
    alone = attention.prepare(points, points, Sphere(3), 1e-9)
    own = slice(*(6000 * rank // comm.size for rank in (comm.rank, comm.rank + 1)))
    together = attention.prepare(points[own], points[own], Sphere(3), 1e-9, comm)
    assert together.plans[0].backend == alone.plans[0].backend == "harmonic"
    wanted = alone(np.full(6000, 1 / 6000)).velocity[own]
    got = together(np.full(len(points[own]), 1 / 6000)).velocity
    assert np.abs(got - wanted).max(initial=0.0) < 1e-12


@pytest.mark.mpi
def test_a_square_that_cannot_be_served_is_told_on_all_ranks():
    """Large logits are those of one small square, which one rank alone has."""
    points, comm = tokens(Euclidean(3), 16 * 1024), MPI.COMM_WORLD
    points *= 1e-2
    points[:2048] *= 1e6
    own = slice(*(len(points) * rank // comm.size for rank in (comm.rank, comm.rank + 1)))
    attention, given = Attention(causal=True), (points[own], points[own], Euclidean(3))
    with pytest.raises(ValueError, match="'laplace' cannot serve: logits are too large"):
        attention.prepare(*given, comm=comm, backend="laplace")


class TestMisuse:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"law": "sinkhorn", "causal": True}, "no causal form"),
            ({"decay": 1.0}, "causal must be True"),
            ({"sees_itself": False}, "causal must be True"),
            ({"causal": True, "decay": 301.0}, "decay is 301.0"),
            ({"causal": True, "decay": np.nan}, "decay is nan"),
            ({"causal": 1}, "causal is 1"),
        ],
    )
    def test_models(self, options, message):
        with pytest.raises(ValueError, match=message):
            Attention(**options)

    def test_targets_are_the_last_points(self):
        points, attention = tokens(Sphere(3), 9), Attention(causal=True)
        for targets in (points[:5], points[::-1], tokens(Sphere(3), 12)):
            with pytest.raises(ValueError, match="must be the last of the points"):
                attention.prepare(targets, points, Sphere(3))

    def test_weights_are_not_negative(self):
        points = tokens(Sphere(3), 9)
        weights = np.full(9, 1 / 9)
        weights[4] *= -1
        with pytest.raises(ValueError, match=r"weights\[4\] is -0.1.* must not be negative"):
            Attention(causal=True).velocity(points, points, weights, Sphere(3))

    def test_there_is_no_energy_and_no_exact_solution(self):
        points, attention = tokens(Sphere(3), 9), Attention(beta=0.0, causal=True)
        with pytest.raises(ValueError, match="causal attention has no energy"):
            interaction_energy(attention, points, np.full(9, 1 / 9), Sphere(3))
        start = PoissonKernel((0.0, 0.0, 0.3))
        assert exact_solution(attention, start, 1.0) is None
        assert exact_solution(Attention(beta=0.0), start, 1.0) is not None
        normal = Gaussian((0.0,), 1.0)
        assert exact_velocity(attention, normal, np.ones((1, 1))) is None
        assert exact_velocity(Attention(beta=0.0), normal, np.ones((1, 1))) is not None

    @pytest.mark.parametrize("number", [9, 2000])
    def test_backends_that_cannot_serve(self, number):
        points = tokens(Sphere(5), number)
        with pytest.raises(ValueError, match="'harmonic' cannot serve"):
            Attention(causal=True).prepare(points, points, Sphere(5), backend="harmonic")


@pytest.mark.parametrize("apart", [False, True], ids=["together", "apart"])
@pytest.mark.parametrize("law", ALLOWED)
def test_each_of_several_systems_sees_its_own_past(monkeypatch, law, apart):
    if apart:
        monkeypatch.setattr(head_sums, "_SMALL", 0.0)
    points = tokens(Euclidean(3), 60).reshape(4, 15, 3)
    weights = np.random.default_rng(2).dirichlet(np.ones(15), size=4)
    attention = model(law, 3, decay=1.0, sees_itself=False)
    targets = points[:, 5:]
    given = targets.reshape(-1, 3), points.reshape(-1, 3)
    evaluator = attention.prepare(*given, Euclidean(3), systems=4)
    together = evaluator(weights.ravel()).velocity.reshape(4, 10, 3)
    matrices = evaluator.matrix(weights.ravel()).reshape(2, 4, 10, 15)
    for number in range(4):
        alone = attention.prepare(targets[number], points[number], Euclidean(3))
        velocity = alone(weights[number]).velocity
        assert np.abs(together[number] - velocity).max() <= 1e-13 * np.abs(velocity).max()
        matrix = alone.matrix(weights[number])
        assert np.abs(matrices[:, number] - matrix).max() <= 1e-13 * matrix.max()
