"""Tables of diagnostics: lists of parts, each of which is some columns and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from meanformer.attention import Model
from meanformer.simulation.controller import Observer
from meanformer.simulation.output.tables import Table
from meanformer.simulation.state import State

Row = dict[str, float]
S = TypeVar("S", contravariant=True)


@dataclass(frozen=True)
class Part(Generic[S]):
    """Columns of a table that are computed together.

    Attributes:
        meanings: What the documentation says of them, by their names there: "min, max", "cov_ij".
        prepare: Does for a solver and a model what is done once. What it returns makes of the
            columns before these their numbers at the solver's time, all dimensionless. Both are
            collective.
    """

    meanings: Mapping[str, str]
    prepare: Callable[[S, Model], Callable[[Row], Row]]


def alone(numbers: Callable[[S], Row]) -> Callable[[S, Model], Callable[[Row], Row]]:
    """``prepare`` of a part that needs the solver alone."""
    return lambda solver, model: lambda row: numbers(solver)


def empty(*names: str) -> Callable[[object, Model], Callable[[Row], Row]]:
    """``prepare`` of a part that this table has for the sake of another."""
    return lambda solver, model: lambda row: dict.fromkeys(names, float("nan"))


class Diagnostics(Observer, Generic[S]):
    """Fill a table with the columns of ``parts``: one row a sample.

    Args:
        table: Where rows go.
        solver: What they are of.
        model: The attention as a function of time.
    """

    parts: ClassVar[Iterable[Part]]

    def __init__(self, table: Table, solver: S, model: Model) -> None:
        """Prepare all parts. Collective."""
        self._table = table
        self._prepared = [part.prepare(solver, model) for part in self.parts]

    def sample(self, state: State) -> None:
        """Add a row."""
        row: Row = {}
        for numbers in self._prepared:
            row |= numbers(row)
        self._table.append(row)
