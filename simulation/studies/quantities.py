"""What a convergence study measures at the end of a run: an error of the density, or columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from meanformer.mpi import MPI

import numpy as np

from meanformer.arrays import Array
from meanformer.attention.measures import Measure
from meanformer.simulation.case.case import Case
from meanformer.simulation.case.errors import CaseError, suggestion
from meanformer.simulation.runner import Result, run

L2 = "l2"
MOMENTS = "moments"
# A run that is only asked for its columns goes on for this share of the final time.
_MOMENT = 1e-6

#: Names of columns by table.
Columns = dict[str, list[str]]


@dataclass(frozen=True)
class Quantity:
    """What is measured.

    Attributes:
        name: "l2", "pde.moments", "pde.energy", ...
        table: "pde", "particles" or "compare".
        columns: Of that table; none for "l2".
    """

    name: str
    table: str
    columns: tuple[str, ...] = ()

    @property
    def is_error(self) -> bool:
        """Whether it is an error itself, which should be 0: an L2 norm of one, or a distance."""
        return self.name == L2 or self.table == "compare"

    def of(self, result: Result, exact: Measure | None) -> Array:
        """The columns at the end of a run, or the L2 norm of its error, ``shape=(n,)``. Collective.

        Args:
            result: Of the run.
            exact: The exact solution at its end; "l2" needs one.
        """
        if self.name == L2:
            assert result.scheme is not None and exact is not None
            return np.array([result.scheme.l2_distance(exact.density)])
        table = result.tables[self.table]
        return np.array([table[name][-1] for name in self.columns])


def find_quantity(wanted: str, has_l2: bool, columns: Callable[[], Columns]) -> Quantity:
    """The quantity of a name, as the user gives it.

    Args:
        wanted: "l2", "moments", or a column with or without its table.
        has_l2: Whether there is a density, whose exact solution is known.
        columns: Says which columns there are, which takes a short run.

    Raises:
        CaseError: If there is none of that name.
    """
    if wanted == L2 and has_l2:
        return Quantity(L2, "pde")
    there = columns()
    if quantity := _find(wanted, there):
        return quantity
    listed = [f"of {table}.csv {', '.join(names)}" for table, names in there.items()]
    names = [name for names in there.values() for name in names]
    names += [f"{table}.{name}" for table in there for name in there[table]]
    groups = [L2] * has_l2 + [MOMENTS] * (_find(MOMENTS, there) is not None)
    named = "".join(f"'{group}' or " for group in groups)
    need = f"must be {named}a column: {'; '.join(listed)}"
    why = "" if wanted != L2 else ": it needs a density whose exact solution is known"
    near = suggestion(wanted, [*groups, *names])
    problem = f"quantity: {wanted!r} is not one of this case{why}; {need}{near}"
    raise CaseError([problem], "command line")


def columns_of(cases: Sequence[Case], comm: MPI.Intracomm) -> Columns:
    """The columns with numbers in them, by a short run of the first case that can start.

    Collective.

    Raises:
        CaseError: If none can.
    """
    refused = []
    for case in cases:
        end = case.time.step if case.in_layers else _MOMENT * case.time.end
        time = case.time.model_copy(update={"end": end})
        pde = case.pde and case.pde.model_copy(update={"largest_unresolved": 1.0})
        try:
            result = run(case.model_copy(update={"time": time, "pde": pde}), comm=comm)
        except CaseError as error:
            refused.append(error)
            continue
        return {
            table: [name for name, column in found.items() if np.isfinite(column[-1])]
            for table, found in result.tables.items()
            if found
        }
    raise refused[0]


def _find(wanted: str, there: Columns) -> Quantity | None:
    """The quantity of that name; of the first table that has it."""
    for table, names in there.items():
        name = wanted.removeprefix(f"{table}.")
        if name == MOMENTS:
            parts = tuple(column for column in names if column.startswith(("mean_", "cov_")))
            if parts:
                return Quantity(f"{table}.{MOMENTS}", table, parts)
        elif name in names:
            return Quantity(f"{table}.{name}", table, (name,))
    return None
