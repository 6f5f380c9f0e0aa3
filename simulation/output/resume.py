"""Going on with a former run: what must be there, what must agree, and what is taken over."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from meanformer.mpi import MPI

from meanformer.simulation.case.case import Case
from meanformer.simulation.case.errors import CaseError
from meanformer.simulation.output.checkpoint import Checkpoint, read, restore
from meanformer.simulation.output.folder import CASE_FILE, on_root, write_case
from meanformer.simulation.output.tables import cut_rows, read_columns
from meanformer.simulation.state import State

Columns = Mapping[str, Sequence[float]]

_MAY_DIFFER = ("time.end", "title", "compare.", "output.")
_LONGEST_VALUE = 40


@dataclass(frozen=True)
class Start:
    """Where a run starts: at t = 0 by default, or where a former run was.

    Attributes:
        resumed_at: Time of the former run's checkpoint; None at t = 0.
        samples: Samples taken until then.
        sampled: Time of the last of them.
        columns: The tables until then by file stem, on every rank.
        checkpoint: The checkpoint on rank 0; None elsewhere, and at t = 0.
    """

    resumed_at: float | None = None
    samples: int = 0
    sampled: float = -math.inf
    columns: Mapping[str, Columns] = field(default_factory=dict)
    checkpoint: Checkpoint | None = None


def find_start(folder: Path, case: Case, stems: Sequence[str], comm: MPI.Intracomm) -> Start:
    """Find where the run in a folder goes on. Nothing is changed. Collective.

    Args:
        folder: The output folder of the run.
        case: What is to be run; only the final time, the title, ``[compare]`` and ``[output]`` may
            differ.
        stems: File stems of its tables.
        comm: The ranks.

    Raises:
        CaseError: On every rank, if there is no run, no good checkpoint of it, too few rows in a
            table, or the run is of another case: the keys that differ are named.
    """

    def find() -> Start:
        _check_same_case(folder, case)
        found = read(folder)
        columns = {stem: read_columns(_table(folder, stem), found.samples) for stem in stems}
        return Start(found.time, found.samples, found.sampled, columns, found)

    start = on_root(comm, find)
    everywhere: Start = comm.bcast(replace(start, checkpoint=None) if start else None)
    return start or everywhere


def take_over(start: Start, folder: Path, case: Case, state: State) -> None:
    """Bring solvers and files to where the run goes on. Collective.

    Args:
        start: What ``find_start`` has found.
        folder: The output folder of the run.
        case: The case that goes on; it is written into the folder.
        state: Its solvers; changed in place.

    Raises:
        CaseError: On every rank, if the checkpoint does not fit the solvers or the final time,
            or the files cannot be changed.
    """
    restore(state, start.checkpoint)
    farthest = max(solver.time for solver in state.solvers.values())
    if case.time.end < farthest:
        raise CaseError(
            [
                f"time.end: {case.time.end} is not allowed; must be at least {farthest}, "
                f"where the run in {folder} is"
            ]
        )

    def files() -> None:
        for stem in start.columns:
            cut_rows(_table(folder, stem), start.samples)
        write_case(folder, case)

    on_root(state.comm, files)


def _table(folder: Path, stem: str) -> Path:
    return folder / f"{stem}.csv"


def _check_same_case(folder: Path, case: Case) -> None:
    path = folder / CASE_FILE
    if not path.exists():
        raise CaseError(
            [f"output.directory: {folder} holds no run to go on with: {CASE_FILE} is missing"]
        )
    former = _flat(Case.load(path).model_dump(exclude_none=True))
    wanted = _flat(case.model_dump(exclude_none=True))
    problems = [
        f"{key}: {_show(wanted, key)}; must be {_show(former, key)}, as in the run to go on with"
        for key in sorted(former.keys() | wanted.keys())
        if not key.startswith(_MAY_DIFFER) and former.get(key) != wanted.get(key)
    ]
    if problems:
        raise CaseError(problems, str(path))


def _flat(table: Mapping[str, Any]) -> dict[str, Any]:
    """Nested tables as one, with the keys ``table.key`` and ``table.list[0].key``."""

    def entries(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
        for key, value in table.items():
            if isinstance(value, Mapping):
                yield from entries(value, f"{prefix}{key}.")
            elif isinstance(value, Sequence) and value and isinstance(value[0], Mapping):
                for number, entry in enumerate(value):
                    yield from entries(entry, f"{prefix}{key}[{number}].")
            else:
                yield f"{prefix}{key}", value

    return dict(entries(table, ""))


def _show(flat: Mapping[str, Any], key: str) -> str:
    if key not in flat:
        return "left out"
    text = repr(flat[key])
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."
