"""What ``pde.csv`` holds of the density at one time, besides what every measure has."""

from __future__ import annotations

from functools import cached_property

from meanformer.attention import Euclidean
from meanformer.pde import DensitySolver
from meanformer.pde.dg.dissipation import dissipation
from meanformer.pde.dg.resolution import Resolution, halvings_needed
from meanformer.simulation.observers import diagnostics as d
from meanformer.simulation.observers.columns import Diagnostics, Observed, Part, Row, alone


class ObservedDensity(Observed[DensitySolver]):
    """A density at a sample."""

    points_move = False

    @cached_property
    def resolution(self) -> Resolution:
        """What measures the jumps, compiled once. Collective."""
        return Resolution(self.solver.elements, self.solver.temperature > 0)


def _range(solver: DensitySolver) -> Row:
    low, high = solver.range()
    return {"min": low, "max": high}


def _free_energy(observed: ObservedDensity, row: Row) -> Row:
    """F = kappa H - E and -dF/dt; nan for a law that has no energy. Collective."""
    solver, energy = observed.solver, observed.energy()
    falls, kappa = float("nan"), solver.temperature
    if energy is not None:
        falls = dissipation(solver.elements, energy, solver.values, kappa)
    return {"free_energy": kappa * row["entropy"] - row["energy"], "dissipation": falls}


def _resolution(observed: ObservedDensity, row: Row) -> Row:
    shares = observed.resolution.after_halvings(observed.solver.values)
    return {"resolution": shares[0], "halvings": halvings_needed(shares)}


def _outflow(solver: DensitySolver) -> Row:
    """Spheres have no boundary."""
    return {"outflow": solver.outflow} if isinstance(solver.space, Euclidean) else {}


#: The columns of ``pde.csv``.
OF_DENSITY: tuple[Part[ObservedDensity], ...] = (
    d.TIME,
    d.MASS,
    Part(d.RANGE, alone(_range)),
    d.ENERGY,
    Part(d.ENTROPY, alone(lambda solver: {"entropy": solver.entropy()})),
    d.MOMENTS,
    d.HARMONIC,
    Part(
        {
            "free_energy": r"$F=\kappa\int\rho\log\rho-E$, with E the interaction energy",
            "dissipation": r"$-dF/dt=\int\langle g-\kappa\nabla\log\rho,\,v-\kappa\nabla\log\rho"
            r"\rangle\rho$, with g the gradient of $\delta E/\delta\rho$ and v the velocity, a "
            "drift's with it: without noise the rate at which the energy grows. It holds for any "
            "matrices, both may then have either sign, "
            r"and as long as no mass is at a boundary. Gradients see the jumps of $\rho$ at "
            "facets, so that it is as accurate as the energy",
        },
        _free_energy,
    ),
    Part(
        {
            "resolution": "the share of the mass in cells that do not resolve it: those where the "
            "mean jump of the density at their facets exceeds a tenth of its mean inside. A "
            "solution is continuous, so jumps are of the size of the error. With noise, whose "
            "penalty holds values together, a quarter of the slope's jump times the cell's height "
            "is added",
            "halvings": "how often all cells would have to be halved for no more than 10 % of the "
            "mass to be left in such cells: see [below](#is-the-mesh-fine-enough)",
        },
        _resolution,
    ),
    Part(
        {
            "outflow": "in $R^d$: mass that has left through the boundary, integrated with the "
            "time scheme; `mass` and it add up to 1"
        },
        alone(_outflow),
    ),
)


class DensityDiagnostics(Diagnostics):
    """Fill ``pde.csv``."""

    parts = OF_DENSITY
