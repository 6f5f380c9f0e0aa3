"""What fills the tables of a run: lists of parts, each of which is some columns, and metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Generic, NamedTuple, TypeVar

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.attention import Model, Space
from meanformer.attention.energy import EnergyOfMeasure, InteractionEnergy
from meanformer.simulation.controller import Observer
from meanformer.simulation.output.tables import Table
from meanformer.simulation.state import State
from meanformer.solvers import MeasureSolver

#: Numbers by the names of their columns; nan is an empty field. An array has one for each system
#: here, ``shape=(systems,)``; one system, and what is a float, are the same on every rank.
Row = dict[str, float | Array]
S = TypeVar("S", bound=MeasureSolver)
S_co = TypeVar("S_co", bound=MeasureSolver, covariant=True)
Observed_contra = TypeVar("Observed_contra", bound="Observed", contravariant=True)


class Measures(NamedTuple):
    """Measures of as many weighted points each: one, shared by ranks, or whole ones of this rank.

    Attributes:
        points: ``shape=(systems, n, d)``.
        weights: ``shape=(systems, n)``.
        space: Where the points live.
        comm: The ranks that share each measure.
    """

    points: Array
    weights: Array
    space: Space
    comm: MPI.Comm


class Observed(Generic[S_co]):
    """A solver at a sample, with what several columns need of it.

    Args:
        solver: The solver.
        model: What its points x follow.
    """

    #: Whether its points are others at every sample.
    points_move = True
    #: Whether they may have an energy: rescaled points have none, and none beside a prompt.
    has_energy = True
    #: Of how many systems its points are, all on this rank; None for one shared by all ranks.
    systems: int | None = None

    def __init__(self, solver: S_co, model: Model) -> None:
        self.solver, self.model = solver, model
        self._prepared: InteractionEnergy | None = None
        self._energy: EnergyOfMeasure | None = None

    @property
    def measures(self) -> Measures:
        """The solver's measure."""
        solver = self.solver
        return Measures(solver.points[None], solver.weights[None], solver.space, solver.comm)

    def energy(self) -> EnergyOfMeasure | None:
        """The interaction energy; None where there is none. Collective.

        It is evaluated once a sample, of the attention at the solver's time; where that changes
        at this time, of what begins.
        """
        if not self.has_energy:
            return None
        solver, time = self.solver, self.solver.time
        attention = self.model.during(time).at(time)
        if self._energy is None and attention.energetic:
            if self._prepared is None or self._prepared.attention is not attention:
                self._prepared = InteractionEnergy(
                    attention, solver.points, solver.space, solver.comm, self.systems
                )
            self._energy = self._prepared(solver.weights)
        return self._energy

    def forget(self) -> None:
        """Forget what was evaluated at a sample, and what was prepared for points that move."""
        self._energy = None
        if self.points_move:
            self._prepared = None


@dataclass(frozen=True)
class Part(Generic[Observed_contra]):
    """Columns of a table that are computed together.

    Attributes:
        meanings: What the documentation says of them, in Markdown, by their names there:
            "min, max", "cov_ij".
        numbers: Makes of the columns before these, in the order of the parts, their own at the
            solver's time, dimensionless: the same names at every sample, or none on a space that
            has no such number. Collective; raises on every rank or on none.
    """

    meanings: Mapping[str, str]
    numbers: Callable[[Observed_contra, Row], Row]


def alone(numbers: Callable[[S], Row]) -> Callable[[Observed[S], Row], Row]:
    """``numbers`` of a part that needs the solver alone."""
    return lambda observed, row: numbers(observed.solver)


def empty(*names: str) -> Callable[[Observed, Row], Row]:
    """``numbers`` of a part that a table has for the sake of another."""
    return lambda observed, row: dict.fromkeys(names, float("nan"))


class Diagnostics(Observer):
    """Fill a table with columns of what is observed: one row a sample."""

    #: The columns in their order.
    parts: ClassVar[Iterable[Part]]

    def __init__(self, table: Table, observed: Observed) -> None:
        self._table, self._observed = table, observed

    def sample(self, state: State) -> None:
        """Add a row."""
        row: Row = {}
        for part in self.parts:
            row |= part.numbers(self._observed, row)
        self._observed.forget()
        self._table.append(self._of_all(row))

    def _of_all(self, row: Row) -> dict[str, float]:
        """What the table says of all systems; of one, its own numbers. Collective."""
        return {name: float(np.squeeze(number)) for name, number in row.items()}


class Comparison(Observer):
    """Fill ``compare.csv``: t, and each metric with its sampling noise beside it."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def sample(self, state: State) -> None:
        """Add a row."""
        row = {"t": state.time}
        for metric in state.metrics:
            row |= dict(zip(metric.columns, metric.measure(), strict=True))
        self._table.append(row)
