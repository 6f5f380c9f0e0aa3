"""Check whether the mesh resolves the density."""

from __future__ import annotations

import sys

from meanformer.simulation.controller import Observer, RunStopped
from meanformer.simulation.state import State
from meanformer.simulation.tables import Table

# Of the mass, in cells that do not resolve it: below, a warning would come at rough starts.
_WORTH_A_WARNING = 0.1


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
