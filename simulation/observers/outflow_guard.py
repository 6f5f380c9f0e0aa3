"""Check that no more mass leaves through the boundary of the mesh than the case allows."""

from __future__ import annotations

from meanformer.simulation.controller import Observer, RunStopped
from meanformer.simulation.state import State
from meanformer.solvers import Density


class OutflowGuard(Observer):
    """After every step: the mass that has left the density's mesh is within its limit.

    Args:
        density: What mass may leave.
        largest: Share of the mass that may.
        advice: How more could be held.
    """

    def __init__(self, density: Density, largest: float, advice: str) -> None:
        self._density, self._largest, self._advice = density, largest, advice

    def stepped(self, state: State, name: str, start: float) -> None:
        """Check the density.

        Raises:
            RunStopped: If too much has left.
        """
        outflow = self._density.outflow
        if outflow > self._largest:
            raise RunStopped(
                f"density: {outflow:.3g} of the mass has left through the boundary at "
                f"t = {self._density.time:g}, more than pde.largest_outflow = "
                f"{self._largest:g}; {self._advice}"
            )
