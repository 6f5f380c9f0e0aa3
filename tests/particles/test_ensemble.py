"""Token systems that do not see each other."""

from mpi4py import MPI

import numpy as np
import pytest

from meanformer.attention import Attention, Sphere
from meanformer.attention.measures import Uniform
from meanformer.coupling import sample_tokens
from meanformer.particles import TokenSolver, deal_out
from meanformer.solvers import advance

SOFTMAX = Attention(beta=2.0)


def systems(comm=MPI.COMM_SELF, **options):
    def system(points, number):
        options_of_all = {"attention": SOFTMAX, "space": Sphere(3), "comm": comm}
        return TokenSolver(points, system=number, **options_of_all, **options)

    return system


def token_solver(number, comm=MPI.COMM_SELF):
    return systems(comm)(sample_tokens(Uniform(3), number, 0, comm), 0)


def test_all_tokens_are_dealt_out_once():
    tokens = token_solver(83)
    ensemble = deal_out(tokens, 8, systems())
    dealt = np.concatenate([system.points for system in ensemble.systems])
    assert len(ensemble.systems) == 8
    assert ensemble.number == 83
    assert np.array_equal(np.sort(dealt, axis=0), np.sort(tokens.points, axis=0))


def test_there_are_no_more_systems_than_tokens():
    assert [one.number for one in deal_out(token_solver(3), 8, systems()).systems] == [1, 1, 1]


@pytest.mark.mpi
def test_systems_move_as_if_there_were_no_other():
    tokens = token_solver(61, MPI.COMM_WORLD)
    ensemble = deal_out(tokens, 4, systems(MPI.COMM_WORLD, step=0.1, integrator="rk4"))
    advance(ensemble, 0.35)
    assert ensemble.steps == 16
    assert ensemble.mass() == pytest.approx(1.0, abs=1e-14)
    everything = sample_tokens(Uniform(3), 61, 0, MPI.COMM_SELF)
    for k, system in enumerate(ensemble.systems):
        alone = systems(step=0.1, integrator="rk4")(everything[k::4], k + 1)
        advance(alone, 0.35)
        here = np.concatenate(MPI.COMM_WORLD.allgather(system.points))
        assert np.allclose(here, alone.points, rtol=0, atol=1e-13)
