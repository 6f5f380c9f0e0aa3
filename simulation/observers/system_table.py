"""``systems.csv``: the columns of each system, and what ``particles.csv`` says of all of them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from meanformer.arrays import Array
from meanformer.simulation.observers.columns import Row
from meanformer.simulation.output.tables import write_table
from meanformer.systems import Systems


class SystemTable:
    """The columns of each system at the last sample, a row for each.

    Args:
        systems: Which there are.
        path: The file, on the rank that writes; None elsewhere or where nothing is written.
        columns: Those of the sample at which a run goes on.

    Attributes:
        columns: By name, ``shape=(count,)`` each, on every rank; none before the first sample.
    """

    def __init__(
        self, systems: Systems, path: Path | None = None, columns: Mapping[str, Array] | None = None
    ) -> None:
        self.columns = dict(columns or {})
        self._systems, self._path, self._is_written = systems, path, True

    def take(self, row: Row) -> dict[str, float]:
        """Keep a sample's columns; their means, with standard deviations beside them. Collective.

        What is not a number of each system, such as the time, stands alone.

        Args:
            row: Of this rank's systems.
        """
        systems = self._systems
        names = [name for name, numbers in row.items() if isinstance(numbers, np.ndarray)]
        shares = np.stack([np.asarray(row[name]) for name in names], axis=1)
        everyone = np.concatenate(systems.comm.allgather(shares))
        found = dict(zip(names, everyone.T, strict=True))
        alone = {name: number for name, number in row.items() if name not in found}
        self.columns = {"system": np.arange(float(systems.count))} | {
            name: found[name] if name in found else np.full(systems.count, alone[name])
            for name in row
        }
        self._is_written = False
        of_all: dict[str, float] = {}
        for name in row:
            if name in alone:
                of_all[name] = float(alone[name])
                continue
            with warnings.catch_warnings(), np.errstate(invalid="ignore"):
                warnings.simplefilter("ignore", RuntimeWarning)  # no system has such a number
                of_all[name] = float(np.nanmean(found[name]))
                of_all[f"{name}_std"] = float(np.nanstd(found[name]))
        return of_all

    def write(self) -> None:
        """Write the file, unless it has been written.

        Raises:
            OSError: If it cannot be written; then it is the former one.
        """
        if self._path is not None and not self._is_written:
            write_table(self._path, self.columns | {"system": np.arange(self._systems.count)})
        self._is_written = True
