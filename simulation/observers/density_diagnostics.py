"""What ``pde.csv`` holds of the density at one time, besides what every measure has."""

from __future__ import annotations

from meanformer.attention import Euclidean, Model
from meanformer.attention.energy import ENERGETIC
from meanformer.pde import DensitySolver
from meanformer.pde.dg.dissipation import dissipation
from meanformer.pde.dg.resolution import Resolution, halvings_needed
from meanformer.simulation.controller import Observer
from meanformer.simulation.observers.diagnostics import row
from meanformer.simulation.output.tables import Table
from meanformer.simulation.state import State


class DensityDiagnostics(Observer):
    """Fill ``pde.csv``: one row a sample."""

    def __init__(self, table: Table, solver: DensitySolver) -> None:
        """Rows go to ``table``. Collective."""
        self._table, self._solver = table, solver
        self._resolution = Resolution(solver.elements, solver.temperature > 0)

    def sample(self, state: State) -> None:
        """Add a row."""
        solver = self._solver
        numbers = row(solver, state.attention, *solver.range(), solver.entropy())
        numbers |= _free_energy(solver, state.attention, numbers["energy"], numbers["entropy"])
        shares = self._resolution.after_halvings(solver.values)
        numbers |= {"resolution": shares[0], "halvings": halvings_needed(shares)}
        if isinstance(solver.space, Euclidean):
            numbers["outflow"] = solver.outflow
        self._table.append(numbers)


def _free_energy(
    solver: DensitySolver, model: Model, energy: float, entropy: float
) -> dict[str, float]:
    """F = kappa H - E and -dF/dt; nan for a law that has no energy. Collective."""
    attention, kappa = model.during(solver.time).at(solver.time), solver.temperature
    falls = float("nan")
    if attention.law in ENERGETIC:
        falls = dissipation(solver.elements, attention, solver.values, kappa)
    return {"free_energy": kappa * entropy - energy, "dissipation": falls}
