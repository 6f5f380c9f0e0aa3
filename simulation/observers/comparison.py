"""The distance between the density and the tokens, sample by sample."""

from __future__ import annotations

from meanformer.simulation.controller import Observer
from meanformer.simulation.output.tables import Table
from meanformer.simulation.state import State


class Comparison(Observer):
    """Fill ``compare.csv``: t, and each metric with its sampling noise beside it.

    Args:
        table: Where rows go.
    """

    def __init__(self, table: Table) -> None:
        self._table = table

    def sample(self, state: State) -> None:
        """Add a row."""
        row = {"t": state.time}
        for metric in state.metrics:
            row |= dict(zip(metric.columns, metric.measure(), strict=True))
        self._table.append(row)
