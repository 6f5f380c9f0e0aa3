"""Columns of tokens against what is known of them."""

import gc

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.attention import Attention, Euclidean, Sphere
from meanformer.attention.energy import InteractionEnergy
from meanformer.meshes import circle
from meanformer.particles import TokenSolver
from meanformer.pde import DensitySolver
from meanformer.simulation import Case, run
from meanformer.simulation.observers.columns import Observed
from meanformer.simulation.observers.density_diagnostics import DensityDiagnostics, ObservedDensity
from meanformer.simulation.observers.diagnostics import TokenDiagnostics, harmonics, spread
from meanformer.simulation.output.tables import Table
from meanformer.simulation.state import State

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


def prepared(before=()):
    """What is there of energies and was not there before."""
    found = [each for each in gc.get_objects() if isinstance(each, InteractionEnergy)]
    return [each for each in found if each not in before]


def test_what_is_prepared_is_kept_only_for_points_that_do_not_move():
    before = prepared()
    model, table = Attention(beta=2.0), Table()
    tokens = TokenSolver(Sphere(2).retract(FOUR[1:]), model, Sphere(2), MPI.COMM_SELF)
    TokenDiagnostics(table, Observed(tokens, model)).sample(State(MPI.COMM_SELF, model))
    assert table.columns["energy"][0] > 0 and prepared(before) == []
    density = DensitySolver(circle(MPI.COMM_SELF, cells=8), model, 1, lambda x: 1 + x[:, 0] / 2)
    table, samples = Table(), []
    diagnostics = DensityDiagnostics(table, ObservedDensity(density, model))
    for _ in range(2):
        diagnostics.sample(State(MPI.COMM_SELF, model))
        samples += prepared(before)
        density.step(1.0)
    assert len(samples) == 2 and samples[0] is samples[1]
    assert 0 < table.columns["energy"][0] < table.columns["energy"][1]
