"""Several systems at once: the velocity of each is that of attention to its own points."""

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.attention import (
    Attention,
    AttentionDomainError,
    Euclidean,
    Head,
    LinearDrift,
    Sphere,
)
from meanformer.attention.laws import LAWS

SPACES = [Sphere(2), Sphere(3), Sphere(9), Euclidean(1), Euclidean(3), Euclidean(10)]
SYSTEMS, NUMBER = 5, 12


def tokens(space, systems=SYSTEMS, number=NUMBER, seed=3):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(systems * number, space.dimension))
    weights = rng.dirichlet(np.ones(number), systems).ravel()
    return space.retract(points), weights


def one_by_one(attention, points, weights, space, systems=SYSTEMS):
    number = len(points) // systems
    rows = [slice(s * number, s * number + number) for s in range(systems)]
    return np.vstack([attention(s).velocity(points[r], points[r], weights[r], space)
                      for s, r in enumerate(rows)])  # fmt: skip


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("law", LAWS)
def test_velocities_are_those_of_each_system(law, space):
    d = space.dimension
    rng = np.random.default_rng(1)
    heads = [Head(*rng.normal(size=(3, d, d)) / d), Head(0.5, None, -1.0)]
    attention = Attention(law, 1.3, heads=heads, drift=LinearDrift(rng.normal(size=(d, d))))
    points, weights = tokens(space)
    got = attention.velocity(points, points, weights, space, systems=SYSTEMS)
    wanted = one_by_one(lambda s: attention, points, weights, space)
    assert np.abs(got - wanted).max() < 1e-9 * np.abs(wanted).max()


@pytest.mark.parametrize("backend", ["harmonic", "laplace", "direct"])
def test_large_systems_have_their_own_backends(backend):
    attention, space = Attention(beta=2.0), Sphere(3)
    points, weights = tokens(space, 3, 700)
    got = attention.velocity(points, points, weights, space, backend=backend, systems=3)
    wanted = one_by_one(lambda s: attention, points, weights, space, 3)
    assert np.abs(got - wanted).max() < 1e-9


@pytest.mark.parametrize("number", [12, 700])
def test_each_system_may_have_a_value_of_its_own(number):
    space = Sphere(3)
    values = np.random.default_rng(4).normal(size=(3, 3, 3))
    points, weights = tokens(space, 3, number)
    got = Attention(beta=2.0, value=values).velocity(points, points, weights, space, systems=3)
    wanted = one_by_one(lambda s: Attention(beta=2.0, value=values[s]), points, weights, space, 3)
    assert np.abs(got - wanted).max() < 1e-9


def test_the_mass_is_that_of_one_system():
    space, attention = Sphere(3), Attention("unnormalised", 2.0)
    points, weights = tokens(space)
    field = attention.evaluate(points, points, weights, space, systems=SYSTEMS)
    assert field.mass == pytest.approx(1.0)


@pytest.mark.parametrize("law", LAWS)
def test_the_matrix_is_that_of_each_system(law):
    space, attention = Sphere(3), Attention(law, 2.0)
    points, weights = tokens(space)
    got = attention.prepare(points, points, space, systems=SYSTEMS).matrix(weights)
    assert got.shape == (1, SYSTEMS * NUMBER, NUMBER)
    rows = slice(NUMBER, 2 * NUMBER)
    second = attention.prepare(points[rows], points[rows], space).matrix(weights[rows])
    assert np.abs(got[:, rows] - second).max() < 1e-12 * np.abs(second).max()


@pytest.mark.mpi
@pytest.mark.parametrize("law", ["softmax", "sinkhorn", "linear"])
def test_ranks_have_systems_of_their_own_or_none(law):
    comm, space, attention = MPI.COMM_WORLD, Sphere(3), Attention(law, 2.0)
    points, weights = tokens(space, 2)
    mine = slice(0, NUMBER) if comm.rank == 0 else slice(NUMBER, None)
    count = (2 if comm.size == 1 else 1) if comm.rank < 2 else 0
    mine = slice(None) if comm.size == 1 else mine if count else slice(0, 0)
    own = points[mine], weights[mine]
    got = attention.velocity(own[0], *own, space, comm=comm, systems=count)
    wanted = one_by_one(lambda s: attention, points, weights, space, 2)[mine]
    assert got.shape == own[0].shape
    assert np.abs(got - wanted).max(initial=0.0) < 1e-9


@pytest.mark.mpi
def test_what_fails_in_a_system_of_one_rank_is_told_on_all():
    """Sinkhorn's iteration does not converge where logits are large: on the last rank alone."""
    comm, space = MPI.COMM_WORLD, Euclidean(2)
    rng = np.random.default_rng(0)
    attention = Attention("sinkhorn", 400.0, query=rng.normal(size=(2, 2)))
    points = rng.normal(size=(20, 2))
    if comm.rank < comm.size - 1:
        points *= 1e-3
    with pytest.raises(AttentionDomainError, match="Sinkhorn's iteration has not converged"):
        attention.velocity(points, points, np.full(20, 0.1), space, comm=comm, systems=2)


@pytest.mark.mpi
def test_what_cannot_serve_a_system_of_one_rank_is_told_on_all():
    comm, space = MPI.COMM_WORLD, Euclidean(3)
    points = np.random.default_rng(0).normal(size=(2000, 3))
    if comm.rank == comm.size - 1:
        points *= 1e4
    with pytest.raises(ValueError, match="'laplace' cannot serve: logits are too large"):
        Attention().prepare(points, points, space, comm=comm, backend="laplace", systems=2)


@pytest.mark.mpi
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.filterwarnings("error")
def test_the_first_rank_may_have_all_systems(law):
    comm, space = MPI.COMM_WORLD, Sphere(3)
    attention = Attention(law, 2.0, query=np.diag([1.0, 0.5, 0.2]), key=np.eye(3)[[1, 0, 2]])
    points, weights = tokens(space, 2)
    own = (points, weights) if comm.rank == 0 else (points[:0], weights[:0])
    systems = 0 if comm.rank else 2
    evaluator = attention.prepare(own[0], own[0], space, comm=comm, systems=systems)
    velocity, matrix = evaluator(own[1]).velocity, evaluator.matrix(own[1])
    if comm.rank:
        assert velocity.shape == (0, 3) and matrix.shape == (1, 0, 0)
        return
    alone = attention.prepare(points, points, space, systems=2)
    assert np.abs(velocity - alone(weights).velocity).max() < 1e-12
    assert np.array_equal(matrix, alone.matrix(weights))


@pytest.mark.parametrize(
    ("systems", "message"),
    [
        (7, "points have 60 rows|targets have 60 rows; must be as many in each of 7 systems"),
        (-1, "systems is -1; must be None or a number of systems"),
        (2.5, "systems is 2.5"),
        (0, "targets have 60 rows"),
    ],
)
def test_systems_that_do_not_fit_are_refused(systems, message):
    points, weights = tokens(Sphere(3))
    with pytest.raises(ValueError, match=message):
        Attention().velocity(points, points, weights, Sphere(3), systems=systems)


@pytest.mark.parametrize("systems", [None, 4])
def test_values_of_other_numbers_of_systems_are_refused(systems):
    points, weights = tokens(Sphere(3), 4)
    attention = Attention(value=np.zeros((3, 3, 3)))
    with pytest.raises(ValueError, match=f"value is one of 3 systems; expected {systems}"):
        attention.velocity(points, points, weights, Sphere(3), systems=systems)
