"""What a run holds: the model and its solvers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from meanformer.mpi import MPI

from meanformer.attention import Model
from meanformer.coupling import TokenReplicas
from meanformer.solvers import MeasureSolver, Solver, Tokens

if TYPE_CHECKING:
    from meanformer.pde import DensitySolver


@dataclass
class State:
    """The solvers of a run, at one time when observers sample them.

    Attributes:
        comm: The ranks of the run.
        attention: The model, a function of time.
        density: The density solver, if the case has one.
        tokens: The token solver, if the case has one.
        replicas: Independent smaller systems, if the harmonic distance is asked for.
        advice: What to say of mass that leaves through the boundary of the density's mesh.
    """

    comm: MPI.Intracomm
    attention: Model
    density: DensitySolver | None = None
    tokens: Tokens | None = None
    replicas: TokenReplicas | None = None
    advice: str = ""

    @property
    def solvers(self) -> dict[str, Solver]:
        """The solvers there are, by name."""
        named = {"density": self.density, "tokens": self.tokens, "replicas": self.replicas}
        return {name: solver for name, solver in named.items() if solver is not None}

    @property
    def measures(self) -> dict[str, MeasureSolver]:
        """Everything that moves, by name: the solvers, and each of the replicas."""
        named: dict[str, MeasureSolver | None] = {"density": self.density, "tokens": self.tokens}
        if self.replicas is not None:
            named |= {f"replica_{k}": one for k, one in enumerate(self.replicas.systems)}
        return {name: solver for name, solver in named.items() if solver is not None}

    @property
    def time(self) -> float:
        """Time that every solver has reached."""
        return min(solver.time for solver in self.solvers.values())
