"""The run loop: solvers go from sample to sample, and observers watch them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from meanformer.mpi import MPI

import numpy as np

from meanformer.simulation.state import State
from meanformer.timing import timed


class RunStopped(Exception):
    """An observer asks the run to stop; the message says why."""


class RunInterrupted(Exception):
    """An observer asks the run to stop so that it can go on later; the message says why."""


class Observer:
    """Something that watches a run and never changes its state; it writes from the first sample on.

    All methods but ``wish`` are collective over the run's ranks. What stops the run is raised on
    every rank: a ``RunStopped`` or a ``SolverError``. An ``OSError`` may be one rank's alone.
    """

    def sample(self, state: State) -> None:
        """Called at each sample time, when all solvers have reached it."""

    def stepped(self, state: State, name: str, start: float) -> None:
        """Called after each step of any solver.

        Args:
            state: The solvers.
            name: That of the one that took the step.
            start: Its time before.
        """

    def wish(self, state: State) -> int:
        """What this rank wishes after a step, a number; 0 is nothing. Not collective."""
        return 0

    def agreed(self, state: State, wish: int) -> None:
        """Called after a step in which any rank wished something, with the largest of all wishes.

        It comes after ``stepped`` of all observers.
        """

    def interrupted(self, state: State) -> None:
        """Called when the run is interrupted, wherever the solvers are."""

    def close(self) -> None:
        """Called once, however the run ends."""

    def warnings(self) -> list[str]:
        """What the user should know at the end of the run, the same on every rank."""
        return []


def sample_times(end: float, every: float, after: float = -np.inf) -> list[float]:
    """0, every, 2 every, ... and ``end``, to twelve digits: 0.3, not 0.30000000000000004.

    Only those after ``after``, a former sample: it may be an ``end`` that is no multiple.
    """
    count = int(np.ceil(end / every - 1e-9))
    times = [float(f"{k * every:.12g}") for k in range(count)] + [end]
    return [time for time in times if time - after > 1e-9 * every]


def integrate(
    state: State,
    times: Iterable[float],
    observers: Sequence[Observer],
    seconds: dict[str, float] | None = None,
) -> None:
    """Move all solvers from sample to sample. Collective.

    Args:
        state: The solvers; changed in place.
        times: Increasing sample times, none before the time of any solver.
        observers: Called in order.
        seconds: Where this rank's wall times are added by solver and observer, also if the run does
            not reach its end.

    Raises:
        RunStopped: If an observer stops the run.
        RunInterrupted: If an observer interrupts it.
    """
    seconds = {} if seconds is None else seconds
    steps = {name: timed(solver.step, seconds, name) for name, solver in state.solvers.items()}
    samples = [timed(each.sample, seconds, type(each).__name__) for each in observers]
    for time in times:
        for name, solver in state.solvers.items():
            while solver.time < time:
                start = solver.time
                steps[name](time)
                _observe_step(state, observers, name, start)
        for sample in samples:
            sample(state)


def _observe_step(state: State, observers: Sequence[Observer], name: str, start: float) -> None:
    """Tell observers of a step, then of what ranks wish: one reduction for all of them."""
    for observer in observers:
        observer.stepped(state, name, start)
    wishes = np.array([observer.wish(state) for observer in observers])
    state.comm.Allreduce(MPI.IN_PLACE, wishes, MPI.MAX)
    for observer, wish in zip(observers, wishes.tolist(), strict=True):
        if wish:
            observer.agreed(state, wish)
