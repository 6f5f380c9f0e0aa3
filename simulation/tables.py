"""Columns of numbers over samples, in memory and as CSV."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class Table:
    """Rows of named numbers, written to a CSV file as they come.

    Numbers are written with all their digits; nan is an empty field.

    Args:
        path: The file, on the rank that writes; None elsewhere or where nothing is written.
    """

    def __init__(self, path: Path | None = None) -> None:
        """Nothing is written before the first row."""
        self._path = path
        self._columns: dict[str, list[float]] = {}

    def append(self, row: dict[str, float]) -> None:
        """Add a row; every row has the same names."""
        first = not self._columns
        for name, value in row.items():
            self._columns.setdefault(name, []).append(float(value))
        if self._path is not None:
            with self._path.open("w" if first else "a", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                if first:
                    writer.writerow(row)
                writer.writerow("" if math.isnan(v) else repr(float(v)) for v in row.values())

    @property
    def columns(self) -> dict[str, Array]:
        """The columns, ``shape=(samples,)`` each."""
        return {name: np.array(values) for name, values in self._columns.items()}
