"""Tables of diagnostics: lists of parts, each of which is some columns and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from meanformer.attention import Attention, Model
from meanformer.attention.energy import EnergyOfMeasure, InteractionEnergy
from meanformer.simulation.controller import Observer
from meanformer.simulation.output.tables import Table
from meanformer.simulation.state import State
from meanformer.solvers import MeasureSolver

#: Numbers by the names of their columns, the same on every rank; nan is an empty field.
Row = dict[str, float]
S = TypeVar("S", bound=MeasureSolver, contravariant=True)
ObservedS = TypeVar("ObservedS", bound=MeasureSolver, covariant=True)


class Observed(Generic[ObservedS]):
    """A solver at a sample, with what several columns need of it.

    Args:
        solver: The solver.
        model: The attention as a function of time.
    """

    def __init__(self, solver: ObservedS, model: Model) -> None:
        self.solver, self.model = solver, model
        self._prepared: InteractionEnergy | None = None
        self._energy: EnergyOfMeasure | None = None

    @property
    def attention(self) -> Attention:
        """The attention at the solver's time; where it changes at this time, what begins."""
        time = self.solver.time
        return self.model.during(time).at(time)

    def renew(self) -> None:
        """Forget what was evaluated at the last sample."""
        self._energy = None

    def energy(self) -> EnergyOfMeasure | None:
        """The interaction energy; None for a law that has none. Collective.

        Attention is prepared once for points that do not move, and evaluated once a sample.
        """
        if self._energy is None and self.attention.rule.energetic:
            solver, attention, known = self.solver, self.attention, self._prepared
            if (
                known is None
                or known.attention is not attention
                or known.points is not solver.points
            ):
                known = InteractionEnergy(attention, solver.points, solver.space, solver.comm)
            self._prepared, self._energy = known, known(solver.weights)
        return self._energy


@dataclass(frozen=True)
class Part(Generic[S]):
    """Columns of a table that are computed together.

    Attributes:
        meanings: What the documentation says of them, in Markdown, by their names there:
            "min, max", "cov_ij".
        prepare: Does for a solver what is done once. What it returns makes of the columns before
            these, in the order of the parts, their own at the solver's time, dimensionless: the
            same names at every sample, or none on a space that has no such number. Both are
            collective, and raise on every rank or on none.
    """

    meanings: Mapping[str, str]
    prepare: Callable[[Observed[S]], Callable[[Row], Row]]


def alone(numbers: Callable[[S], Row]) -> Callable[[Observed[S]], Callable[[Row], Row]]:
    """``prepare`` of a part that needs the solver alone."""
    return lambda observed: lambda row: numbers(observed.solver)


def empty(*names: str) -> Callable[[Observed[S]], Callable[[Row], Row]]:
    """``prepare`` of a part that this table has for the sake of another."""
    return lambda observed: lambda row: dict.fromkeys(names, float("nan"))


class Diagnostics(Observer, Generic[S]):
    """Fill a table with the columns of ``parts``: one row a sample.

    Args:
        table: Where rows go.
        solver: What they are of.
        model: The attention as a function of time.

    Attributes:
        parts: The columns in their order.
    """

    parts: ClassVar[Iterable[Part]]

    def __init__(self, table: Table, solver: S, model: Model) -> None:
        """Prepare all parts. Collective."""
        self._table = table
        self._observed = Observed(solver, model)
        self._prepared = [part.prepare(self._observed) for part in self.parts]

    def sample(self, state: State) -> None:
        """Add a row."""
        self._observed.renew()
        row: Row = {}
        for numbers in self._prepared:
            row |= numbers(row)
        self._table.append(row)
