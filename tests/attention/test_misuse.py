"""What users do to arrays and models, and must not get wrong numbers for."""

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.attention import (
    Attention,
    AttentionDomainError,
    Euclidean,
    Head,
    Sphere,
    interaction_energy,
)

RNG = np.random.default_rng(1)
POINTS = RNG.normal(size=(30, 2))
WEIGHTS = np.full(30, 1 / 30)
PLANE = Euclidean(2)


@pytest.mark.mpi
@pytest.mark.parametrize("law", ["softmax", "sinkhorn"])
def test_targets_that_are_the_points_on_some_ranks_only(on_sphere, share, gather, law):
    points = on_sphere(1, 60)
    weights = np.full(60, 1 / 60)
    mine, comm = share(points), MPI.COMM_WORLD
    targets = mine if comm.rank == 0 else mine.copy()
    v = Attention(law, 2.0).velocity(targets, mine, share(weights), Sphere(3), comm=comm)
    alone = Attention(law, 2.0).velocity(points, points, weights, Sphere(3))
    assert np.abs(gather(v) - alone).max() < 1e-10


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("name", "usual", "other"), [("backend", "auto", "direct"), ("tolerance", 1e-10, 1e-9)]
)
def test_options_that_differ_between_ranks(share, name, usual, other):
    points, comm = share(POINTS), MPI.COMM_WORLD
    option = {name: other if comm.rank == comm.size - 1 else usual}
    if comm.size == 1:
        Attention().velocity(points, points, share(WEIGHTS), PLANE, comm=comm, **option)
        return
    with pytest.raises(ValueError, match="on rank 0"):
        Attention().velocity(points, points, share(WEIGHTS), PLANE, comm=comm, **option)


@pytest.mark.parametrize("law", ["linear", "softmax", "hardmax"])
@pytest.mark.parametrize("relative", [False, True])
def test_a_prepared_model_does_not_see_later_changes(law, relative):
    x, query = POINTS.copy(), np.array([[1.0, 0.5], [0.0, 1.0]])
    attention = Attention(law, 1.0, query, relative=relative)
    evaluator = attention.prepare(x, x, PLANE)
    before, fresh = evaluator(WEIGHTS).velocity, attention.velocity(POINTS, POINTS, WEIGHTS, PLANE)
    x *= 0
    query *= 7
    assert np.array_equal(evaluator(WEIGHTS).velocity, before)
    assert np.array_equal(attention.velocity(POINTS, POINTS, WEIGHTS, PLANE), fresh)


def test_heads_may_come_from_a_generator():
    generated = Attention(heads=(Head(scale) for scale in (5.0, 2.0)))
    listed = Attention(heads=[Head(5.0), Head(2.0)])
    assert len(generated.all_heads) == 2
    velocities = [a.velocity(POINTS, POINTS, WEIGHTS, PLANE) for a in (generated, listed)]
    assert np.array_equal(*velocities)


@pytest.mark.parametrize("heads", [3, Head(), [3]])
def test_heads_of_a_wrong_kind(heads):
    with pytest.raises(ValueError, match="heads"):
        Attention(heads=heads)


@pytest.mark.parametrize("law", ["softmax", "l2", "unnormalised"])
def test_the_matrix_ignores_what_weighs_nothing(law):
    attention = Attention(law, 0.1 if law == "unnormalised" else 1.0)
    evaluator = attention.prepare([[1000.0]], [[1.0], [5000.0]], Euclidean(1))
    assert np.all(np.isfinite(evaluator.matrix([1.0, 0.0])))


@pytest.mark.parametrize("law", ["softmax", "linear", "l2", "sinkhorn"])
def test_no_mass_has_no_energy(law):
    with pytest.raises(AttentionDomainError, match="no mass"):
        interaction_energy(Attention(law), POINTS, 0 * WEIGHTS, PLANE)


def test_the_energy_of_a_slightly_negative_measure():
    points, weights = np.array([[0.0], [100.0]]), np.array([1.0, -1e-12])
    assert interaction_energy(Attention("l2"), points, weights, Euclidean(1)) == pytest.approx(0.5)


@pytest.mark.parametrize("law", ["linear", "softmax"])
@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_the_energy_checks_its_arguments(law, beta):
    attention = Attention(law, beta)
    with pytest.raises(ValueError, match="finite"):
        interaction_energy(attention, POINTS * np.nan, WEIGHTS, PLANE)
    with pytest.raises(ValueError, match="weights"):
        interaction_energy(attention, POINTS, WEIGHTS[:-1], PLANE)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"backend": "fast"}, "backend is 'fast'; allowed: auto, harmonic, laplace, direct"),
        ({"tolerance": "x"}, "tolerance"),
        ({"weights": WEIGHTS * 1j}, "weights must be real numbers"),
        ({"targets": [["a", "b"]]}, "targets must be real numbers"),
    ],
)
def test_options_of_a_wrong_kind(wrong, match):
    arguments = {"targets": POINTS, "points": POINTS, "weights": WEIGHTS, "space": PLANE} | wrong
    with pytest.raises(ValueError, match=match):
        Attention().velocity(**arguments)


def test_complex_matrices():
    with pytest.raises(ValueError, match="query"):
        Attention(query=1j * np.eye(2))


def test_moments_that_overflow_where_z_cancels():
    points = np.array([[np.cos(0.5), np.sin(0.5)], [np.cos(0.5), -np.sin(0.5)]])
    with pytest.raises(AttentionDomainError, match="exceeds"):
        Attention("unnormalised", 1e4).velocity([[1.0, 0.0]], points, [1.0, -1.0], Sphere(2))


@pytest.mark.parametrize("beta", [1e-300, 1.0, 1e300, -1e-300])
def test_hardmax_knows_the_sign_of_beta_only(beta):
    v = Attention("hardmax", beta).velocity(POINTS, POINTS, WEIGHTS, PLANE)
    assert np.array_equal(
        v, Attention("hardmax", np.sign(beta)).velocity(POINTS, POINTS, WEIGHTS, PLANE)
    )


def test_warm_starts_need_as_many_points():
    few, many = (Attention("sinkhorn").prepare(x, x, PLANE) for x in (POINTS[:5], POINTS))
    with pytest.raises(ValueError, match="warm"):
        many.warm(few)
