"""Columns of tokens against what is known of them."""

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.attention import Attention, Euclidean, Sphere
from meanformer.particles import TokenSolver
from meanformer.simulation import Case, run
from meanformer.simulation.observers.diagnostics import harmonics, spread

WORLD = MPI.COMM_WORLD
# Their mean is (1, 1); the last one is 5 away from it.
FOUR = np.array([[0.0, 0.0], [-1.0, 5.0], [1.0, 2.0], [4.0, -3.0]])


@pytest.mark.mpi
def test_spread_of_four_points(share):
    solver = TokenSolver(share(FOUR), Attention(), Euclidean(2), WORLD)
    assert spread(solver) == {"spread": pytest.approx(5.0, abs=1e-14)}


@pytest.mark.mpi
def test_spread_of_tokens_in_one_place_is_zero(share):
    place = np.tile(Sphere(3).retract(np.array([[1.0, 2.0, 3.0]])), (999, 1))
    assert spread(TokenSolver(share(place), Attention(), Sphere(3), WORLD)) == {"spread": 0.0}


def test_spread_of_opposite_tokens_is_the_radius():
    poles = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
    assert spread(TokenSolver(poles, Attention(), Sphere(3), MPI.COMM_SELF)) == {"spread": 1.0}


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
def test_harmonics_of_a_regular_polygon(share):
    # Of five equal masses in regular places, only every fifth wave is left.
    turns = 0.3 + 2 * np.pi * np.arange(5) / 5
    corners = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    found = harmonics(TokenSolver(share(corners), Attention(), Sphere(2), WORLD))
    assert found == {f"harmonic_{k}": pytest.approx(float(k == 5), abs=1e-13) for k in range(1, 9)}
