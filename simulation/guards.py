"""Checks that stop a run before it goes on with numbers that mean nothing."""

from __future__ import annotations

import math
import sys

from meanformer.simulation.controller import Observer, RunStopped
from meanformer.simulation.state import State
from meanformer.simulation.tables import Table

_LARGEST_DRIFT = 1e-9
# Of the mass, in cells that do not resolve it: below, a warning would come at rough starts.
_WORTH_A_WARNING = 0.1


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
                    f"{self._largest_outflow:g}; a larger box would hold it"
                )


class ResolutionGuard(Observer):
    """At every sample: the mesh resolves the density. Comes after what fills ``pde.csv``.

    Args:
        table: That of the density, with a column "resolution".
        largest_unresolved: Share of the mass in unresolved cells that stops the run; None to warn
            once, on rank 0's standard error.
        title: What runs, said in the warning.
    """

    def __init__(self, table: Table, largest_unresolved: float | None, title: str) -> None:
        """Nothing is checked before the first sample."""
        self._table, self._largest, self._warned = table, largest_unresolved, False
        self._warning = f"{title}: warning" if title else "warning"

    def sample(self, state: State) -> None:
        """Look at the last row.

        Raises:
            RunStopped: If more of the mass than allowed is not resolved.
        """
        share = float(self._table.columns["resolution"][-1])
        line = f"density: the mesh does not resolve {share:.0%} of the mass at t = {state.time:g}"
        if self._largest is not None and share > self._largest:
            raise RunStopped(f"{line}, more than pde.largest_unresolved = {self._largest:g}")
        if self._largest is None and share > _WORTH_A_WARNING and not self._warned:
            self._warned = True
            if state.comm.rank == 0:
                line = f"{self._warning}: {line}; see the column 'resolution'"
                print(line, file=sys.stderr, flush=True)
