"""Checks that stop a run before it goes on with numbers that mean nothing."""

from __future__ import annotations

import math

from meanformer.simulation.controller import Observer, RunStopped
from meanformer.simulation.state import State

_LARGEST_DRIFT = 1e-9


class MassGuard(Observer):
    """After every step: masses are finite, which they are not if any value is nan, and kept."""

    def stepped(self, state: State) -> None:
        """Check all solvers.

        Raises:
            RunStopped: If a value is not finite or mass was lost or made.
        """
        for name, solver in state.solvers.items():
            mass = solver.mass()
            if not math.isfinite(mass):
                raise RunStopped(f"{name}: values are not finite at t = {solver.time:g}")
            if abs(mass - 1) > _LARGEST_DRIFT:
                raise RunStopped(f"{name}: the mass is {mass!r} at t = {solver.time:g}, not 1")
