"""Columns of tokens against what is known of them."""

from mpi4py import MPI

import numpy as np
import pytest
from scipy.stats import ortho_group

from meanformer.attention import Attention, Euclidean, Head, Schedule, Sphere
from meanformer.particles import TokenSolver
from meanformer.simulation import Case, run
from meanformer.simulation.observers.observed_tokens import ObservedTokens
from meanformer.simulation.observers.token_diagnostics import TokenDiagnostics, spread
from meanformer.simulation.output.tables import Table
from meanformer.simulation.state import State

WORLD = MPI.COMM_WORLD
# Their mean is (1, 1); the last one is 5 away from it.
FOUR = np.array([[0.0, 0.0], [-1.0, 5.0], [1.0, 2.0], [4.0, -3.0]])
HYPERPLANES = np.array([[0.64709742, 0.81911926], [0.61210449, 0.63263484]])


def columns(points, space, model=None, comm=WORLD, **options):
    """The columns of tokens as they start, this rank's share of all."""
    model, table = model or Attention(), Table()
    solver = TokenSolver(points, model, space, comm, **options)
    observed = ObservedTokens(solver, model, options.get("rescaled", False))
    TokenDiagnostics(table, observed).sample(State(comm, model))
    return {name: column[0] for name, column in table.columns.items()}


def box(dimension, **tables):
    """Twenty tokens of [-5, 5]^d in rescaled variables, as in the figures of arXiv 2305.05465."""
    return Case.from_dict(
        {
            "space": {"kind": "euclidean", "dimension": dimension, "rescaled": True},
            "attention": {"beta": 1.0, "value": 1.0},
            "initial": {"kind": "box", "lower": [-5.0] * dimension, "upper": [5.0] * dimension},
            "particles": {"number": 20},
            "time": {"end": 15.0, "sample_every": 2.5},
            "output": {"fields": ["none"]},
        }
        | tables
    )


def measured(solver):
    return spread(ObservedTokens(solver, Attention()).measures)


@pytest.mark.mpi
def test_spread_of_four_points(share):
    solver = TokenSolver(share(FOUR), Attention(), Euclidean(2), WORLD)
    assert measured(solver) == {"spread": pytest.approx(5.0, abs=1e-14)}


@pytest.mark.mpi
def test_spread_of_tokens_in_one_place_is_zero(share):
    place = np.tile(Sphere(3).retract(np.array([[1.0, 2.0, 3.0]])), (999, 1))
    assert measured(TokenSolver(share(place), Attention(), Sphere(3), WORLD)) == {"spread": 0.0}


def test_spread_of_opposite_tokens_is_the_radius():
    poles = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
    assert measured(TokenSolver(poles, Attention(), Sphere(3), MPI.COMM_SELF)) == {"spread": 1.0}


def test_spread_stays_where_all_tokens_move_alike():
    # At beta = 0 all of them have the velocity V m: with V = -I the mean m decays like e^{-t}.
    case = {
        "space": {"kind": "euclidean", "dimension": 2},
        "attention": {"beta": 0.0, "value": -1.0},
        "initial": {"kind": "tokens", "points": FOUR},
        "particles": {},
        "time": {"end": 1.0, "step": 0.05},
    }
    columns = run(Case.from_dict(case), comm=MPI.COMM_SELF).particles
    assert np.abs(columns["spread"] - 5.0).max() < 1e-13
    assert columns["mean_1"][-1] == pytest.approx(np.exp(-1.0), rel=1e-6)


@pytest.mark.mpi
def test_clusters_on_a_sphere(share, on_sphere):
    # Places are 0.011 apart, along a meridian, and the first two groups are joined by a bridge.
    angles = np.repeat(0.011 * np.arange(4), [50, 30, 15, 5])
    angles = np.append(angles, [0.0055])[np.random.default_rng(0).permutation(101)]
    points = np.stack([np.sin(angles), np.zeros(101), np.cos(angles)], axis=1)
    found = columns(share(points), Sphere(3))
    assert found["clusters"] == 3
    assert found["largest_cluster"] == 81 / 101
    assert "vertices" not in found


@pytest.mark.mpi
@pytest.mark.parametrize("scale", [1e-100, 1.0, 1e80])
def test_clusters_at_the_corners_of_a_square(share, scale):
    # The corners of a square of half diagonal 1, three tokens each, and one at its centre.
    corners = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    points = np.concatenate([np.repeat(corners, 3, axis=0), np.zeros((1, 2))])
    points[:12, 0] += np.tile([0.0, 0.009, -0.009], 4)
    found = columns(share(scale * points), Euclidean(2), Attention(beta=0.0))
    assert (found["clusters"], found["largest_cluster"]) == (5, 3 / 13)
    assert (found["vertices"], found["at_vertices"]) == (4, 12)
    wide = columns(share(scale * points * [1.0, 0.0]), Euclidean(2), Attention(beta=0.0))
    assert (wide["clusters"], wide["vertices"], wide["at_vertices"]) == (3, 2, 6)


@pytest.mark.mpi
def test_tokens_in_one_place_are_one_cluster(share):
    place = np.tile([[0.1, -0.7]], (7, 1))
    place[3:] *= 1 + 1e-15
    found = columns(share(place), Euclidean(2), Attention(value=HYPERPLANES))
    names = ("clusters", "largest_cluster", "vertices", "at_vertices", "hyperplanes")
    assert [found[name] for name in names] == [1, 1, 1, 7, 1]


def test_hyperplanes_are_values_of_the_leading_coordinate():
    # Two eigenvectors that are not orthogonal: psi is orthogonal to the second one.
    basis = np.array([[1.0, 1.0], [0.0, 1.0]])
    value = basis @ np.diag([2.0, -0.5]) @ np.linalg.inv(basis)
    first = np.repeat([-1.0, 0.0, 0.995, 1.0], 5)
    second = np.random.default_rng(0).normal(size=20)
    points = np.stack([first, second], axis=1) @ basis.T
    found = columns(points, Euclidean(2), Attention(value=value), MPI.COMM_SELF)
    assert found["hyperplanes"] == 3
    # Several heads have the sum of theirs.
    heads = [Head(value=value - 1.5 * np.eye(2)), Head(value=1.5)]
    several = columns(points, Euclidean(2), Attention(heads=heads), MPI.COMM_SELF)
    assert several["hyperplanes"] == 3


@pytest.mark.parametrize(
    ("model", "space", "absent"),
    [
        (Attention(value=HYPERPLANES), Euclidean(2), {"leaders"}),
        (Attention(), Euclidean(2), {"leaders", "hyperplanes"}),
        (Attention("unnormalised"), Euclidean(2), {"leaders", "hyperplanes", "matrix"}),
        (Schedule([Attention(value=HYPERPLANES)] * 2), Euclidean(2), {"leaders", "hyperplanes"}),
        (Attention("l2", value=HYPERPLANES), Sphere(2), {"leaders", "hyperplanes", "hull"}),
        (Attention("hardmax"), Euclidean(1), {"hyperplanes"}),
        (Attention("sinkhorn"), Euclidean(4), {"leaders", "hyperplanes", "hull"}),
    ],
    ids=["all", "V = I", "unnormalised", "layers", "circle", "hardmax", "R^4"],
)
def test_which_columns_there_are(model, space, absent):
    points = np.random.default_rng(0).normal(size=(9, space.dimension))
    points = space.retract(points)
    found = columns(points, space, model, MPI.COMM_SELF)
    names = {
        "hull": ("vertices", "at_vertices"),
        "matrix": ("boolean_rows", "rank"),
        "hyperplanes": ("hyperplanes",),
        "leaders": ("leaders",),
    }
    assert {"clusters", "largest_cluster"} <= found.keys()
    for name, group in names.items():
        assert all((each in found) is (name not in absent) for each in group), name


def test_large_matrices_are_not_made():
    points = Sphere(2).retract(np.random.default_rng(0).normal(size=(2001, 2)))
    assert "rank" in columns(points[:2000], Sphere(2), Attention(), MPI.COMM_SELF)
    assert "rank" not in columns(points, Sphere(2), Attention(), MPI.COMM_SELF)


@pytest.mark.mpi
def test_ranks_and_boolean_rows_of_heads(share):
    # Logits of 200: tokens attend to themselves, or in the second head to the opposite one.
    points = np.concatenate([np.eye(3), -np.eye(3)])
    model = Attention(beta=200.0, heads=[Head(), Head(query=-1.0)])
    found = columns(share(points), Sphere(3), model)
    assert (found["boolean_rows"], found["rank"]) == (6, 6)
    # At beta = 0 all rows are alike.
    found = columns(share(points), Sphere(3), Attention(beta=0.0))
    assert (found["boolean_rows"], found["rank"]) == (0, 1)


def leaders(points, product):
    """The definition of arXiv 2407.01602, without ties: i is the only maximiser of <A x_i, x_j>."""
    logits = points @ product.T @ points.T
    largest = logits.max(axis=1, keepdims=True)
    maximisers = logits >= largest - 1e-12 * abs(largest)
    return int(np.sum(np.diag(maximisers) & (maximisers.sum(axis=1) == 1)))


@pytest.mark.mpi
@pytest.mark.parametrize("dimension", [1, 2, 3, 12])
@pytest.mark.parametrize("kind", ["euclidean", "sphere"])
def test_leaders_of_hardmax(share, kind, dimension):
    if dimension == 1 and kind == "sphere":
        dimension = 4
    turn = ortho_group.rvs(max(dimension, 2), random_state=3)[:dimension, :dimension]
    product = turn @ np.diag(np.geomspace(0.01, 5.0, dimension)) @ turn.T
    points = np.random.default_rng(dimension).normal(size=(60, dimension))
    space = Euclidean(dimension) if kind == "euclidean" else Sphere(dimension)
    points = space.retract(points)
    model = Attention("hardmax", query=product)
    expected = leaders(points, product)
    assert 0 < expected < 60
    assert columns(share(points), space, model)["leaders"] == expected
    # In rescaled variables, too; and a duplicate is another maximiser.
    if kind == "euclidean":
        options = {"rescaled": True, "integrator": "rk4"}
        assert columns(share(points), space, model, **options)["leaders"] == expected
    twice = np.concatenate([points, points])
    assert columns(share(twice), space, model)["leaders"] == 0


@pytest.mark.mpi
def test_z_end_at_the_vertices_of_a_polytope():
    # Section 3 of arXiv 2305.05465.
    alone, found = (run(box(2), comm=comm).particles for comm in (MPI.COMM_SELF, WORLD))
    assert found["clusters"][0] == 20 and found["vertices"][0] < 20
    assert 3 <= found["clusters"][-1] <= 6
    assert found["vertices"][-1] == found["clusters"][-1]
    assert found["at_vertices"][-1] == 20
    # Each token attends to a vertex alone.
    assert found["boolean_rows"][-1] == 20 and found["rank"][-1] == found["vertices"][-1]
    names = ("clusters", "largest_cluster", "vertices", "at_vertices", "boolean_rows", "rank")
    for name in names:
        assert np.array_equal(found[name], alone[name]), name


@pytest.mark.mpi
def test_z_end_on_at_most_three_hyperplanes():
    # Section 4; eigenvalues 1.35 and -0.07.
    case = box(2, attention={"beta": 1.0, "value": HYPERPLANES.tolist()})
    alone, found = (run(case, comm=comm).particles for comm in (MPI.COMM_SELF, WORLD))
    assert found["hyperplanes"][0] > 10 and found["hyperplanes"][-1] <= 3
    assert np.array_equal(found["hyperplanes"], alone["hyperplanes"])


@pytest.mark.parametrize("rescaled", [False, True])
def test_rows_of_the_matrix_become_boolean_in_one_dimension(rescaled):
    # Section 2: P tends to a matrix of rank 1 or 2, all rows but one of which are Boolean.
    space = {"kind": "euclidean", "dimension": 1, "rescaled": rescaled}
    found = run(box(1, space=space, time={"end": 10.0}), comm=MPI.COMM_SELF).particles
    assert found["boolean_rows"][0] < 5 and found["rank"][0] > 5
    assert found["boolean_rows"][-1] >= 19 and found["rank"][-1] in (1, 2)
    assert found["vertices"][-1] == 2
