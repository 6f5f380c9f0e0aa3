"""Tables of diagnostics as lists of parts: columns that are computed together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from meanformer.attention import Model

Row = dict[str, float]
S = TypeVar("S", contravariant=True)


@dataclass(frozen=True)
class Part(Generic[S]):
    """Columns of a table that are computed together.

    Attributes:
        meanings: What the documentation says of them, by their names there: "min, max", "cov_ij".
        numbers: Their numbers, all dimensionless, from the solver at its time, the model, and the
            columns before these. Collective.
    """

    meanings: Mapping[str, str]
    numbers: Callable[[S, Model, Row], Row]


def alone(numbers: Callable[[S], Row]) -> Callable[[S, Model, Row], Row]:
    """``numbers`` of a part that takes the solver alone."""
    return lambda solver, model, row: numbers(solver)


def empty(*names: str) -> Callable[[object, Model, Row], Row]:
    """``numbers`` of a part that this table has for the sake of another."""
    return lambda solver, model, row: dict.fromkeys(names, float("nan"))


def fill(parts: Iterable[Part[S]], solver: S, model: Model) -> Row:
    """A row: the numbers of all parts, in order. Collective."""
    row: Row = {}
    for part in parts:
        row |= part.numbers(solver, model, row)
    return row
