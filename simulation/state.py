"""What a run holds: the model, its solvers, and what every solver has in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from meanformer.mpi import MPI

from meanformer.attention import Model, Space
from meanformer.attention.spaces import Array
from meanformer.coupling import TokenReplicas
from meanformer.particles import TokenSolver

if TYPE_CHECKING:
    from meanformer.pde import DensitySolver


class Solver(Protocol):
    """Something that moves in time."""

    @property
    def wall_time(self) -> dict[str, float]:
        """Seconds spent in the solver's parts."""

    @property
    def time(self) -> float:
        """Time reached."""

    @property
    def steps(self) -> int:
        """Steps taken."""

    def step(self, until: float) -> None:
        """Take one step, which ends at ``until`` or before. Collective."""

    def mass(self) -> float:
        """Total mass; nan if the state is not finite. Collective."""


class MeasureSolver(Solver, Protocol):
    """A solver whose state is a measure: points with weights, distributed over ranks."""

    comm: MPI.Intracomm
    points: Array

    @property
    def space(self) -> Space:
        """Where the points live."""

    @property
    def weights(self) -> Array:
        """This rank's weights, ``shape=(n,)``."""


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
    tokens: TokenSolver | None = None
    replicas: TokenReplicas | None = None
    advice: str = ""

    @property
    def solvers(self) -> dict[str, Solver]:
        """The solvers there are, by name."""
        named = {"density": self.density, "tokens": self.tokens, "replicas": self.replicas}
        return {name: solver for name, solver in named.items() if solver is not None}

    @property
    def time(self) -> float:
        """Time that every solver has reached."""
        return min(solver.time for solver in self.solvers.values())
