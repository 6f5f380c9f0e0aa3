"""Going on with a former run: what must be there, what must agree, and what is taken over."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from meanformer.mpi import MPI

from meanformer.simulation.case.case import Case
from meanformer.simulation.case.errors import CaseError, join, show
from meanformer.simulation.output.checkpoint import Checkpoint, read, restore
from meanformer.simulation.output.folder import CASE_FILE, locked, on_root, write_case
from meanformer.simulation.output.tables import cut_rows, read_columns
from meanformer.simulation.state import State

Columns = Mapping[str, Sequence[float]]

#: The columns of each system at the last sample.
SYSTEMS_FILE = "systems.csv"

_MAY_DIFFER = ("time.end", "title", "compare.", "output.")


@dataclass(frozen=True)
class Start:
    """Where a run starts: at t = 0 by default, or where a former run was.

    Attributes:
        resumed_at: Time of the former run's checkpoint; None at t = 0.
        samples: Samples taken until then.
        sampled: Time of the last of them.
        columns: The tables until then by file stem, on every rank.
        systems: The columns of ``systems.csv``, if it is of that last sample.
        checkpoint: The checkpoint on rank 0; None elsewhere, and at t = 0.
    """

    resumed_at: float | None = None
    samples: int = 0
    sampled: float = -math.inf
    columns: Mapping[str, Columns] = field(default_factory=dict)
    systems: Columns = field(default_factory=dict)
    checkpoint: Checkpoint | None = None


def find_start(
    folder: Path, case: Case, stems: Sequence[str], comm: MPI.Intracomm, held: ExitStack
) -> Start:
    """Find where the run in a folder goes on, and lock it. Nothing is changed. Collective.

    Args:
        folder: The output folder of the run.
        case: What is to be run.
        stems: File stems of its tables.
        comm: The ranks.
        held: Until this is closed, rank 0 has the lock.

    Raises:
        CaseError: On every rank, if there is no run, or it is going on, no good checkpoint of it,
            too few rows in a table, or the run is of another case: keys that differ are named.
    """

    def find() -> Start:
        if folder.is_dir():
            held.enter_context(locked(folder))
        _check_same_case(folder, case)
        found = read(folder)
        columns = {stem: read_columns(folder / f"{stem}.csv", found.samples) for stem in stems}
        systems = _systems(folder / SYSTEMS_FILE, case, found.sampled)
        return Start(found.time, found.samples, found.sampled, columns, systems, found)

    start = on_root(comm, find)
    everywhere: Start = comm.bcast(replace(start, checkpoint=None) if start else None)
    return start or everywhere


def take_over(start: Start, folder: Path, case: Case, state: State) -> None:
    """Bring solvers and files to where the run goes on, and write its case. Collective.

    Raises:
        CaseError: On every rank, if the checkpoint does not fit the solvers or the final time,
            or the files cannot be changed.
    """
    restore(state, start.checkpoint)
    farthest = max(solver.time for solver in state.solvers.values())
    if case.time.end < farthest:
        need = f"must be at least {farthest}, where the run in {folder} is"
        raise CaseError([f"time.end: {case.time.end} is not allowed; {need}"])

    def files() -> None:
        for stem in start.columns:
            cut_rows(folder / f"{stem}.csv", start.samples)
        write_case(folder, case)

    on_root(state.comm, files)


def _check_same_case(folder: Path, case: Case) -> None:
    path = folder / CASE_FILE
    if not path.exists():
        raise CaseError(
            [f"output.directory: {folder} holds no run to go on with: {CASE_FILE} is missing"]
        )
    former = dict(_flat(Case.load(path).model_dump(exclude_none=True)))
    wanted = dict(_flat(case.model_dump(exclude_none=True)))

    def said(values: Mapping[str, object], key: str) -> str:
        return show(values[key]) if key in values else "left out"

    problems = [
        f"{key}: {said(wanted, key)}; must be {said(former, key)}, as in the run to go on with"
        for key in sorted(former.keys() | wanted.keys())
        if not key.startswith(_MAY_DIFFER) and former.get(key) != wanted.get(key)
    ]
    if problems:
        raise CaseError(problems, str(path))


def _systems(path: Path, case: Case, sampled: float) -> Columns:
    """What a file of systems says of a sample; nothing if it is of another one, or not there."""
    if case.particles is None or case.particles.systems == 1 or not path.exists():
        return {}
    columns = read_columns(path, case.particles.systems)
    return columns if columns["t"][0] == sampled else {}


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """The entries of nested tables, with the keys ``table.key`` and ``table.list[0].key``."""
    if isinstance(value, Mapping):
        for name, entry in value.items():
            yield from _flat(entry, join(key, name))
    elif isinstance(value, Sequence) and value and isinstance(value[0], Mapping):
        for number, entry in enumerate(value):
            yield from _flat(entry, f"{key}[{number}]")
    else:
        yield key, value
