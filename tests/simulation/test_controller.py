"""What the run loop tells observers, and what it asks of ranks."""

from types import SimpleNamespace

from mpi4py import MPI

import pytest

from meanformer.attention import Attention
from meanformer.simulation.controller import Observer, integrate
from meanformer.simulation.observers.guards import MassGuard
from meanformer.simulation.state import State

WORLD = MPI.COMM_WORLD


class Clock(SimpleNamespace):
    """A solver that does nothing but go on in time."""

    def __init__(self, step):
        super().__init__(time=0.0, steps=0, looks=0, length=step)

    def step(self, until):
        self.time, self.steps = min(until, self.time + self.length), self.steps + 1

    def mass(self):
        self.looks += 1
        return 1.0


class Told(Observer):
    def __init__(self, wishes=()):
        self.steps, self.agreements, self._wishes = [], [], dict(wishes)

    def stepped(self, state, name, start):
        self.steps.append((name, start))

    def wish(self, state):
        return self._wishes.get(len(self.steps), 0)

    def agreed(self, state, wish):
        self.agreements.append((len(self.steps), wish))


@pytest.mark.mpi
def test_a_step_is_told_by_name_and_start():
    told, state = Told(), State(WORLD, Attention(), tokens=Clock(0.5), ensemble=Clock(0.75))
    integrate(state, [0.0, 1.0], [told])
    assert told.steps == [("tokens", 0.0), ("tokens", 0.5), ("replicas", 0.0), ("replicas", 0.75)]
    assert told.agreements == []


@pytest.mark.mpi
def test_the_largest_wish_of_all_ranks_is_told_to_the_observer_that_has_it():
    own = Told({2: 1 + WORLD.rank, 3: 7 * (WORLD.rank == 0)})
    other, state = Told({4: 1}), State(WORLD, Attention(), tokens=Clock(0.25))
    integrate(state, [1.0], [own, other])
    assert own.agreements == [(2, WORLD.size), (3, 7)]
    assert other.agreements == [(4, 1)]


def test_only_the_mass_of_the_solver_that_moved_is_looked_at():
    state = State(MPI.COMM_SELF, Attention(), tokens=Clock(0.25), ensemble=Clock(0.125))
    integrate(state, [1.0], [MassGuard()])
    assert (state.tokens.looks, state.ensemble.looks) == (4, 8)
