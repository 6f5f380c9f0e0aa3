"""What is checked after every step: numbers still mean something, and the step was not too long."""

from __future__ import annotations

import math

from meanformer.simulation.controller import Observer, RunStopped
from meanformer.simulation.state import State
from meanformer.simulation.warn import warn
from meanformer.solvers import Density

_LARGEST_DRIFT = 1e-9
# Steps this much longer than the automatic one may be unstable, or far off.
_WORTH_A_WARNING = 2.0


class MassGuard(Observer):
    """Masses are finite, which they are not if any value is nan, and kept."""

    def stepped(self, state: State, name: str, start: float) -> None:
        """Stop the run if a value of the solver is not finite, or mass was lost or made."""
        solver = state.solvers[name]
        mass, density = solver.mass(), state.density
        outflow = density.outflow if density is not None and solver is density else 0.0
        if not math.isfinite(mass):
            raise RunStopped(f"{name}: values are not finite at t = {solver.time:g}")
        if abs(mass + outflow - 1) > _LARGEST_DRIFT:
            with_outflow = f", and {outflow!r} has left" if outflow else ""
            raise RunStopped(
                f"{name}: the mass is {mass!r} at t = {solver.time:g}{with_outflow}, not 1"
            )


class OutflowGuard(Observer):
    """The mass that has left the density's mesh is at most the ``largest`` share of it.

    The ``advice`` says how more could be held.
    """

    def __init__(self, density: Density, largest: float, advice: str) -> None:
        self._density, self._largest, self._advice = density, largest, advice

    def stepped(self, state: State, name: str, start: float) -> None:
        """Stop the run if too much has left."""
        outflow = self._density.outflow
        if outflow > self._largest:
            raise RunStopped(
                f"density: {outflow:.3g} of the mass has left through the boundary at "
                f"t = {self._density.time:g}, more than pde.largest_outflow = "
                f"{self._largest:g}; {self._advice}"
            )


class StepGuard(Observer):
    """No step was far longer than the automatic one, which ``time.step`` allows.

    It warns once of each solver, on rank 0's standard error, and again at the end.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._told: dict[str, str] = {}

    def stepped(self, state: State, name: str, start: float) -> None:
        """Compare the step with the automatic one of its solver, if that has one."""
        solver = state.measures.get(name)
        if solver is None or name in self._told:
            return
        step, safe = solver.time - start, solver.automatic_step
        if not 0 < _WORTH_A_WARNING * safe < step:  # 0 and nan come with values not finite
            return
        self._told[name] = (
            f"{name}: the step of {step:.3g} at t = {start:g} is {step / safe:.2g} times "
            f'the automatic one ({safe:.2g}): results may be far off; time.step = "auto" '
            "avoids that"
        )
        if state.comm.rank == 0:
            warn(self._title, self._told[name])

    def warnings(self) -> list[str]:
        """What it told."""
        return list(self._told.values())
