"""Columns of numbers over samples, in memory and as CSV."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from meanformer.arrays import Array
from meanformer.simulation.case.errors import CaseError
from meanformer.simulation.output.folder import replace_file


class Table:
    """Rows of named numbers, written to a CSV file as they come.

    Numbers are written with all their digits; nan is an empty field.

    Args:
        path: The file, on the rank that writes; None elsewhere or where nothing is written.
        columns: Rows to go on from, see ``read_columns``.
    """

    def __init__(
        self, path: Path | None = None, columns: Mapping[str, Sequence[float]] | None = None
    ) -> None:
        self._path = path
        self._columns = {name: list(values) for name, values in (columns or {}).items()}

    def append(self, row: dict[str, float]) -> None:
        """Add a row.

        A name that is new, in a run that goes on from an older version, is empty before.

        Raises:
            OSError: If the file cannot be written, or is gone.
        """
        grown = not row.keys() <= self._columns.keys()
        before = max(map(len, self._columns.values()), default=0)
        for name in row:
            self._columns.setdefault(name, [math.nan] * before)
        for name, values in self._columns.items():
            values.append(float(row.get(name, math.nan)))
        if self._path is None:
            return
        rows = list(zip(*self._columns.values(), strict=True))[0 if grown else -1 :]
        # Rows are added to the file that is there: a folder that is gone is an error, and is so
        # where an empty one has its name.
        with self._path.open("w" if grown else "r+", newline="") as file:
            file.seek(0, os.SEEK_END)
            writer = csv.writer(file, lineterminator="\n")
            if grown:
                writer.writerow(self._columns)
            writer.writerows(map(_fields, rows))

    def flush(self) -> None:
        """Have the rows on the disk, not in a cache, when this returns.

        Raises:
            OSError: If that fails.
        """
        if self._path is not None and self._columns:
            with self._path.open("r+b") as file:
                os.fsync(file.fileno())

    @property
    def columns(self) -> dict[str, Array]:
        """The columns, ``shape=(samples,)`` each."""
        return {name: np.array(values) for name, values in self._columns.items()}


def write_table(path: Path, columns: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write a whole CSV file in place of a former one.

    Args:
        path: The file.
        columns: ``shape=(rows,)`` each.

    Raises:
        OSError: If it cannot be written; then it is the former one.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    values = (column.tolist() for column in columns.values())
    writer.writerows(map(_fields, zip(*values, strict=True)))
    replace_file(path, text.getvalue().encode(), durable=False)


def _fields(row: Iterable[float]) -> list[str]:
    """Numbers with all their digits; nan is an empty field."""
    return ["" if math.isnan(number) else repr(number) for number in row]


def read_columns(path: Path, samples: int) -> dict[str, list[float]]:
    """The columns of the first ``samples`` rows of a file that a table has written.

    Raises:
        CaseError: If the file cannot be read or has fewer rows.
    """
    try:
        header, *rows = csv.reader(_head(path, samples).decode().splitlines())
        values = [[float(field or "nan") for field in row] for row in rows]
        return {name: list(c) for name, c in zip(header, zip(*values, strict=True), strict=True)}
    except (OSError, ValueError) as error:
        raise CaseError([f"{path}: cannot go on from it: {error}"]) from None


def cut_rows(path: Path, samples: int) -> None:
    """Drop the rows of a file after the first ``samples``, whole or not.

    Raises:
        CaseError: If the file cannot be written.
    """
    try:
        os.truncate(path, len(_head(path, samples)))
    except (OSError, ValueError) as error:
        raise CaseError([f"{path}: cannot go on from it: {error}"]) from None


def _head(path: Path, samples: int) -> bytes:
    """The header and the first ``samples`` rows."""
    lines = [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    if len(lines) <= samples:
        raise ValueError(f"it has {max(0, len(lines) - 1)} rows, the checkpoint {samples}")
    return b"".join(lines[: 1 + samples])
