"""What a convergence study found: its runs, and the order of their errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from meanformer.simulation.studies.orders import Order


@dataclass(frozen=True)
class Expected:
    """The orders that theory allows.

    Attributes:
        lowest: The least, for a density that is smooth.
        highest: The largest.
        why: Where they come from.
    """

    lowest: float
    highest: float
    why: str


@dataclass(frozen=True)
class Row:
    """One run of a study.

    Attributes:
        value: That of the key.
        size: What the order is in, such as the mesh size; nan where there is none.
        error: nan for the run that is the reference, and for one that did not reach its end.
        order: Between this run and the last one before it with an error; nan where there is none.
        seconds: Wall time; nan if the run did not start.
        status: "done", "stopped" if the run stopped itself, or "refused" if the mesh does not
            resolve the start.
        reason: Why it was not done.
        doubt: Why the order is not to be believed, "too steep", "too flat" or "grows"; or "".
    """

    value: Any
    size: float
    error: float
    order: float
    seconds: float
    status: str
    reason: str = ""
    doubt: str = ""


@dataclass(frozen=True)
class Study:
    """What a convergence study found.

    Attributes:
        title: That of the case.
        key: What was varied.
        quantity: What the errors are of: "l2", "pde.mean_1", ...
        reference: "exact solution"; "finest run" or "last run"; "zero" for a distance.
        finest: The value of the run that is the reference, or None.
        symbol: Of what the order is in: "h", "dt", "1/n", ...; "" if the key has no order.
        meaning: What the symbol stands for.
        rows: The runs, from coarse to fine where the key says which is which.
        fit: The law fitted to the errors, or None.
        expected: The orders that theory allows, or None.
        doubts: Why the order of the fit is not to be believed; none if it may be.
    """

    title: str
    key: str
    quantity: str
    reference: str
    finest: Any
    symbol: str
    meaning: str
    rows: tuple[Row, ...]
    fit: Order | None
    expected: Expected | None = None
    doubts: tuple[str, ...] = ()

    @property
    def order(self) -> float:
        """The fitted order; nan if there is none."""
        return np.nan if self.fit is None else self.fit.order

    @property
    def spread(self) -> tuple[float, float]:
        """The least and the largest order between neighbours."""
        orders = [row.order for row in self.rows if np.isfinite(row.order)]
        return (min(orders), max(orders)) if self.fit and orders else (np.nan, np.nan)

    @property
    def done(self) -> bool:
        """Whether every run reached its end."""
        return all(row.status == "done" for row in self.rows)
