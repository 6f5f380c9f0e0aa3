"""What every solver offers, whatever it solves: all that run loop, checkpoints and metrics know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, TypeVar

from meanformer.mpi import MPI

import numpy as np
import numpy.typing as npt

from meanformer.arrays import Array, Indices

if TYPE_CHECKING:
    from meanformer.attention import Space
    from meanformer.systems import Systems


class WeightedPoints(Protocol):
    """A measure as attention sees it: points with weights, distributed over ranks."""

    @property
    def comm(self) -> MPI.Intracomm:
        """The ranks."""

    @property
    def space(self) -> Space:
        """Where the points live."""

    @property
    def points(self) -> Array:
        """This rank's points, ``shape=(n, d)``; once they move, another array."""

    @property
    def weights(self) -> Array:
        """This rank's weights, ``shape=(n,)``; all of them add up to the mass."""


class Solver(Protocol):
    """Something that moves in time."""

    @property
    def time(self) -> float:
        """Time reached, dimensionless."""

    @property
    def steps(self) -> int:
        """Steps taken."""

    @property
    def refused_steps(self) -> int:
        """Steps tried in vain: a shorter one was taken then."""

    @property
    def wall_time(self) -> dict[str, float]:
        """Seconds that this rank has spent in the solver's parts, by their names."""

    def step(self, until: float) -> None:
        """Take one step, which ends at ``until`` or before. Collective.

        Raises:
            SolverError: On every rank, if it cannot go on; the state is that before the step.
        """

    def mass(self) -> float:
        """Total mass; nan if the state is not finite. Collective."""


_Solver = TypeVar("_Solver", bound=Solver)


def advance(solver: _Solver, until: float) -> _Solver:
    """Take steps until a time; the solver itself. Collective.

    Raises:
        SolverError: If the solver cannot go on.
    """
    while solver.time < until:
        solver.step(until)
    return solver


class MeasureSolver(Solver, WeightedPoints, Protocol):
    """A solver whose state is a measure, which can be kept and restored."""

    @property
    def automatic_step(self) -> float:
        """The largest step that was safe when the last one began; infinite before the first.

        The same on all ranks.
        """

    @property
    def numbers(self) -> Indices:
        """Numbers of this rank's rows in ``arrays``, the same on any number of ranks."""

    def arrays(self) -> dict[str, Array]:
        """All that a solver of the same problem needs to go on.

        Returns:
            Rows of this rank, ``shape=(len(numbers), ...)``, and numbers that are the same on all
            ranks, ``shape=()``, by name: "time" and "steps" are among them.
        """

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Go on from what ``arrays`` gave, with this rank's rows by ``numbers``.

        Shapes are known to fit.
        """


class Density(MeasureSolver, Protocol):
    """A solver for the density of tokens."""

    @property
    def outflow(self) -> float:
        """Mass that has left through a boundary, on all ranks together."""

    @property
    def temperature(self) -> float:
        """kappa, the strength of the noise."""

    @property
    def point_numbers(self) -> Indices:
        """Numbers that sort ``points`` in one order on any number of ranks, ``shape=(n,)``."""

    @property
    def point_volumes(self) -> Array:
        """Length, area or volume that ``integral`` gives each of ``points``, ``shape=(n,)``."""

    def at(self, points: Array) -> Array:
        """The density at points of this rank's choice, ``shape=(m,)``; nan where there is no mesh.

        Collective.

        Raises:
            ValueError: On every rank, if points of any rank are not points of the space.
        """

    def integral(self, values: Array) -> float:
        """The integral over space of a function given at ``points``. Collective."""

    def range(self) -> tuple[float, float]:
        """Smallest and largest value that the density is made of. Collective."""

    def entropy(self) -> float:
        """H = int rho log rho. Collective."""

    def close(self) -> None:
        """Free what Python does not; there may be no more steps then. Collective."""


class Tokens(MeasureSolver, Protocol):
    """A solver for the tokens themselves."""

    @property
    def number(self) -> int:
        """Tokens of each system."""

    @property
    def systems(self) -> Systems:
        """To which systems tokens belong: a single one, or several that do not see each other."""

    def velocity(self) -> Array:
        """The velocity at the present tokens, ``shape=(n, d)``. Collective.

        Raises:
            SolverError: On every rank, if it is undefined at a token of any.
        """

    def attention_matrix(self) -> Array:
        """The attention matrix P of every head, this rank's rows, ``shape=(h, n, number)``.

        Columns are tokens of the row's own system. Collective.

        Raises:
            SolverError: On every rank, if the velocity is undefined at a token of any.
        """

    def leaders(self) -> npt.NDArray[np.bool_]:
        """Which tokens attend to themselves alone under the hardmax law, ``shape=(n,)``.

        Collective.

        Raises:
            SolverError: On every rank, if tokens of any are not finite.
        """
