"""Columns of any measure against what is known of them."""

import gc

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.attention import Attention, Sphere
from meanformer.attention.energy import InteractionEnergy
from meanformer.meshes import circle
from meanformer.particles import TokenSolver
from meanformer.pde import DensitySolver
from meanformer.simulation.observers.density_diagnostics import DensityDiagnostics, ObservedDensity
from meanformer.simulation.observers.diagnostics import harmonics
from meanformer.simulation.observers.observed_tokens import ObservedTokens
from meanformer.simulation.observers.token_diagnostics import TokenDiagnostics
from meanformer.simulation.output.tables import Table
from meanformer.simulation.state import State

WORLD = MPI.COMM_WORLD
THREE = np.array([[-1.0, 5.0], [1.0, 2.0], [4.0, -3.0]])


@pytest.mark.mpi
def test_harmonics_of_a_regular_polygon(share):
    # Of five equal masses in regular places, only every fifth wave is left.
    turns = 0.3 + 2 * np.pi * np.arange(5) / 5
    corners = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    solver = TokenSolver(share(corners), Attention(), Sphere(2), WORLD)
    found = harmonics(ObservedTokens(solver, Attention()).measures)
    assert found == {f"harmonic_{k}": pytest.approx(float(k == 5), abs=1e-13) for k in range(1, 9)}


def prepared(before=()):
    """What is there of energies and was not there before."""
    found = [each for each in gc.get_objects() if isinstance(each, InteractionEnergy)]
    return [each for each in found if each not in before]


def test_what_is_prepared_is_kept_only_for_points_that_do_not_move():
    before = prepared()
    model, table = Attention(beta=2.0), Table()
    tokens = TokenSolver(Sphere(2).retract(THREE), model, Sphere(2), MPI.COMM_SELF)
    TokenDiagnostics(table, ObservedTokens(tokens, model)).sample(State(MPI.COMM_SELF, model))
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
