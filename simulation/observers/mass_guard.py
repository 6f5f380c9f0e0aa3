"""Checks that stop a run before it goes on with numbers that mean nothing."""

from __future__ import annotations

import math

from meanformer.simulation.controller import Observer, RunStopped
from meanformer.simulation.state import State

_LARGEST_DRIFT = 1e-9


class MassGuard(Observer):
    """After every step: masses are finite, which they are not if any value is nan, and kept.

    Args:
        largest_outflow: Share of the density's mass that may leave through the boundary.
    """

    def __init__(self, largest_outflow: float = 0.0) -> None:
        """Nothing is checked before the first step."""
        self._largest_outflow = largest_outflow

    def stepped(self, state: State) -> None:
        """Check all solvers.

        Raises:
            RunStopped: If a value is not finite, mass was lost or made, or too much has left.
        """
        for name, solver in state.solvers.items():
            mass = solver.mass()
            if not math.isfinite(mass):
                raise RunStopped(f"{name}: values are not finite at t = {solver.time:g}")
            outflow = state.density.outflow if solver is state.density and state.density else 0.0
            if abs(mass + outflow - 1) > _LARGEST_DRIFT:
                with_outflow = f", and {outflow!r} has left" if outflow else ""
                raise RunStopped(
                    f"{name}: the mass is {mass!r} at t = {solver.time:g}{with_outflow}, not 1"
                )
            if outflow > self._largest_outflow:
                raise RunStopped(
                    f"{name}: {outflow:.3g} of the mass has left through the boundary at "
                    f"t = {solver.time:g}, more than pde.largest_outflow = "
                    f"{self._largest_outflow:g}; {state.advice}"
                )
