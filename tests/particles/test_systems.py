"""Several systems of tokens as one batch: each is the system that it would be alone."""

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.attention import Attention, Euclidean, Head, RandomLayers, Schedule, Sphere
from meanformer.attention.laws import LAWS
from meanformer.attention.measures import Uniform
from meanformer.coupling import sample_tokens
from meanformer.particles import TokenSolver
from meanformer.solvers import advance
from meanformer.systems import Systems

ALONE, WORLD = MPI.COMM_SELF, MPI.COMM_WORLD
TILT = np.array([[1.0, 0.4, 0.0], [-0.3, 0.8, 0.2], [0.1, 0.0, 1.1]])
SYSTEMS, NUMBER = 5, 6


def start(space, systems=SYSTEMS, number=NUMBER):
    if isinstance(space, Sphere):
        return sample_tokens(Uniform(3), number, 4, ALONE, systems)
    scales = np.geomspace(0.01, 0.5, systems)[:, None, None]  # systems of other spreads
    return (scales * np.random.default_rng(4).normal(size=(systems, number, 3))).reshape(-1, 3)


def end(points, model, space, systems=1, time=0.5, comm=ALONE, **options):
    return advance(TokenSolver(points, model, space, comm, systems=systems, **options), time)


def separate(points, model, space, systems=SYSTEMS, **options):
    """Each system run alone."""
    runs = [end(own, model, space, **options) for own in np.split(points, systems)]
    return np.concatenate([run.points for run in runs])


@pytest.mark.parametrize("space", [Sphere(3), Euclidean(3)], ids=["sphere", "euclidean"])
@pytest.mark.parametrize("law", LAWS)
def test_equal_steps_are_those_of_each_alone(law, space):
    heads = (Head(TILT, None, 0.7 * TILT), Head(None, TILT, -0.5))
    model = Attention(law, 0.3, heads=heads)
    options = {"integrator": "rk4", "step": 0.1}
    points = start(space)
    together = end(points, model, space, SYSTEMS, **options)
    assert together.number == NUMBER and together.steps == 5
    alone = separate(points, model, space, **options)
    assert np.abs(together.points - alone).max() < 1e-13 * max(1.0, np.abs(alone).max())
    assert np.abs(alone - points).max() > 0.02


@pytest.mark.parametrize("space", [Sphere(3), Euclidean(3)], ids=["sphere", "euclidean"])
def test_adaptive_steps_hold_the_tolerance_in_each(space):
    model, points = Attention(beta=2.0, value=TILT), start(space)
    points[-NUMBER:] = points[-1]  # a system in one place
    exact = separate(points, model, space, tolerance=1e-12)
    together = end(points, model, space, SYSTEMS, tolerance=1e-8)
    spreads = np.ptp(points.reshape(SYSTEMS, -1, 3), axis=1).max(axis=1)
    spreads[-1] = 1.0
    errors = np.abs(together.points - exact).reshape(SYSTEMS, -1).max(axis=1)
    assert np.all(errors < 1e-7 * spreads)
    # The system that asks for the shortest steps sets them.
    needed = [end(own, model, space, tolerance=1e-8).steps for own in np.split(points, SYSTEMS)]
    assert max(needed) <= together.steps <= max(needed) + 2


@pytest.mark.parametrize("space", [Sphere(3), Euclidean(3)], ids=["sphere", "euclidean"])
def test_noise_belongs_to_systems_however_many_there_are(space):
    points, model = start(space), Attention(beta=1.0, value=-1.0)
    options = {"temperature": 0.2, "step": 0.1, "seed": 3}
    all_five, two, one = (
        end(points[: count * NUMBER], model, space, count, **options) for count in (SYSTEMS, 2, 1)
    )
    assert np.abs(all_five.points[: 2 * NUMBER] - two.points).max() < 1e-14
    assert np.abs(all_five.points[:NUMBER] - one.points).max() < 1e-14
    moved = (all_five.points - points).reshape(SYSTEMS, -1)
    assert np.abs(np.corrcoef(moved) - np.eye(SYSTEMS)).max() < 0.9


@pytest.mark.parametrize("integrator", ["rk4", "adaptive"])
def test_random_values_are_drawn_for_each(integrator):
    heads = (Head(TILT), Head(None, 2.0))
    layers = RandomLayers(Attention(beta=1.0, heads=heads), 3, seed=2, duration=0.2)
    points, space = start(Sphere(3)), Sphere(3)
    options = {"integrator": integrator, "tolerance": 1e-10, "step": 0.05}
    together = end(points, layers, space, SYSTEMS, **options).points.reshape(SYSTEMS, NUMBER, 3)
    for system, own in enumerate(np.split(points, SYSTEMS)):
        drawn = layers.for_systems(range(system, system + 1))
        written = [
            Attention(
                beta=1.0,
                heads=[
                    Head(head.query, head.key, head.value[0]) for head in drawn.layer(number).heads
                ],
            )
            for number in range(3)
        ]
        alone = end(own, Schedule(written, 0.2), space, **options)
        assert np.abs(together[system] - alone.points).max() < (
            1e-13 if integrator == "rk4" else 1e-8
        )
    first = end(points[:NUMBER], layers, space, **options).points
    assert np.abs(together[0] - first).max() < 1e-8


def test_rescaled_tokens_are_those_of_each_alone():
    space, model = Euclidean(3), Attention(beta=1.0, value=TILT)
    points, options = start(space), {"integrator": "rk4", "step": 0.1, "rescaled": True}
    together = end(points, model, space, SYSTEMS, **options)
    assert np.abs(together.points - separate(points, model, space, **options)).max() < 1e-13


@pytest.mark.parametrize("law", ["softmax", "hardmax", "l2"])
def test_matrices_velocities_and_leaders(law):
    space, model = Euclidean(3), Attention(law, 1.3, query=TILT)
    points = start(space)
    together = TokenSolver(points, model, space, ALONE, systems=SYSTEMS)
    alone = [TokenSolver(own, model, space, ALONE) for own in np.split(points, SYSTEMS)]
    matrices = np.concatenate([each.attention_matrix() for each in alone], axis=1)
    assert together.attention_matrix().shape == (1, SYSTEMS * NUMBER, NUMBER)
    assert np.abs(together.attention_matrix() - matrices).max() < 1e-14
    velocities = np.concatenate([each.velocity() for each in alone])
    assert np.abs(together.velocity() - velocities).max() < 1e-14
    assert together.mass() == pytest.approx(1.0, abs=1e-15)
    if law == "hardmax":
        leaders = np.concatenate([each.leaders() for each in alone])
        assert np.array_equal(together.leaders(), leaders)
        assert 0 < leaders.sum() < len(leaders)


MODES = {
    "adaptive": {},
    "bounded": {"integrator": "rk4"},
    "noise": {"temperature": 0.1, "seed": 5},
}


@pytest.mark.mpi
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("count", [2, 5])
def test_ranks_make_no_difference(mode, count):
    # Two systems leave a third rank without any.
    space = Euclidean(3)
    model = RandomLayers(Attention(beta=1.0), 3, 1, duration=0.2)
    points = start(space, count)
    alone = end(points, model, space, count, **MODES[mode])
    mine = Systems(WORLD, NUMBER * len(range(WORLD.rank, count, WORLD.size)), count)
    rows = slice(NUMBER * mine.here.start, NUMBER * mine.here.stop)
    shared = end(points[rows], model, space, count, comm=WORLD, **MODES[mode])
    everyone = np.concatenate(WORLD.allgather(shared.points))
    mass, matrix = shared.mass(), shared.attention_matrix()
    restored = TokenSolver(points[rows], model, space, WORLD, systems=count, **MODES[mode])
    restored.restore(shared.arrays())
    both = advance(restored, 0.7).points, advance(shared, 0.7).points
    assert np.abs(everyone - alone.points).max() < 1e-12
    assert mass == pytest.approx(1.0, abs=1e-14)
    assert matrix.shape == (1, len(shared.points), NUMBER)
    assert np.array_equal(*both)


@pytest.mark.mpi
@pytest.mark.parametrize(("rows", "count"), [(5, 4), (0, 2), (4, 0)])
def test_refuses_what_is_not_whole_systems(rows, count):
    # The first rank alone has five tokens, or all have as many of four systems.
    rows = 0 if WORLD.rank and rows == 5 else rows
    with pytest.raises(ValueError, match="tokens"):
        TokenSolver(np.zeros((rows, 3)), Attention(), Euclidean(3), WORLD, systems=count)


@pytest.mark.mpi
def test_shares_are_whole_systems():
    everyone = sample_tokens(Uniform(3), NUMBER, 4, ALONE, SYSTEMS)
    mine = sample_tokens(Uniform(3), NUMBER, 4, WORLD, SYSTEMS)
    assert len(mine) % NUMBER == 0
    assert np.array_equal(np.concatenate(WORLD.allgather(mine)), everyone)
    assert np.array_equal(everyone[:NUMBER], sample_tokens(Uniform(3), NUMBER, 4, ALONE))
