"""The run loop: solvers go from sample to sample, and observers watch them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from time import perf_counter

import numpy as np

from meanformer.simulation.state import State


class RunStopped(Exception):
    """An observer asks the run to stop; the message says why."""


class Observer:
    """Something that watches a run and never changes its state.

    All methods are collective over the run's ranks.
    """

    def sample(self, state: State) -> None:
        """Called at each sample time, when all solvers have reached it."""

    def stepped(self, state: State) -> None:
        """Called after each step of any solver."""

    def close(self) -> None:
        """Called once, however the run ends."""


def sample_times(end: float, every: float) -> list[float]:
    """0, every, 2 every, ... and ``end``, to twelve digits: 0.3, not 0.30000000000000004."""
    count = int(np.ceil(end / every - 1e-9))
    return [float(f"{k * every:.12g}") for k in range(count)] + [end]


def integrate(
    state: State, times: Iterable[float], observers: Sequence[Observer]
) -> dict[str, float]:
    """Move all solvers from sample to sample. Collective.

    Args:
        state: The solvers; changed in place.
        times: Increasing sample times, none before ``state.time``.
        observers: Called in order.

    Returns:
        Wall time of this rank in seconds, by solver and observer.

    Raises:
        RunStopped: If an observer stops the run.
    """
    seconds: dict[str, float] = defaultdict(float)
    for time in times:
        for name, solver in state.solvers.items():
            while solver.time < time:
                began = perf_counter()
                solver.step(time)
                seconds[name] += perf_counter() - began
                for observer in observers:
                    observer.stepped(state)
        for observer in observers:
            began = perf_counter()
            observer.sample(state)
            seconds[type(observer).__name__] += perf_counter() - began
    return dict(seconds)
