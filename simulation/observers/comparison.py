"""The distance between the density and the tokens, sample by sample."""

from __future__ import annotations

from collections.abc import Sequence

from meanformer.coupling import harmonic_distance, sampling_noise, wasserstein
from meanformer.simulation.controller import Observer
from meanformer.simulation.output.tables import Table
from meanformer.simulation.state import State


class Comparison(Observer):
    """Fill ``compare.csv``: t, and each metric with its sampling noise beside it."""

    def __init__(self, table: Table, metrics: Sequence[str]) -> None:
        """Rows go to ``table``; ``metrics`` are those of the case."""
        self._table, self._metrics = table, metrics

    def sample(self, state: State) -> None:
        """Add a row."""
        assert state.density is not None and state.tokens is not None
        row = {"t": state.density.time}
        if "harmonic" in self._metrics:
            assert state.replicas is not None
            row["harmonic"] = harmonic_distance(state.density, state.tokens)
            row["harmonic_noise"] = sampling_noise(state.replicas)
        if "w1" in self._metrics:
            result = wasserstein(state.density, state.tokens)
            row["w1"], row["w1_noise"] = result.distance, result.noise
            row["w1_subsample"] = result.subsample
        self._table.append(row)
