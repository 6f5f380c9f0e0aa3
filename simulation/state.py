"""What a run holds: the model and its solvers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meanformer.mpi import MPI

from meanformer.attention import Model
from meanformer.coupling import Metric
from meanformer.particles import TokenEnsemble
from meanformer.solvers import Density, MeasureSolver, Solver, Tokens


@dataclass
class State:
    """The solvers of a run, at one time when observers sample them.

    Attributes:
        comm: The ranks of the run.
        attention: The model, a function of time.
        density: The density solver, if the case has one.
        tokens: The token solver, if the case has one.
        ensemble: The tokens dealt out to systems of their own, if a metric asks for it.
        metrics: The distances between density and tokens that the case asks for.
    """

    comm: MPI.Intracomm
    attention: Model
    density: Density | None = None
    tokens: Tokens | None = None
    ensemble: TokenEnsemble | None = None
    metrics: Sequence[Metric] = ()

    @property
    def solvers(self) -> dict[str, Solver]:
        """The solvers there are, by name: "replicas" is the ensemble in summaries."""
        named = {"density": self.density, "tokens": self.tokens, "replicas": self.ensemble}
        return {name: solver for name, solver in named.items() if solver is not None}

    @property
    def measures(self) -> dict[str, MeasureSolver]:
        """Everything that moves, by name: the solvers, and each system of the ensemble."""
        named: dict[str, MeasureSolver | None] = {"density": self.density, "tokens": self.tokens}
        if self.ensemble is not None:
            named |= {f"replica_{k}": one for k, one in enumerate(self.ensemble.systems)}
        return {name: solver for name, solver in named.items() if solver is not None}

    @property
    def time(self) -> float:
        """Time that every solver has reached."""
        return min(solver.time for solver in self.solvers.values())
