"""Check that numbers still mean something: they are finite, and mass is kept."""

from __future__ import annotations

import math

from meanformer.simulation.controller import Observer, RunStopped
from meanformer.simulation.state import State

_LARGEST_DRIFT = 1e-9


class MassGuard(Observer):
    """After every step: masses are finite, which they are not if any value is nan, and kept."""

    def stepped(self, state: State, name: str, start: float) -> None:
        """Check the solver that took the step.

        Raises:
            RunStopped: If a value is not finite, or mass was lost or made.
        """
        solver = state.solvers[name]
        mass, outflow = solver.mass(), state.outflow_of(name)
        if not math.isfinite(mass):
            raise RunStopped(f"{name}: values are not finite at t = {solver.time:g}")
        if abs(mass + outflow - 1) > _LARGEST_DRIFT:
            with_outflow = f", and {outflow!r} has left" if outflow else ""
            raise RunStopped(
                f"{name}: the mass is {mass!r} at t = {solver.time:g}{with_outflow}, not 1"
            )
